"""The arithmetic of rounding: by calibrated numbers, by ranges at run time, and in a perturbed run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modelparity.modelfiles.graph import QuantizationParams

_PERTURBATION = 64 * 2.0**-24  # 64 half ULPs of float32, relative
_EDGE = 16 * 2.0**-24  # how near to an edge a value falls to the other side, relative to the value


class Moves:
    """Random numbers from -1 to 1, of any shape.

    Each array is a slice at a random place of one pool, because drawing all of them anew takes as long as the
    network itself.
    """

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._pool = torch.empty(0)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        size = math.prod(shape)
        if 2 * size > self._pool.numel():
            self._pool = torch.rand(max(4 * size, 1 << 16), generator=self._generator) * 2 - 1
        start = int(torch.randint(self._pool.numel() - size, (), generator=self._generator))
        return self._pool[start : start + size].view(*shape)


def perturbed(value: Tensor, terms: float, moves: Moves, shape: Sequence[int]) -> Tensor:
    """Moved at random by up to 64 times the float32 error of a sum of so many terms.

    Args:
        shape: Of the random numbers; where it has an axis of length 1, all of the value's move alike.
    """
    return torch.addcmul(value, value, moves(shape), value=math.sqrt(terms) * _PERTURBATION)


def nearest(steps: Tensor, flip: bool) -> Tensor:
    """Rounded to integers, ties to even.

    With `flip`, values within 16 half ULPs of the edge between two integers fall to the other side of it.
    That is as many as when each value moves by up to 64 half ULPs at random, and none is missed that lies
    exactly on an edge, as all levels of a pixel do where their range is symmetric.
    """
    found = steps.round()
    if not flip:
        return found
    apart = steps - found
    # In place, for new arrays cost more time than the arithmetic.
    inside = apart.abs().neg_().add_(0.5).le(steps.abs().mul_(_EDGE)).logical_not_()
    return found.add_(apart.sign_().masked_fill_(inside, 0))


def rounded(value: Tensor, roundings: Sequence[QuantizationParams], flip: bool = False) -> Tensor:
    """Rounded to `nearest` steps within the integers' limits; one rounding after another."""
    for r in roundings:
        steps = nearest(value / r.scale, flip)
        value = steps.clamp_(r.low - r.zero_point, r.high - r.zero_point).mul_(r.scale)
    return value


def by_range_uint8(value: Tensor, flip: bool = False) -> Tensor:
    """Quantized by `DynamicQuantizeLinear`, and dequantized."""
    low = value.amin().clamp(max=0)
    scale = (value.amax().clamp(min=0) - low) / 255
    scale = torch.where(scale > 0, scale, 1)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return nearest(value / scale, flip).clamp_(-zero, 255 - zero).mul_(scale)


def by_range_int8(value: Tensor, axes: tuple[int, ...], flip: bool = False) -> Tensor:
    """Quantized by XNNPACK's qd8 and dequantized, one range over `axes`.

    The zero point is computed from the end of the range at which its error is smaller.
    """
    low, high = value.amin(axes, keepdim=True).clamp(max=0), value.amax(axes, keepdim=True).clamp(min=0)
    inverse = torch.where(high > low, 255 / (high - low), 1)
    zero = torch.where((low + high) * inverse > 1, -128 - low * inverse, 127 - high * inverse)
    zero = torch.round(torch.clamp(zero, -128, 127))
    return nearest(value * inverse, flip).clamp_(-128 - zero, 127 - zero).div_(inverse)


def by_blocks_int8(value: Tensor, size: int, flip: bool = False) -> Tensor:
    """Quantized by the peak of each block of `size` numbers of its last axis, and dequantized.

    As the kernels of ONNX Runtime's MatMulNBits do; the last block may be shorter.
    """
    count = value.shape[-1]
    blocks = torch.nn.functional.pad(value, (0, -count % size))
    blocks = blocks.reshape(*value.shape[:-1], -1, size)
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale > 0, scale, 1)
    return nearest(blocks / scale, flip).mul_(scale).flatten(-2)[..., :count]


def to_half(value: Tensor) -> Tensor:
    """The nearest numbers of float16, in the type of `value`."""
    return value.to(torch.float16).to(value.dtype)
