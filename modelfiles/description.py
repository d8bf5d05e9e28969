"""Defines what is read from a model file of any format, and the errors of files that are no model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Port:
    """A named input or output as the file declares it. A text in `shape` is a dynamic axis."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


# In `Description.macs`: operators whose shapes or arithmetic could not be known, counted, not guessed.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Description:
    """What a file says of itself, read from its bytes, never from its name.

    `weights` counts elements of constant tensors by dtype. `macs` counts multiply-accumulates of
    one image by what they are computed in: "float32", "float16", "int8". `quantization` is the
    recipe whose traces the file bears: fp32, fp16, int8_dynamic or int8_static, or
    int8_weight_only, which this project does not make. `random` names the operators that draw random numbers:
    Dropout in training mode, and those that do nothing else.
    """

    format: str
    quantization: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, int] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)  # operator type -> count
    producer: str = ""
    random: tuple[str, ...] = ()


class NotAModelError(ValueError):
    """The file is of another kind; the message says in one line what it seems to be."""


class BrokenModelError(ValueError):
    """The file is of this format, but damaged; the message says in one line what is wrong."""


def broken(path: Path, cause: str) -> BrokenModelError:
    """The error for a damaged file, its cause cut to one line."""
    return BrokenModelError(f"{path} is damaged: {' '.join(cause.split())[:300]}")


def recipe(int8_operators: Mapping[str, int], weights: Mapping[str, int]) -> str:
    """The quantization recipe that a file shows, of any format.

    `int8_operators` counts the operators that multiply int8 numbers, by the recipe that each one shows:
    int8_static, int8_dynamic or int8_weight_only. The most frequent one is returned, of equals in this order.
    `weights` counts weight elements by dtype; most of them decide where there is no such operator.
    """
    order = ("int8_static", "int8_dynamic", "int8_weight_only")
    if any(int8_operators.get(name) for name in order):
        return max(order, key=lambda name: int8_operators.get(name, 0))  # max keeps the first of equals
    half = sum(weights.values()) / 2
    if sum(n for dtype, n in weights.items() if dtype.endswith(("int8", "int4", "int2"))) > half:
        return "int8_weight_only"  # embeddings, or operators whose kernels are not known here
    return "fp16" if weights.get("float16", 0) > half else "fp32"


@dataclass(frozen=True)
class Artifact:
    """One converted model in the store.

    `path` is the model itself; `sha256` and `bytes` are of the whole, weights beside it included.
    """

    path: Path
    sha256: str
    bytes: int
    key: str
    format: str
    quantization: str


def whole(files: Mapping[str, tuple[str, int]]) -> tuple[str, int]:
    """sha256 and bytes of a model of one or several files: of several, of the list that sha256sum prints."""
    if len(files) == 1:
        return next(iter(files.values()))
    listed = "".join(f"{sha256}  {name}\n" for name, (sha256, _) in sorted(files.items()))
    return hashlib.sha256(listed.encode()).hexdigest(), sum(size for _, size in files.values())
