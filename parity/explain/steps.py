"""What probing finds, as plain values: importing this costs no toolchain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guess:
    """A file's tensor that resembles a step's result."""

    tensor: int
    correlation: float


@dataclass(frozen=True)
class Step:
    """A tensor that an operator of the network made from the image, in computing order.

    `module` is the path of the module at work; `inputs` are the steps that it reads, by index, -1 for
    the image; `weights` the parameters, with their elements. `tensor` is the file's (-1: not found, and
    `guesses` what comes closest). Errors are of that tensor against float64 from the file's own values:
    `error` and `floor` root mean squares, the latter of the float32 twin; `rms` is the tensor's own size,
    `greatest` the greatest difference, `at` its place. `depth` counts steps since the last found one.
    """

    index: int
    module: str
    operator: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    weights: tuple[str, ...]
    elements: int
    rms: float
    floor: float
    tensor: int = -1
    error: float = 0.0
    greatest: float = 0.0
    at: tuple[int, ...] = ()
    depth: int = 0
    output: bool = False
    guesses: tuple[Guess, ...] = ()
