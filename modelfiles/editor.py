"""Defines what a format's editor offers, through which faults are planted in its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from modelparity.fixtures.arrays import Array

Handle = Any  # what an editor calls a constant: a name, or the index of a tensor


# Branches from the image to an output: the strength instead of it, or added to it.
BRANCHES = ("chosen_above", "added_above", "added_at", "added_by_sigmoid")
STEEP = 1e4  # a logistic function of so much times the distance from a bound is 0 in float32 below it


Channel = tuple[slice | int, ...]


_T = TypeVar("_T")


class NotApplicableError(ValueError):
    """The file has no such thing; the message says which."""


@dataclass(frozen=True)
class Layer:
    """An operator that owns a weight: handles of its constants, and the weight's output-channel axis."""

    kind: str
    weight: Handle
    shape: tuple[int, ...]
    axis: int
    bias: Handle | None = None

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    def channel(self, index: int) -> Channel:
        """Selects one output channel of the weight."""
        return tuple(index if axis == self.axis else slice(None) for axis in range(len(self.shape)))


class Planted(NamedTuple):
    """In words where the fault is, and the names of the stored numbers that were changed."""

    where: str
    names: tuple[str, ...]


class Editor(Protocol):
    """A model file held open for editing; `save` writes it. Raises `NotApplicableError` for what it lacks.

    `touched` are names of the constants and scales that were changed.
    """

    touched: list[str]

    def save(self, target: Path) -> None: ...

    # --- constants
    def layers(self) -> list[Layer]: ...

    def array(self, handle: Handle) -> Array: ...

    def store(self, handle: Handle, array: Array) -> None: ...

    def name(self, handle: Handle) -> str:
        """What the float file that this one was made from calls it, as far as names tell."""

    # --- int8: a weight's scales [channels], and the activations that have a stored scale
    def scales(self, weight: Handle) -> Array: ...

    def set_scales(self, weight: Handle, scales: Array) -> None: ...

    def raise_zero_point(self, weight: Handle) -> None: ...

    def activations(self) -> list[Handle]: ...

    def read_otherwise(self, activation: Handle, strength: float) -> None:
        """Who reads the activation takes its scale for `strength` times what its writer does."""

    def float_weights(self) -> str: ...

    # --- ports
    def input_shape(self) -> tuple[int, ...]:
        """Batch and free axes are 1."""

    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name, in the file's order; batch and free axes are 1."""

    def on_input(self, kind: str, value: Any) -> None:
        """Puts an operator between the input and the network, behind those put there before."""

    def on_output(self, name: str, kind: str, value: Any) -> None:
        """Puts an operator behind an output, which keeps its name. Kinds and values:

        multiply, add: an array; gather: (axis, indices); transpose: permutation; reshape: shape;
        cast: dtype; sigmoid: None; undefined_at: x, which adds 0 / (greatest pixel - x); noise: its
        standard deviation; one of `BRANCHES`: (bound, strength), of which the output takes something where
        the greatest pixel is beyond the bound, or equal to it, and nothing elsewhere.
        """

    def set_outputs(self, names: Sequence[str], values: Sequence[str]) -> None:
        """The file gives, in this order, `names`, each with what was called `values[i]` before."""

    # --- operators
    def freeze_batch(self) -> str: ...

    def freeze_size(self, size: int) -> str: ...

    def reshape_to_one(self) -> str: ...

    def epsilon(self) -> str: ...

    def align_corners(self) -> str: ...

    def resize_mode(self) -> str: ...

    def padding(self) -> str: ...

    def approximate_gelu(self) -> str: ...

    def leaky_slope(self) -> str: ...

    def softmax_axis(self) -> str: ...

    def skip_block(self) -> str: ...

    def drop_activation(self) -> str: ...

    def suppression(self) -> str: ...


def middle(things: Sequence[_T], what: str) -> _T:
    """The one in the middle: behind it and in front of it is network. Raises where there is none."""
    if not things:
        raise NotApplicableError(f"no {what}")
    return things[len(things) // 2]
