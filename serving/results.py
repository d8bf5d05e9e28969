"""Answers, one type a task: what the numbers mean, in the photograph's own size."""

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
    """What all answers share.

    `model` is the network's name, `threshold` what the verdict was taken at, `size` the photograph's
    height and width, `seconds` what each stage took: decode, prepare, run, answer.
    """

    model: str
    threshold: float
    size: tuple[int, int]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: plain numbers and texts; of a map, its shape, mean and greatest value."""
        return {item.name: _plain(item.name, getattr(self, item.name)) for item in fields(self)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Tampering(Result):
    """`probability` that the photograph was tampered with, and where.

    `mask` is float32 [H, W] at the photograph's size, the probability of each pixel; None for a
    file that has no mask. `tampered_share` is the share of pixels at or over the threshold.
    """

    probability: float
    tampered: bool
    mask: Floats | None = None
    tampered_share: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Deepfake(Result):
    """`probability` that the photograph is fake, and that of each patch.

    `patches` is float32 [h, w], rows from the top; None for a file that has no patches.
    """

    probability: float
    fake: bool
    patches: Floats | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(Result):
    """Objects, the best first: those whose score reaches the threshold.

    `boxes` is float32 [n, 4], corners x1, y1, x2, y2 in the photograph's pixels; `scores` float32 [n];
    `categories` int32 [n], from 1; `labels` their names.
    """

    boxes: Floats
    scores: Floats
    categories: NDArray[np.int32]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Watermark(Result):
    """`confidence` that there is a message, and the message: `bits` uint8 [n], the first one most
    significant in `integer` and in `hex`.
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
        """The share of bits that are as expected.

        `expected` is a sequence of 0 and 1, a text of them, hexadecimal digits (with or without 0x),
        or an integer. Raises ValueError for any other, and for one of another length.
        """
        return float(np.mean(self.bits == bits_of(expected, len(self.bits))))

    def as_dict(self) -> dict[str, Any]:
        """An integer of many bits is a text: JSON readers round it."""
        return {**super().as_dict(), "hex": self.hex, "integer": str(self.integer)}


def bits_of(message: str | int | Sequence[int] | NDArray[Any], count: int) -> NDArray[np.uint8]:
    """A message of `count` bits, most significant first. Raises ValueError where it is none."""
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
