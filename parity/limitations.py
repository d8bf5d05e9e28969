"""Looks up the limitation that a network declares of a cell, if any."""

from __future__ import annotations

from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.models import DECLARED_LIMITATIONS
from modelparity.parity.cells import Cell

LIMITATIONS: dict[Cell, Limitation] = {
    Cell(*name): limitation for name, limitation in DECLARED_LIMITATIONS.items()
}
