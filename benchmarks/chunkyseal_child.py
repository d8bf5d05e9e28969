"""The child's side of the full-size measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelparity.benchmarks import child
from modelparity.converters.engine.tasks import Feeds
from modelparity.fixtures.specs import ModelSpec


def write_checkpoint(spec: ModelSpec, target: Path) -> None:
    """The goldens' weights among as much again three times over, as training leaves a detector.

    {"model": {"detector.…", "embedder.…"}, "optimizer": two moments a weight}.
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
    """The prepared artifact's `preds` for another feed, [1, 1 + bits]."""
    return child._LOADED[0].run(feed)["preds"]
