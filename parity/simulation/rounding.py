"""The arithmetic of rounding: by calibrated numbers, by ranges at run time, and in a perturbed run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modelparity.modelfiles.graph import QuantizationParams

_PERTURBATION = 64 * 2.0**-24  # 64 half ULPs of float32, relative


class Moves:
    """Random numbers from -1 to 1, of any shape.

    Each array is a slice at a random place of one pool, because drawing all of them anew takes as long as the
    network itself.
    """

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._pool = torch.empty(0)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        size = math.prod(shape)
        if 2 * size > self._pool.numel():
            self._pool = torch.rand(max(4 * size, 1 << 16), generator=self._generator) * 2 - 1
        start = int(torch.randint(self._pool.numel() - size, (), generator=self._generator))
        return self._pool[start : start + size].view(*shape)


def perturbed(
    value: Tensor, terms: float, moves: Moves, shape: Sequence[int], *, apart: bool = False
) -> Tensor:
    """Moved at random by up to 64 times the float32 error of a sum of so many terms.

    Args:
        shape: Of the random numbers; where it has an axis of length 1, all of the value's move alike.
        apart: Values above 0 move by other numbers than those below. A difference of pixels has x at one end
            of the image and -x at the other, whose steps are +-127.5 in their own range: both are on an edge,
            and moving them alike would leave them there.
    """
    by = moves(shape)
    if apart:
        by = torch.where(value < 0, moves(shape), by)
    return torch.addcmul(value, value, by, value=math.sqrt(terms) * _PERTURBATION)


def rounded(value: Tensor, roundings: Sequence[QuantizationParams]) -> Tensor:
    """Rounded to the nearest step, ties to even, within the integers' limits; one rounding after another."""
    for r in roundings:
        # In place, for a new array costs more time than the arithmetic.
        steps = (value / r.scale).round_()
        value = steps.clamp_(r.low - r.zero_point, r.high - r.zero_point).mul_(r.scale)
    return value


def by_range_uint8(value: Tensor) -> Tensor:
    """Quantized by `DynamicQuantizeLinear`, and dequantized."""
    low = value.amin().clamp(max=0)
    scale = (value.amax().clamp(min=0) - low) / 255
    scale = torch.where(scale > 0, scale, 1)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return (value / scale).round_().clamp_(-zero, 255 - zero).mul_(scale)


def by_range_int8(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Quantized by XNNPACK's qd8 and dequantized, one range over `axes`.

    The zero point is computed from the end of the range at which its error is smaller.
    """
    low, high = value.amin(axes, keepdim=True).clamp(max=0), value.amax(axes, keepdim=True).clamp(min=0)
    inverse = torch.where(high > low, 255 / (high - low), 1)
    zero = torch.where((low + high) * inverse > 1, -128 - low * inverse, 127 - high * inverse)
    zero = torch.round(torch.clamp(zero, -128, 127))
    return (value * inverse).round_().clamp_(-128 - zero, 127 - zero).div_(inverse)
