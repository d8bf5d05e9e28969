"""Looks up what each cell must reach, or which declared limitation it meets; networks declare both."""

from __future__ import annotations

from collections.abc import Mapping

from modelparity.converters.recipes import FLOAT
from modelparity.fixtures.models import DECLARED_EXPECTATIONS, declared_in
from modelparity.fixtures.networks import bounds
from modelparity.fixtures.tolerances import Expectation
from modelparity.parity.cells import Cell, all_cells

# By quantization: the bounds of the cells for which a network declares no others. They must hold for any
# network, as multiples of its own float32 error do.
DEFAULTS: Mapping[str, Expectation] = {FLOAT: bounds.FLOAT}

EXPECTATIONS: dict[Cell, Expectation] = {
    **{cell: DEFAULTS[cell.quantization] for cell in all_cells() if cell.quantization in DEFAULTS},
    **{Cell(*name): expectation for name, expectation in DECLARED_EXPECTATIONS.items()},
}


def expectation_of(cell: Cell, table: Mapping[Cell, Expectation] | None = None) -> Expectation:
    """Returns the bounds, or the limitation, of a cell, from `table` or else from `EXPECTATIONS`.

    Raises:
        KeyError: it has none; the message is the entry to add, and the file to add it to.
    """
    table = EXPECTATIONS if table is None else table
    try:
        return table[cell]
    except KeyError:
        entry = f'("{cell.model}", "{cell.format}", "{cell.quantization}"): ...,'
        where = f"the expectations in {declared_in(cell.model)}"
        raise KeyError(f"no expectation for {cell.id}; add to {where}: {entry}") from None
