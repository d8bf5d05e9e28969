"""Other states of a network that a file may have been made from. All of this runs in the `torch` worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelparity.fixtures.checkpoints.files import open_checkpoint
from modelparity.fixtures.checkpoints.layouts import EMA_WRAPPERS, WRAPPERS, chosen_state
from modelparity.fixtures.checkpoints.load import CheckpointError, golden_checkpoint, read_checkpoint
from modelparity.fixtures.specs import ModelSpec

# What PyTorch's batch norms start with.
_UNTRAINED = {"running_mean": 0.0, "running_var": 1.0}


def other_states(spec: ModelSpec, checkpoint: Path | None, folder: Path) -> list[tuple[str, Path | None]]:
    """Words for what a file would have, and a checkpoint of that state, written into `folder`.

    None for the path: the same weights, and batch norms that take the statistics of the batch.

    Raises:
        CheckpointError: `checkpoint` cannot be read.
    """
    found: list[tuple[str, Path | None]] = list(
        _other_weights(spec, checkpoint, folder) if checkpoint else ()
    )
    weights = read_checkpoint(checkpoint, spec) if checkpoint else golden_checkpoint(spec)
    state = weights.everything
    if untrained := _with_untrained_statistics(state):
        path = folder / "untrained.pt"
        torch.save({**state, **untrained}, path)
        found += [
            ("its batch norms have untrained statistics: mean 0 and variance 1", path),
            ("its batch norms use the statistics of the batch: it was exported in training mode", None),
        ]
    return found


def _other_weights(spec: ModelSpec, checkpoint: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """The other state dicts of a checkpoint that holds several."""
    content = open_checkpoint(checkpoint).content
    if not isinstance(content, Mapping):
        return
    _, chosen = chosen_state(content, checkpoint.name)
    for key in (*EMA_WRAPPERS, *WRAPPERS):
        if not isinstance(held := content.get(key), Mapping) or not held:
            continue
        path = folder / f"{key}.pt"
        torch.save({key: _plain(held)}, path)
        try:
            read_checkpoint(path, spec)
        except CheckpointError:
            continue
        _, words = chosen_state({key: held}, checkpoint.name)
        if words != chosen:
            yield f"it has other weights: {words}, but should have {chosen}", path


def _plain(held: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: _plain(value) if isinstance(value, Mapping) else value for key, value in held.items()}


def _with_untrained_statistics(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: torch.full_like(value, _UNTRAINED[kind])
        for key, value in state.items()
        if (kind := key.rpartition(".")[2]) in _UNTRAINED
    }
