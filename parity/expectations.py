"""What each cell must reach, or which declared limitation it meets: every number beside its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parity.cells import Cell


@dataclass(frozen=True)
class FloatTolerance:
    """A float cell: error against float64 within `floors` times the network's own float32 error.

    `drawn_floors` is the same for drawn images, on which rounding errors line up.
    """

    floors: float
    drawn_floors: float
    because: str


@dataclass(frozen=True)
class QuantizedTolerance:
    """A quantized cell: least SQNR over the stream and for its worst sample, in dB, by output."""

    sqnr_db: Mapping[str, float]
    worst_sqnr_db: Mapping[str, float]
    because: str


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

_FLOAT = FloatTolerance(
    floors=8,
    drawn_floors=60,
    because=(
        "a right conversion sits at 1 to 3 floors (27 on constant images, where a runtime's systematic "
        "errors add up instead of averaging out), the smallest planted fault (2 % on one row) at 150"
    ),
)

EXPECTATIONS: dict[Cell, Expectation] = {}


def expectation_of(cell: Cell, table: Mapping[Cell, Expectation] | None = None) -> Expectation:
    """Raises `KeyError` with the entry to paste for a cell that nobody has declared."""
    table = EXPECTATIONS if table is None else table
    try:
        return table[cell]
    except KeyError:
        entry = f'Cell("{cell.model}", "{cell.format}", "{cell.quantization}"): ...,'
        raise KeyError(f"no expectation for {cell.id}; add to parity/expectations.py: {entry}") from None
