"""Keeps the tensors that a file computes on the way in a folder, one `.npy` each.

A format's `activations` fills it; there the network's own tensors are looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelparity.fixtures.arrays import Array


@dataclass(frozen=True)
class FileTensor:
    """One computed tensor of a file; its values are float32 in the folder's `{index}.npy`.

    `inputs` are the computed tensors that its operator reads, by index; `weights` its constants, by
    name; `origin` the tensor that it merely rearranges (transposed, reshaped), else itself. `places`
    are the whole numbers that its operator gives beside it (of a top-k), in `{places}.npy`; -1 none.
    `scope` is the module that made it, where the file says. Integers of a quantized file count as the
    numbers that they stand for.
    """

    index: int
    name: str
    operator: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    weights: tuple[str, ...]
    origin: int
    scope: str
    rms: float
    low: float
    high: float
    places: int = -1


class Folder:
    """Where a probe's values go, and come from again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, index: int, values: Array) -> None:
        np.save(self.path / f"{index}.npy", np.ascontiguousarray(values))

    def read(self, index: int) -> Array:
        """Mapped, so that what is not looked at costs no memory."""
        array: Array = np.load(self.path / f"{index}.npy", mmap_mode="r")
        return array


def tensor_of(
    folder: Folder,
    index: int,
    name: str,
    operator: str,
    *,
    values: Array,
    inputs: Iterable[int] = (),
    weights: Iterable[str] = (),
    origin: int,
    scope: str = "",
    places: int = -1,
) -> FileTensor:
    """Writes the values and notes what is to be known of them."""
    values = np.asarray(values, np.float32)
    folder.write(index, values)
    shape, numbers = tuple(values.shape), summary(values)
    return FileTensor(
        index, name, operator, shape, tuple(inputs), tuple(weights), origin, scope, *numbers, places
    )


def summary(values: Array) -> tuple[float, float, float]:
    """Root mean square, least and greatest: the same for any arrangement of the same numbers."""
    if not values.size:
        return 0.0, 0.0, 0.0
    flat = values.reshape(-1)
    return float((_square(flat) / flat.size) ** 0.5), float(flat.min()), float(flat.max())


def _square(flat: Array, block: int = 1 << 20) -> float:
    """Sum of squares in float64, block by block: no second copy is made."""
    parts = (flat[i : i + block].astype(np.float64) for i in range(0, flat.size, block))
    return sum(float(np.dot(part, part)) for part in parts)


@dataclass(frozen=True)
class Sensitivity:
    """A layer of the float file by its output's name; `noise` is the mean square that it adds, by output."""

    tensor: str
    operator: str
    scope: str
    elements: int
    noise: Mapping[str, float]
