"""Measures differences of arrays: rms, greatest error and SQNR, without judging them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelparity.fixtures.arrays import Array


def rms(x: Array) -> float:
    """Root mean square, in float64; NaN if any entry is NaN, or there is none."""
    if not x.size:
        return math.nan
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def decibels(signal_power: float, noise_power: float) -> float:
    """10 log10(signal / noise): inf without noise, -inf without signal or in infinite noise.

    NaN if either is NaN.
    """
    if math.isnan(signal_power) or math.isnan(noise_power):
        return math.nan
    if noise_power == 0:
        return math.inf
    if signal_power == 0:
        return -math.inf
    return 10 * (math.log10(signal_power) - math.log10(noise_power))


@dataclass(frozen=True)
class SampleError:
    """One sample of one output: `rms` and `max_abs` error, the place `at` of the latter, and SQNR in dB."""

    sample: int
    rms: float
    max_abs: float
    at: tuple[int, ...]
    sqnr_db: float


@dataclass(frozen=True)
class OutputError:
    """One output over an evaluation set.

    `spread` is the standard deviation of the reference over the set. SQNR is relative to its power, for the
    whole set and for each sample, so that an output of one value for each image has an SQNR as well.
    """

    output: str
    spread: float
    sqnr_db: float
    samples: tuple[SampleError, ...]

    @property
    def worst_rms(self) -> SampleError:
        return max(self.samples, key=lambda sample: _nan_is_worst(sample.rms))

    @property
    def worst_max(self) -> SampleError:
        return max(self.samples, key=lambda sample: _nan_is_worst(sample.max_abs))


def _nan_is_worst(value: float) -> float:
    return math.inf if math.isnan(value) else value


def compare(output: str, observed: Sequence[Array], reference: Sequence[Array]) -> OutputError:
    """Observed against reference, sample by sample, in float64; each array is read once.

    A sample without a value has NaN for every number.

    Raises:
        ValueError: Shapes differ (broadcasting would compare different places), or there is no sample.
    """
    if not reference:
        raise ValueError(f"{output}: no sample to compare")
    signal = Spread()
    errors = [_pass(output, got, expected, signal) for got, expected in zip(observed, reference, strict=True)]
    power = signal.variance
    samples = tuple(
        SampleError(index, error.rms, error.max_abs, error.at, decibels(power, error.power))
        for index, error in enumerate(errors)
    )
    count = sum(error.count for error in errors)
    noise = math.fsum(error.squares for error in errors) / count if count else math.nan
    return OutputError(output, math.sqrt(power), decibels(power, noise), samples)


# --- one pass -----------------------------------------------------------------------------------

# Values at a time, and the buffers of float64 that they are worked on in: three of 64 KiB stay in a
# core's second-level cache. Beyond 10,000 values OpenBLAS starts threads for a dot product.
BLOCK = 8192


@dataclass(frozen=True)
class Difference:
    """Two arrays of one shape: the sum of squared differences, the greatest, and its first place.

    For empty arrays, `max_abs` is NaN and `at` is ().
    """

    count: int
    squares: float
    max_abs: float
    at: tuple[int, ...]

    @property
    def power(self) -> float:
        """Mean square; NaN for empty arrays."""
        return self.squares / self.count if self.count else math.nan

    @property
    def rms(self) -> float:
        return math.sqrt(self.power)


class Spread:
    """The variance of all values added, accumulated relative to the first of them.

    Of n values with variance v, none is farther than sqrt(n v) from the mean, so cancellation costs at most n
    ULPs of float64.
    """

    def __init__(self) -> None:
        self._count = 0
        self._about = 0.0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, values: Array, buffer: Array) -> None:
        """Adds one-dimensional `values`, at least one; overwrites `buffer`, float64 of the same length."""
        if not self._count:
            first = float(values[0])
            self._about = first if math.isfinite(first) else 0.0
        np.subtract(values, self._about, out=buffer)
        self._sum += float(np.dot(buffer, _ONES[: buffer.size]))
        self._squares += float(np.dot(buffer, buffer))
        self._count += values.size

    @property
    def variance(self) -> float:
        """NaN where a value is NaN or infinite, or there is none."""
        if not self._count:
            return math.nan
        mean = self._sum / self._count
        variance = self._squares / self._count - mean * mean
        return variance if math.isnan(variance) else max(variance, 0.0)


_ONES = np.ones(BLOCK)


def difference(observed: Array, expected: Array) -> Difference:
    """The difference of two arrays.

    Raises:
        ValueError: Their shapes differ.
    """
    return _pass("arrays", observed, expected, None)


def _pass(label: str, observed: Array, expected: Array, signal: Spread | None) -> Difference:
    """The difference of two arrays; adds `expected` to `signal`."""
    if observed.shape != expected.shape:
        raise ValueError(f"{label}: shape {observed.shape}, but the reference's is {expected.shape}")
    one, other = observed.reshape(-1), expected.reshape(-1)
    size = one.size
    if not size:
        return Difference(0, 0.0, math.nan, ())
    wide = [np.empty(min(size, BLOCK)) for _ in range(3)]
    squares, greatest, place = 0.0, 0.0, 0
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, size, BLOCK):
            got, truth, error = (buffer[: size - start] for buffer in wide)
            # A separate cast is faster than one inside the subtraction.
            minuend = _wide(one[start : start + BLOCK], got)
            subtrahend = _wide(other[start : start + BLOCK], truth)
            np.subtract(minuend, subtrahend, out=error)
            square = float(np.dot(error, error))
            squares += square
            # No value exceeds the root of the sum of squares. Nothing exceeds NaN, so the first one stays.
            if not math.isnan(greatest) and not square < greatest * greatest:
                at = int(np.argmax(np.abs(error, out=got)))
                if not got[at] <= greatest:
                    greatest, place = float(got[at]), start + at
            if signal is not None:
                signal.add(subtrahend, error)
    where = tuple(int(i) for i in np.unravel_index(place, observed.shape))
    return Difference(size, squares, greatest, where)


def _wide(values: Array, buffer: Array) -> Array:
    """The values as float64, in the buffer if they are of another dtype."""
    if values.dtype == np.float64:
        return values
    np.copyto(buffer, values)
    return buffer
