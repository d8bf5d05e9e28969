"""Extracts the weights of one network from a large training checkpoint.

The checkpoint is memory-mapped, so only the extracted weights are read, and they are written without a copy.
(A file in torch's format before 1.6 cannot be mapped and is loaded as a whole.) Pickles are read only by
torch's weights-only unpickler.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from modelparity.fixtures.checkpoints.files import CheckpointError, open_checkpoint
from modelparity.fixtures.checkpoints.layouts import chosen_state
from modelparity.fixtures.checkpoints.load import Checkpoint, read_checkpoint
from modelparity.fixtures.checkpoints.match import published_entries
from modelparity.fixtures.specs import ModelSpec

_DTYPES = {torch.float32: "F32", torch.int64: "I64"}  # what `read_checkpoint` leaves
_READ: dict[tuple[Path, ModelSpec], Checkpoint] = {}


def read_part(path: Path, spec: ModelSpec) -> dict[str, Any]:
    """Reads the weights that `write_part` writes; returns their bytes, keys, parameters, settings and source.

    Raises:
        CheckpointError: the file cannot be read, or holds no weights of `spec`.
    """
    try:
        checkpoint = read_checkpoint(path, spec)
    except CheckpointError as error:
        raise _without_part(path, spec) or error from None
    _READ.clear()
    _READ[path, spec] = checkpoint
    tensors = checkpoint.everything.values()
    return {
        "bytes": sum(tensor.nbytes for tensor in tensors),
        "keys": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "settings": dict(checkpoint.spec.values),
        "source": checkpoint.source,
    }


def write_part(path: Path, spec: ModelSpec, output: Path, partial: Path) -> None:
    """Writes what `read_part` read to `partial`, which the caller renames to `output`.

    A `.pth` holds {"model": {"detector.…": …}}, as the published loader reads it; a `.safetensors`
    holds the same keys.

    Raises:
        CheckpointError: the disk has no room for it.
    """
    checkpoint = _READ.pop((path, spec))
    state = {
        f"{spec.checkpoint_prefix}{key}": _alone(tensor) for key, tensor in checkpoint.everything.items()
    }
    needed, free = sum(t.nbytes for t in state.values()), shutil.disk_usage(partial.parent).free
    if needed > free:
        raise CheckpointError(
            f"{output}: needs {needed / 1e9:.1f} GB, but its disk has {free / 1e9:.1f} GB free"
        )
    with partial.open("wb") as file:
        if output.suffix == ".safetensors":
            _write_safetensors(file, state)
        else:
            torch.save({"model": state}, file)


def _alone(tensor: Tensor) -> Tensor:
    """`tensor` in a storage of its own: torch.save writes the whole storage under a view."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _write_safetensors(file: IO[bytes], state: Mapping[str, Tensor]) -> None:
    """As safetensors' own writer does, which copies all tensors first."""
    header, offset = {}, 0
    for key, tensor in state.items():
        end = offset + tensor.nbytes
        header[key] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for tensor in state.values():
        file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _without_part(path: Path, spec: ModelSpec) -> CheckpointError | None:
    """The error for a file that holds only other networks, named; None if that is not the fault."""
    try:
        state, _ = chosen_state(open_checkpoint(path).content, path.name)
    except CheckpointError:
        return None
    if (
        any(spec.checkpoint_prefix in f".{key}" for key in state)
        or state.keys() & published_entries(spec).keys()
    ):
        return None
    parts = sorted({key.partition(".")[0] for key in state})
    listed = ", ".join(parts[:8]) + (f" and {len(parts) - 8} further" if len(parts) > 8 else "")
    return CheckpointError(f"{path}: no {spec.checkpoint_prefix.rstrip('.')} in it; its parts are {listed}")
