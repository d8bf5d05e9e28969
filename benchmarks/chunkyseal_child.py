"""The child's side of the full-size measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import child
from converters.tasks import Feeds
from fixtures.specs import ModelSpec


def write_checkpoint(spec: ModelSpec, target: Path) -> None:
    """The goldens' weights as training leaves a detector: {"model": {"detector.…": …}}."""
    import torch

    from fixtures.checkpoints import golden_state_dict

    state = {f"{spec.part}{key}": tensor for key, tensor in golden_state_dict(spec).items()}
    torch.save({"model": state}, target)


def preds(feed: Feeds) -> np.ndarray[Any, Any]:
    """The prepared artifact's `preds` for another feed, [1, 1 + bits]."""
    return child._LOADED[0].run(feed)["preds"]
