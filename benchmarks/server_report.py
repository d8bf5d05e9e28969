"""Writes the measurements of the server as a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelparity.converters.engine.store import sha256_of
from modelparity.modelfiles.model_card import card_of


@dataclass(frozen=True)
class Row:
    """One measured number; `holds` is None if it has no bound."""

    what: str
    measured: str
    bound: str
    holds: bool | None = None


_WORDS = {None: "", True: "yes", False: "NO"}


def table(rows: Sequence[Row]) -> str:
    from tabulate import tabulate

    cells = [(row.what, row.measured, row.bound, _WORDS[row.holds]) for row in rows]
    return str(tabulate(cells, headers=("", "measured", "bound", "holds"), tablefmt="github"))


def markdown(artifact: Path, effort: str, rows: Sequence[Row], load: float) -> str:
    """A section of a document: the file, the machine, the command and the table."""
    card = card_of(artifact)
    name = f"{card.title}, {card.format} {card.quantization}" if card else artifact.name
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return (
        f"## {name}\n\nsha256 {sha256_of(artifact)}. Machine: {machine}, load average {load:.1f} before.\n\n"
        f"    python -m modelparity.benchmarks.server {artifact.name} --effort {effort}\n\n{table(rows)}\n"
    )
