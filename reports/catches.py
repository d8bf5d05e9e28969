"""What this gate catches: the faults that were planted in these very files, and which claim noticed each.

A kill table is JSON lines, a cell a line (`modelparity.parity.results.ScoredCell`). It speaks for files, by their
sha256, and for the harness that judged them: a run's report shows no cell of it whose file is another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelparity.parity.results import FaultRecord, Number, Run, ScoredCell, read_scored
from modelparity.reports.words import NONE, one_line, value

TABLE = "what-it-catches.jsonl"
HEADER = (
    "fault",
    "stands for",
    "killed",
    "by",
    "smallest strength",
    "share of own error",
    "named",
    "not visible, floors",
)
NOTE = (
    "Killed: of the faults that move an output by more than the network's own float32 error, or break what "
    "the file promises, how many a claim noticed. Smallest strength: the weakest that was tried and noticed. "
    "Share of own error: how far the fault moves an output, relative to what rounding itself does to "
    "that file; below 1 it hides in rounding. Named: how often lineage's claims name the numbers that "
    "were changed. Not visible: how far a fault moves an output that float32's own rounding moves as far."
)


@dataclass(frozen=True)
class Catches:
    """Cells of a kill table whose files are those of a run, and how many cells the run has."""

    cells: tuple[ScoredCell, ...]
    of: int
    harness: str  # of the run

    @property
    def faults(self) -> list[FaultRecord]:
        return [fault for cell in self.cells for fault in cell.faults if not fault.missing]

    @property
    def line(self) -> str:
        """How much of the run the table speaks for, and what it says."""
        if not self.cells:
            return "No file of this run has been scored: `modelparity mutate` plants faults in them."
        seen = [fault for fault in self.faults if fault.visible]
        killed = sum(fault.killed for fault in seen)
        words = (
            f"Faults were planted in {len(self.cells)} of the {self.of} files of this run (the same sha256)"
        )
        words += f": {killed} of {len(seen)} visible ones were noticed"
        words += f", {len(self.faults) - len(seen)} more are below the noise floor."
        if refused := [cell.id for cell in self.cells if cell.refused]:
            words += f" Refused as they are: {', '.join(refused)}."
        if other := {cell.harness for cell in self.cells} - {self.harness}:
            words += f" Judged by another state of the harness ({', '.join(sorted(other))})."
        return words


def catches(run: Run, folder: Path) -> Catches:
    """From the table in the run's own folder, else the one that comes with the project."""
    shas = {cell.id: cell.artifact.sha256 for cell in run.cells if cell.artifact}
    found: dict[str, ScoredCell] = {}
    for path in (Path(__file__).with_name(TABLE), folder / TABLE):
        if path.is_file():
            found.update((cell.id, cell) for cell in read_scored(path) if shas.get(cell.id) == cell.sha256)
    cells = tuple(found[name] for name in shas if name in found)
    return Catches(cells, len(shas), run.header.versions.get("harness", ""))


def rows(faults: Iterable[FaultRecord]) -> list[tuple[str, ...]]:
    """A row a fault, in the words of `HEADER`."""
    by_name: dict[str, list[FaultRecord]] = {}
    for fault in faults:
        if not fault.missing:
            by_name.setdefault(fault.name, []).append(fault)
    return [_row(name, records) for name, records in by_name.items()]


def _row(name: str, records: Sequence[FaultRecord]) -> tuple[str, ...]:
    seen = [record for record in records if record.visible]
    killed = [record for record in seen if record.killed]
    claims = Counter(record.claim for record in killed)
    strengths = [record.strength for record in killed if record.strength]
    hidden = [record.of_own_error for record in killed if record.of_own_error is not None]
    names = [record for record in killed if record.names and record.claim.startswith("lineage")]
    below = [record.observed for record in records if not record.visible]
    return (
        one_line(name),
        one_line(records[0].because),
        f"{len(killed)} of {len(seen)}" if seen else NONE,
        ", ".join(f"{claim} {count}" for claim, count in claims.most_common()) or NONE,
        _range(strengths),
        _range(hidden),
        f"{sum(record.named for record in names)} of {len(names)}" if names else NONE,
        _range(below),
    )


def _range(numbers: Sequence[Number | str | None]) -> str:
    known = sorted((n for n in numbers if n is not None), key=_size)
    if not known:
        return NONE
    low, high = (_short(n) for n in (known[0], known[-1]))
    return low if low == high else f"{low} to {high}"


def _size(number: Number | str) -> float:
    return float(number) if not isinstance(number, str) else math.inf


def _short(number: Number | str) -> str:
    return f"{number:.4g}" if isinstance(number, float) else value(number)
