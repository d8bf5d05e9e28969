"""What a comparison of structures finds. It imports no toolchain, so that claims can be made of it."""

from __future__ import annotations

from dataclasses import dataclass

IMAGES = 3  # of the evaluation set, whose shapes and ranges random inputs have


@dataclass(frozen=True)
class Difference:
    """Where a file differs.

    Attributes:
        words: What differs, in a line.
        proven: The outputs are the network's once that is mended.
    """

    words: str
    proven: bool


@dataclass(frozen=True)
class Structure:
    """How a file's structure compares with the program's.

    Attributes:
        ratio: The greatest error of an output, in multiples of the program's own float32 error.
        bound: What that may be.
        operators: How many operators of the file are compared.
        difference: Where it differs; None if it does not, or if the place was not found.
        whole: Whether all non-linear functions have a substitute.
        reason: Why the file cannot be compared; "" if it can.
        not_asked: Why the network cannot be compared with any file; "" if it can.
    """

    ratio: float = 0.0
    bound: float = 0.0
    operators: int = 0
    difference: Difference | None = None
    whole: bool = True
    reason: str = ""
    not_asked: str = ""
