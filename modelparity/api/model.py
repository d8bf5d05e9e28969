"""Declares a network of a user's own code. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelparity.errors import BadInputError
from modelparity.fixtures.specs import BATCH

_DTYPES = ("float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_EXTENT = 16  # of a dynamic axis in an example, where no limits are declared


@dataclass(frozen=True)
class Tensor:
    """One input: its axes, each an extent or the name of a dynamic axis, its type and its range of values."""

    axes: tuple[int | str, ...]
    dtype: str = "float32"
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Model:
    """A network and what is known of its inputs.

    Attributes:
        target: "package.module:name", "path/to/file.py:name", the path of a `.pt2` archive, or a
            `torch.nn.Module`. A name may give a module, a class or function without required arguments that
            returns one, or a pair of a module and example inputs.
        examples: Example inputs: a tensor, a tuple, or a dictionary by argument, nested or not; or the name
            of what gives them, as "module:name".
        name: How cells and files name it; by default, the last part of the target.
        weights: A state dict, `.pt`, `.pth` or `.safetensors`.
        inputs: By name, what is known of inputs. Without example inputs, all of them.
        dims: The least and the greatest extent of dynamic axes, by name.
        data: An `.npz` file with one array for each input, its samples along the first axis.
    """

    target: Any
    examples: Any = None
    name: str = ""
    weights: Path | str | None = None
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    dims: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    data: Path | str | None = None

    @property
    def label(self) -> str:
        """The name of cells and files."""
        if self.name:
            if _word(self.name) != self.name.lower():
                raise BadInputError(f"a name has letters, digits and underscores alone: {self.name!r}")
            return self.name
        if not isinstance(self.target, str):
            return _word(type(self.target).__name__)
        owner, _, last = self.target.rpartition(":")
        if last in ("build", "model", "network", "net", "main"):  # the file says more
            last = owner
        return _word(Path(last.replace(".", "/") if not last.endswith((".py", ".pt2")) else last).stem)

    def as_options(self) -> dict[str, Any]:
        """The keyword arguments of `converters.capture.capture.capture`."""
        return {
            "name": self.label,
            "example": self.examples if isinstance(self.examples, str) else "",
            "weights": Path(self.weights) if self.weights else None,
            "dims": {
                name: {at: axis for at, axis in enumerate(tensor.axes) if isinstance(axis, str)}
                for name, tensor in self.inputs.items()
                if tensor.axes
            },
            "limits": dict(self.dims),
            "ranges": {name: tensor.range for name, tensor in self.inputs.items() if tensor.range},
            "declared": {
                name: (tensor.dtype, tuple(self._extent(axis) for axis in tensor.axes))
                for name, tensor in self.inputs.items()
                if tensor.axes
            },
        }

    def _extent(self, axis: int | str) -> int:
        if isinstance(axis, int):
            return axis
        if axis == BATCH:
            return 1
        low, high = self.dims.get(axis, (1, _EXTENT))
        return max(low, min(high, _EXTENT))


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_").lower() or "network"


def input_of(text: str) -> tuple[str, Tensor]:
    """ "NAME=DTYPE:AXES", as "ids=int64:batch,sequence", as name and input.

    Raises:
        BadInputError: another form.
    """
    name, equals, rest = text.partition("=")
    dtype, colon, axes = rest.partition(":")
    if not (equals and colon and name) or dtype not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise BadInputError(
            f"--input {text!r}, but should be NAME=DTYPE:AXES, as x=float32:batch,3,64,64 ({known})"
        )
    parts = [part.strip() for part in axes.split(",") if part.strip()]
    return name, Tensor(tuple(int(part) if part.isdigit() else part for part in parts), dtype)


def dim_of(text: str) -> tuple[str, tuple[int, int]]:
    """ "NAME=LOW:HIGH" as name and limits. Raises `BadInputError` for another form."""
    name, low, high = _limits("--dim", text)
    if not (low.isdigit() and high.isdigit() and 0 < int(low) <= int(high)):
        raise BadInputError(f"--dim {text!r}, but should be NAME=LOW:HIGH, as sequence=4:128")
    return name, (int(low), int(high))


def range_of(text: str) -> tuple[str, tuple[float, float]]:
    """ "NAME=LOW:HIGH" as name and range of values. Raises `BadInputError` for another form."""
    name, low, high = _limits("--range", text)
    try:
        limits = float(low), float(high)
    except ValueError:
        limits = (1.0, 0.0)
    if not limits[0] <= limits[1]:
        raise BadInputError(f"--range {text!r}, but should be NAME=LOW:HIGH, as image=0:1")
    return name, limits


def _limits(option: str, text: str) -> tuple[str, str, str]:
    name, equals, rest = text.partition("=")
    low, colon, high = rest.partition(":")
    if not (name and equals and colon):
        raise BadInputError(f"{option} {text!r}, but should be NAME=LOW:HIGH")
    return name, low, high
