"""Summarises which planted faults the claims detect in the files of a run.

A kill table (the term of mutation testing) is JSON lines, one cell per line
(`modelparity.parity.results.ScoredCell`). An entry holds for one file, by its sha256, and for one version of
the harness; a run's report shows only the entries of its own files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelparity.parity.results import FaultRecord, Number, Run, ScoredCell
from modelparity.parity.results_json import read_scored
from modelparity.reports.words import NONE, one_line, value

TABLE = "what-it-catches.jsonl"
SHIPPED = Path(__file__).with_name("measurements") / TABLE  # the table that comes with the project
HEADER = (
    "fault",
    "what it imitates",
    "killed",
    "killed by",
    "strength",
    "of rounding error",
    "located",
    "below the noise floor",
)
NOTE = (
    "A fault is visible if it changes an output by more than the network's own float32 error (the noise "
    "floor), or breaks what the file promises. Killed: how many visible faults a claim detected. Strength: "
    "the range of strengths that were detected; the weakest was tried first. Of rounding error: how far the "
    "fault changes an output, relative to the change that quantization itself causes in that file; below 1, "
    "quantization hides it. Located: how often the lineage claims name the weights that were changed. Below "
    "the noise floor: by how many floors the faults that are not visible change an output."
)


@dataclass(frozen=True)
class Catches:
    """The entries of a kill table that are about the files of a run.

    `files` is the number of files of the run, `harness` the digest of the harness that judged it, `earlier`
    the entries about other files of the same cells.
    """

    cells: tuple[ScoredCell, ...]
    files: int
    harness: str
    earlier: tuple[ScoredCell, ...] = ()

    @property
    def faults(self) -> list[FaultRecord]:
        return [fault for cell in self.cells for fault in cell.faults if not fault.missing]

    @property
    def line(self) -> str:
        """How many files of the run the table covers, and how many faults were detected in them."""
        if not self.cells:
            words = "No faults were planted in the files of this run; `modelparity mutate` does it."
            if self.earlier:
                killed, visible = _killed(fault for cell in self.earlier for fault in cell.faults)
                words += (
                    f" In earlier files of {len(self.earlier)} of these cells, judged by another version "
                    f"of the harness, {killed} of {visible} visible faults were detected."
                )
            return words
        killed, visible = _killed(self.faults)
        words = (
            f"Faults were planted in {len(self.cells)} of the {self.files} files of this run (same sha256)"
        )
        words += f": {killed} of {visible} visible faults were detected"
        words += f", {len(self.faults) - visible} more are below the noise floor."
        if refused := [cell.id for cell in self.cells if cell.refused]:
            words += f" These files failed before any fault was planted: {', '.join(refused)}."
        if other := {cell.harness for cell in self.cells} - {self.harness}:
            words += f" Judged by another version of the harness ({', '.join(sorted(other))})."
        return words


def catches(run: Run, folder: Path) -> Catches:
    """The entries about the files of a run: those in its own folder, and the project's for other files."""
    shas = {cell.id: cell.artifact.sha256 for cell in run.cells if cell.artifact}
    entries: dict[str, ScoredCell] = {}
    earlier: dict[str, ScoredCell] = {}
    for path in (SHIPPED, folder / TABLE):
        for cell in read_scored(path) if path.is_file() else ():
            if cell.id in shas:
                (entries if shas[cell.id] == cell.sha256 else earlier)[cell.id] = cell
    cells = tuple(entries[name] for name in shas if name in entries)
    others = tuple(earlier[name] for name in shas if name in earlier and name not in entries)
    return Catches(cells, len(shas), run.header.versions.get("harness", ""), others)


def _killed(faults: Iterable[FaultRecord]) -> tuple[int, int]:
    """How many of the visible faults were detected, and how many are visible."""
    visible = [fault for fault in faults if fault.visible and not fault.missing]
    return sum(fault.killed for fault in visible), len(visible)


def rows(faults: Iterable[FaultRecord]) -> list[tuple[str, ...]]:
    """One row per fault, with the columns of `HEADER`."""
    by_name: dict[str, list[FaultRecord]] = {}
    for fault in faults:
        if not fault.missing:
            by_name.setdefault(fault.name, []).append(fault)
    return [_row(name, records) for name, records in by_name.items()]


def _row(name: str, records: Sequence[FaultRecord]) -> tuple[str, ...]:
    visible = [record for record in records if record.visible]
    killed = [record for record in visible if record.killed]
    claims = Counter(record.claim for record in killed)
    strengths = [record.strength for record in killed if record.strength]
    hidden = [record.of_own_error for record in killed if record.of_own_error is not None]
    by_lineage = [record for record in killed if record.names and record.claim.startswith("lineage")]
    below = [record.observed for record in records if not record.visible]
    return (
        one_line(name),
        one_line(records[0].because),
        f"{len(killed)} of {len(visible)}" if visible else NONE,
        ", ".join(f"{claim} {count}" for claim, count in claims.most_common()) or NONE,
        _range(strengths),
        _range(hidden),
        f"{sum(record.named for record in by_lineage)} of {len(by_lineage)}" if by_lineage else NONE,
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
