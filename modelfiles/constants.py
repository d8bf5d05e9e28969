"""Compares the stored numbers of a quantized file with the float ones they were made of.

A right float16 number is the nearest one, a right integer is within half a
step, and the scale that is due follows from the float numbers. Read and compared in blocks, so that a
constant of 100 MB costs no more than a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any, Literal

import numpy as np

from modelparity.fixtures.arrays import Array

HALF_STEP = 0.5  # how far rounding to the nearest moves a number, at most
_BLOCK = 1 << 22  # elements that are compared at a time
_LEAST = 1e-9  # ai-edge-quantizer's least range of a channel
# Integers to either side of 0.
_STEPS_OF = {"int8": 127, "uint8": 127, "int4": 7, "uint4": 7, "int2": 1, "uint2": 1, "int16": 32767}


@dataclass(frozen=True, eq=False)
class Constant:
    """Stored numbers of `shape`, read when asked for.

    `scale` and `zero_point` broadcast to the shape, and so does `product`, which an int32 bias has:
    the scale of its layer's input times that of the weights. `symmetric`: kernels take the zero point
    for 0, whatever it says. `paired`: kernels may add two products in 16 bits (`pair_peak`).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    scale: Array | None = None
    zero_point: Array | None = None
    product: Array | None = None
    symmetric: bool = False
    paired: bool = False

    def turned(self, axes: Sequence[int]) -> Constant:
        """With its axes in another order."""
        return self._viewed(lambda array: array.transpose(axes))

    def spread(self, ones: int) -> Constant:
        """With axes of length 1 behind its own."""
        return self._viewed(lambda array: array.reshape(*array.shape, *[1] * ones))

    def _viewed(self, view: Callable[[Array], Array]) -> Constant:
        def part(array: Array | None) -> Array | None:
            return None if array is None else view(array)

        return replace(
            self,
            shape=view(np.broadcast_to(np.int8(0), self.shape)).shape,
            read=lambda: view(self.read()),
            scale=part(self.scale),
            zero_point=part(self.zero_point),
            product=part(self.product),
        )


def real(constant: Constant, dtype: type[np.floating[Any]] = np.float64) -> Array:
    """The numbers that it stands for, (q - zero point) x scale, in `dtype`.

    Without a scale: integers as they are, and other numbers in `dtype` if it is the wider one.
    """
    values = constant.read()
    if constant.scale is None:
        is_float = np.issubdtype(values.dtype, np.floating)
        return values.astype(np.promote_types(values.dtype, dtype), copy=False) if is_float else values
    values = values.astype(np.float64)
    if constant.zero_point is not None and not constant.symmetric:
        values = values - constant.zero_point
    scaled: Array = values * constant.scale
    return scaled.astype(dtype, copy=False)


def pair_peak(weight: Array, axis: int) -> Array:
    """The peak [channels] to which the scales of an int8 weight are due along `axis`: a step is peak / 127.

    It is max |w| of the channel or, if that is more, the greatest sum of two neighbours. x86 CPUs without
    VNNI add two products of uint8 and int8 in 16 bits, which hold 255 x 128 and saturate beyond
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I need to
    try U8U8?"). A sum of two weights then is 127 steps at most, and 128 after both were rounded. Neighbours
    are those in the order in which kernels read them, channels first or channels last.
    """
    channels = np.moveaxis(weight, axis, 0)
    peak: Array = np.abs(channels).reshape(len(channels), -1).max(axis=1)
    for sums in neighbours(weight, axis):  # of other signs, less than max |w|
        np.maximum(peak, sums.max(axis=1, initial=0), out=peak)
    return peak


def neighbours(weight: Array, axis: int) -> Iterator[Array]:
    """The magnitudes of the sums of two neighbours [channels, pairs], in either order (see `pair_peak`)."""
    channels = np.moveaxis(weight, axis, 0)
    for order in (channels, np.moveaxis(channels, 1, -1)):
        flat = order.reshape(len(channels), -1)
        yield np.abs(flat[:, 1:] + flat[:, :-1])


@dataclass(frozen=True)
class Compared:
    """A constant beside the float one, `name`.

    `off` is the greatest distance over its elements, reached at `at`, in `unit`: steps of integers,
    beyond what float32 rounds away (see `_steps`); places of float16; for a constant that keeps its
    type, how many elements differ in a bit, `at` being the first. `scale_ratio` is the greatest ratio of a
    scale to the scale that is due, in `channel`. `neighbours` is the greatest sum of two neighbours (see
    `pair_peak`), in steps, of an int8 weight whose products kernels may add in 16 bits. `note` says why the
    two cannot be compared.
    """

    name: str
    dtype: str
    unit: Literal["steps", "places", "bits"] = "bits"
    off: float = 0.0
    at: tuple[int, ...] = ()
    scale_ratio: float = 1.0
    channel: int = 0
    axis: int = 0  # of the channels
    neighbours: float = 0.0
    note: str = ""


def measured(constant: Constant, origin: Constant, axis: int | None = None) -> Compared:
    """`axis` is that of the output channels of a layer's weight, each of which should have a scale."""
    same = Compared(origin.name, constant.dtype)
    moved = constant.shape != origin.shape and _squeezed(constant) == _squeezed(origin)
    if moved and (constant.scale is None or constant.scale.size == 1):  # axes of length 1 elsewhere
        ones = [1] * len(origin.shape)
        constant = constant._viewed(lambda a: a.reshape(origin.shape if a.size > 1 else ones))
    if constant.shape != origin.shape:
        shapes = f"has the shape {list(constant.shape)}, but should have {list(origin.shape)}"
        return replace(same, off=inf, note=shapes)
    if not constant.shape:  # a scalar, as a vector of one
        constant, origin = constant.spread(1), origin.spread(1)
    if origin.scale is None and origin.dtype == "float32" and constant.scale is not None:
        return _steps(replace(same, unit="steps"), constant, origin, axis)
    if constant.scale is None and constant.dtype == origin.dtype:
        return _worst(same, constant, origin, _bits)
    if constant.scale is None and (constant.dtype, origin.dtype) == ("float16", "float32"):
        return _worst(replace(same, unit="places"), constant, origin, _places)
    return replace(same, off=inf, note=f"is {constant.dtype}, but comes from {origin.dtype}")


