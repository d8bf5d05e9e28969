"""Defines the steps of a traced network as plain values, without importing a toolchain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guess:
    """A file's tensor that resembles a step's result."""

    tensor: int
    correlation: float


@dataclass(frozen=True)
class Step:
    """The result of one operator of the network.

    Attributes:
        index: Its place in computing order.
        module: Path of the module that ran.
        inputs: Indices of the steps that it reads; -1 is the image.
        weights: Names of the parameters that it reads; `elements` is the size of the largest.
        rms: Root mean square of the result itself.
        floor: Root mean square error of float32, from the perturbed run beside it.
        tensor: Index of the file's tensor; -1 if none matches, and `guesses` are the most similar.
        error: Root mean square difference of that tensor from float64, computed from the file's own values;
            `greatest` is the greatest difference, at place `at`.
        depth: Steps since the last one with a matching tensor.
        output: Whether it is an output of the network.
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
