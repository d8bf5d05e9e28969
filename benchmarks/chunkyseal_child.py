"""The parts of the full-size measurement of ChunkySeal that run in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelparity.benchmarks import child
from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.specs import ModelSpec


def write_checkpoint(spec: ModelSpec, target: Path) -> None:
    """Writes a training checkpoint with the goldens' weights, four times the size of the detector's own.

    Its content is {"model": {"detector.…", "embedder.…"}, "optimizer": two moments per weight}.
    """
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict

    weights = golden_state_dict(spec)
    detector = {f"{spec.checkpoint_prefix}{key}": tensor for key, tensor in weights.items()}
    embedder = {f"embedder.{key}": tensor.clone() for key, tensor in weights.items()}
    moments = {
        index: {"exp_avg": tensor.clone(), "exp_avg_sq": tensor.clone()}
        for index, tensor in enumerate(weights.values())
    }
    torch.save({"model": {**embedder, **detector}, "optimizer": {"state": moments}}, target)


def preds(feed: Feeds) -> np.ndarray[Any, Any]:
    """The `preds` of the prepared artifact for a feed, [1, 1 + bits]."""
    return child._LOADED[0].run(feed)["preds"]
