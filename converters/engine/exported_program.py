"""Stores what converters start from: an exported program, with its weights or, where they are large, without.

Weights above `APART_BYTES` stay in the checkpoint: the program is stored with their shapes alone,
which for the 3.1 GB of ChunkySeal saves writing, syncing and hashing a second copy. Who loads it
maps them from there, so that converting never holds a copy either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelparity.fixtures.specs import ModelSpec, NetworkSpec, Signature, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

APART_BYTES = 1 << 30
Shapes = Mapping[str, tuple[int, ...]]  # of ports, by name


@dataclass(frozen=True)
class Exported:
    """A stored program, and where its weights are if they are not in it (None: the goldens')."""

    path: Path
    spec: NetworkSpec | None = None
    checkpoint: Path | None = None

    def load(self) -> ExportedProgram:
        import torch

        program = torch.export.load(self.path)
        if any(map(_is_apart, program.state_dict.values())):
            from modelparity.fixtures.checkpoints.load import weighted

            assert isinstance(self.spec, ModelSpec)
            held = tensors_of(weighted(self.spec, self.checkpoint))
            program.state_dict.update({name: held[name] for name in program.state_dict})
        return program


@dataclass(frozen=True)
class FloatFile:
    """A float32 file of another format to convert, and the shapes of its ports at batch 1."""

    path: Path
    inputs: Shapes
    outputs: Shapes

    @staticmethod
    def of(path: Path, signature: Signature) -> FloatFile:
        """A file with the ports of a signature."""
        return FloatFile(path, _at_batch_one(signature.inputs), _at_batch_one(signature.outputs))


def save(program: ExportedProgram, target: Path) -> None:
    """Writes the program; leaves it without its weights if these are large."""
    import torch
    from torch import nn

    if weight_bytes(program.state_dict.values()) > APART_BYTES:
        for name, tensor in list(program.state_dict.items()):
            shape = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
            if isinstance(tensor, nn.Parameter):
                shape = nn.Parameter(shape, requires_grad=tensor.requires_grad)
            program.state_dict[name] = shape
    torch.export.save(program, target)


def weight_bytes(tensors: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # type: ignore[attr-defined]


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _at_batch_one(ports: Iterable[TensorSpec]) -> Shapes:
    return {port.name: port.extents() for port in ports}


def _is_apart(tensor: Tensor) -> bool:
    """One number, spread over the shape."""
    return tensor.numel() > 1 and not any(tensor.stride())
