"""Numbers about two arrays. No opinion here: `claims` judges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rms(x: Array) -> float:
    """Root mean square, in float64; NaN if any entry is NaN, or there is none."""
    if not x.size:
        return math.nan
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def decibels(signal_power: float, noise_power: float) -> float:
    """10 log10(signal / noise): inf without noise, -inf without signal, NaN if either is NaN."""
    if math.isnan(signal_power) or math.isnan(noise_power):
        return math.nan
    if noise_power == 0:
        return math.inf
    return -math.inf if signal_power == 0 else 10 * math.log10(signal_power / noise_power)


@dataclass(frozen=True)
class SampleError:
    """One sample of one output: `rms` and `max_abs` error, where the latter is, and its SQNR in dB."""

    sample: int
    rms: float
    max_abs: float
    at: tuple[int, ...]
    sqnr_db: float


@dataclass(frozen=True)
class OutputError:
    """One output over a stream.

    `spread` is the standard deviation of the reference over the stream: the power that SQNR is
    taken against, for the whole stream and for each sample alike, so that an output of one
    number an image has an SQNR as well.
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
    """Observed against reference, sample by sample, in float64.

    Raises `ValueError` on a shape that differs: broadcasting would compare things that are not
    the same.
    """
    errors = []
    for got, expected in zip(observed, reference, strict=True):
        if got.shape != expected.shape:
            raise ValueError(f"{output}: shape {got.shape}, but the reference's is {expected.shape}")
        errors.append(got.astype(np.float64) - expected.astype(np.float64))
    everything = np.concatenate([expected.astype(np.float64).ravel() for expected in reference])
    signal = float(np.var(everything))
    samples = tuple(_sample_error(index, error, signal) for index, error in enumerate(errors))
    noise = float(np.mean(np.square(np.concatenate([error.ravel() for error in errors]))))
    return OutputError(output, math.sqrt(signal), decibels(signal, noise), samples)


def _sample_error(index: int, error: Array, signal: float) -> SampleError:
    if not error.size:  # nothing of this sample could be compared
        return SampleError(index, math.nan, math.nan, (), math.nan)
    magnitude = np.abs(error)
    flat = int(np.argmax(magnitude))  # the first NaN, if there is one
    at = tuple(int(i) for i in np.unravel_index(flat, error.shape))
    noise = float(np.mean(np.square(error)))
    return SampleError(index, math.sqrt(noise), float(magnitude.ravel()[flat]), at, decibels(signal, noise))
