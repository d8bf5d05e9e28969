"""Every cell of the matrix, proven or refused with its reason."""

from __future__ import annotations

from collections.abc import Callable

from modelparity.parity.cells import Cell
from modelparity.parity.results import CellRecord


def test_cell(cell: Cell, record: CellRecord, assert_green: Callable[[CellRecord], None]) -> None:
    assert record.id == cell.id
    assert_green(record)
