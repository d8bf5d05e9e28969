"""The result types, one per task; maps and boxes have the size of the photograph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_MAPS = ("mask", "patches")


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """What all results have in common.

    `model` is the name of the network, `threshold` the decision threshold, `size` the height and width of the
    photograph, `seconds` the duration of each stage: decode, prepare, run, answer.
    """

    model: str
    threshold: float
    size: tuple[int, int]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON; a map is replaced by its shape, mean and greatest value."""
        return {item.name: _plain(item.name, getattr(self, item.name)) for item in fields(self)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Tampering(Result):
    """The `probability` that the photograph was tampered with, and where.

    `mask` is float32 [H, W] at the size of the photograph, the probability of each pixel; None for a file
    without a mask. `tampered_share` is the fraction of pixels at or above the threshold.
    """

    probability: float
    tampered: bool
    mask: Floats | None = None
    tampered_share: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Deepfake(Result):
    """The `probability` that the photograph is fake, and that of each patch.

    `patches` is float32 [h, w], rows from the top; None for a file without patches.
    """

    probability: float
    fake: bool
    patches: Floats | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(Result):
    """The objects whose score reaches the threshold, best first.

    `boxes` is float32 [n, 4], corners x1, y1, x2, y2 in pixels of the photograph; `scores` is float32 [n];
    `categories` is int32 [n], from 1; `labels` are their names.
    """

    boxes: Floats
    scores: Floats
    categories: NDArray[np.int32]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Watermark(Result):
    """The `confidence` that there is a message, and the message.

    `bits` is uint8 [n]; the first bit is the most significant one in `integer` and `hex`.
    """

    confidence: float
    marked: bool
    bits: NDArray[np.uint8]

    @property
    def integer(self) -> int:
        return int("".join(map(str, self.bits.tolist())), 2)

    @property
    def hex(self) -> str:
        return f"{self.integer:0{-(-len(self.bits) // 4)}x}"

    def accuracy(self, expected: str | int | Sequence[int] | NDArray[Any]) -> float:
        """The fraction of bits that are as expected.

        `expected` is a sequence of 0 and 1, a string of them, hexadecimal digits (with or without 0x), or an
        integer.

        Raises:
            ValueError: `expected` is none of these, or has another length.
        """
        return float(np.mean(self.bits == bits_of(expected, len(self.bits))))

    def as_dict(self) -> dict[str, Any]:
        """Like `Result.as_dict`; the integer is a string, because JSON readers round large integers."""
        return {**super().as_dict(), "hex": self.hex, "integer": str(self.integer)}


def bits_of(message: str | int | Sequence[int] | NDArray[Any], count: int) -> NDArray[np.uint8]:
    """The bits of a message, uint8 [count], most significant first.

    Raises:
        ValueError: `message` is no message of `count` bits.
    """
    if isinstance(message, str):
        digits = message.strip().lower().removeprefix("0x")
        if re.fullmatch(r"[01]*", digits) and len(digits) == count and "0x" not in message.lower():
            return np.array([int(digit) for digit in digits], np.uint8)
        if not re.fullmatch(r"[0-9a-f]+", digits) or len(digits) != -(-count // 4):
            raise ValueError(
                f"message {message!r:.80}: neither {count} of 0 and 1 nor {-(-count // 4)} hex digits"
            )
        message = int(digits, 16)
    if isinstance(message, int | np.integer):
        if not 0 <= int(message) < 1 << count:
            raise ValueError(f"message {message}: does not fit {count} bits")
        return np.array([int(digit) for digit in f"{int(message):0{count}b}"], np.uint8)
    array = np.asarray(message)
    if array.shape != (count,) or not np.isin(array, (0, 1)).all():
        raise ValueError(f"message of shape {list(array.shape)}, but should be {count} of 0 and 1")
    return array.astype(np.uint8)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if name in _MAPS:
            return {"shape": list(value.shape), "mean": float(value.mean()), "max": float(value.max())}
        return value.tolist()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
