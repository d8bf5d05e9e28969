"""The words for what a converter leaves behind, shared by all formats."""

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
    int8_weight_only, which this project does not make.
    """

    format: str
    quantization: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, int] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)  # operator type -> count
    producer: str = ""


class NotAModelError(ValueError):
    """The file is of another kind altogether; the message says in one line what it seems to be."""


class BrokenModelError(ValueError):
    """The file is of this format, but damaged; the message says in one line what is wrong."""


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