def _squeezed(constant: Constant) -> list[int]:
    return [n for n in constant.shape if n > 1]


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Parts of an array along its first axis, so that no more than a block is in memory at a time."""
    rows = max(1, _BLOCK // max(1, prod(shape[1:])))
    yield from (slice(start, start + rows) for start in range(0, shape[0], rows))


def _bits(stored: Array, due: Array) -> Array:
    """1.0 where the two differ in a bit."""
    stored, due = (np.ascontiguousarray(part).view(f"u{part.itemsize}") for part in (stored, due))
    return (stored != due).astype(np.float64)


def _places(stored: Array, due: Array) -> Array:
    """How many numbers of float16 `stored` lies from float32 `due` rounded to the nearest."""
    with np.errstate(over="ignore"):
        nearest = due.astype(np.float16)
    if np.array_equal(stored, nearest):
        return np.zeros(stored.shape)
    ordered = []
    for part in (stored, nearest):
        bits = np.ascontiguousarray(part).view(np.int16).astype(np.int32)
        ordered.append(np.where(bits < 0, -(bits & 0x7FFF), bits))
    return np.abs(ordered[0] - ordered[1]).astype(np.float64)


def _worst(
    same: Compared, constant: Constant, origin: Constant, distance: Callable[[Array, Array], Array]
) -> Compared:
    found, count, values, due = same, 0.0, constant.read(), origin.read()
    for block in _blocks(constant.shape):
        off = distance(values[block], due[block])
        count += float(off.sum()) if distance is _bits else 0.0
        found = _farther(found, off, block)
    return replace(found, off=count) if distance is _bits else found


def _farther(found: Compared, off: Array, block: slice) -> Compared:
    """`found`, or the worst element of this block where that is farther off. NaN is farthest."""
    if not off.size or not (worst := float(np.nan_to_num(off, nan=inf, copy=False).max())) > found.off:
        return found
    first, *rest = np.unravel_index(int(off.argmax()), off.shape)
    return replace(found, off=worst, at=(block.start + int(first), *map(int, rest)))


def _steps(same: Compared, constant: Constant, origin: Constant, axis: int | None) -> Compared:
    """Distances in steps, and scales beside the due ones: their channel's peak / 127 (a bias: its `product`).

    A distance counts beyond |q| * 2^-23 steps: a float32 quotient w / scale of a float32 scale is off
    by up to 2^-24 of itself for either rounding. (That is 2^-16 of a step at most for 8 bits.)
    """
    assert constant.scale is not None
    scale, rank = constant.scale.astype(np.float64), len(constant.shape)
    zero_point = np.zeros((1,) * rank) if constant.zero_point is None else constant.zero_point
    several = [place for place, count in enumerate(scale.shape) if count > 1]
    axis = axis % rank if axis is not None else several[0] if several else None
    found = replace(same, axis=axis or 0)
    if several not in ([], [axis]):
        return replace(found, off=inf, note=f"has scales along axis {several}, but should have along {axis}")
    if not (np.isfinite(scale) & (scale > 0)).all():
        return replace(found, off=inf, note="has a scale that is no positive number")
    if constant.symmetric and zero_point.any():
        return replace(found, off=inf, note="has a zero point, but the format wants 0")
    if constant.product is None and constant.dtype not in _STEPS_OF:
        return replace(found, off=inf, note=f"is {constant.dtype}, but its layer has no scales for that")
    peak = np.zeros([n if place == axis else 1 for place, n in enumerate(constant.shape)])
    paired = axis if constant.paired and rank > 1 else None
    others = tuple(place for place in range(rank) if place != axis)
    values, due = constant.read(), origin.read()
    for block in _blocks(constant.shape):
        weights = due[block].astype(np.float64)
        step, zero = (part[block] if len(part) > 1 else part for part in (scale, zero_point))
        integers = values[block].astype(np.float64) - zero
        found = _farther(found, np.abs(weights / step - integers) - np.abs(integers) * 2.0**-23, block)
        part = peak[block] if len(peak) > 1 else peak  # a view
        if paired is not None:
            # Where a block has only some of each channel, its first row has a neighbour before it.
            before = slice(block.start - int(paired > 0 and block.start > 0), block.stop)
            if constant.dtype == "int8":
                sums = pair_peak(values[before].astype(np.float64), paired)
                found = replace(found, neighbours=max(found.neighbours, float(sums.max())))
            due_to = pair_peak(due[before].astype(np.float64), paired).reshape(part.shape)
        else:
            due_to = np.abs(weights).max(axis=others, keepdims=True, initial=0)
        np.maximum(part, due_to, out=part)
    if constant.product is not None:
        ratio = np.maximum(scale / constant.product, constant.product / scale)
    else:  # a channel of zeros asks for no scale
        steps = _STEPS_OF[constant.dtype]
        ratio = np.where(peak > 0, scale * steps / np.maximum(peak, _LEAST), 1.0)
    channel = int(ratio.argmax())
    return replace(found, scale_ratio=float(ratio.flat[channel]), channel=channel)
