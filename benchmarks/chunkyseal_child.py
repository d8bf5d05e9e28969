"""The child's side of the full-size measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import child
from converters.tasks import Feeds
from fixtures.specs import ModelSpec


def write_checkpoint(spec: ModelSpec, target: Path) -> None:
    """The goldens' weights among as much again three times over, as training leaves a detector.

    {"model": {"detector.…", "embedder.…"}, "optimizer": two moments a weight}.
    """
    import torch

    from fixtures.checkpoints import golden_state_dict

    weights = golden_state_dict(spec)
    detector = {f"{spec.part}{key}": tensor for key, tensor in weights.items()}
    embedder = {f"embedder.{key}": tensor.clone() for key, tensor in weights.items()}
    moments = {
        index: {"exp_avg": tensor.clone(), "exp_avg_sq": tensor.clone()}
        for index, tensor in enumerate(weights.values())
    }
    torch.save({"model": {**embedder, **detector}, "optimizer": {"state": moments}}, target)


def preds(feed: Feeds) -> np.ndarray[Any, Any]:
    """The prepared artifact's `preds` for another feed, [1, 1 + bits]."""
    return child._LOADED[0].run(feed)["preds"]
