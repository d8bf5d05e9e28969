"""The words in which a cell's bounds are told; `modelparity.parity.expectations` has the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FALSE_ALARMS = 1e-3  # of a claim about a right file: what chance alone may bring exceeds a bound so often


@dataclass(frozen=True)
class FloatTolerance:
    """A float cell: error against float64 within `floors` times the network's own float32 error.

    `apart` has the bounds of outputs that have another. `generated_floors` is the same for drawn images, on which
    rounding errors line up. `generated_matched` is the least share of detections that come out alike there, where
    patterns repeat, so that more tie than `modelparity.parity.metrics.detection_matching.ties` allows a stream.
    """

    floors: float
    generated_floors: float
    because: str
    generated_matched: float = 1.0
    apart: Mapping[str, float] = field(default_factory=dict)

    def of(self, output: str) -> float:
        """The bound of an output over the stream, in floors."""
        return self.apart.get(output, self.floors)


@dataclass(frozen=True)
class QuantizedTolerance:
    """A quantized cell: least SQNR over the stream and for its worst sample, in dB, by output.

    `matched` is the least share of detections that have a partner, over the stream.
    """

    sqnr_db: Mapping[str, float]
    worst_sqnr_db: Mapping[str, float]
    because: str
    matched: float = 1.0


@dataclass(frozen=True)
class Limitation:
    """A cell known to fail at `stage` ("convert", "load", "run", or a claim's name). Strict: a pass is red.

    `tolerance` is what the cell would have to reach without it.
    """

    stage: str
    reason: str
    because: str
    tolerance: FloatTolerance | QuantizedTolerance
    issue: str = ""


Expectation = FloatTolerance | QuantizedTolerance | Limitation
