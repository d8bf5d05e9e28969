"""Lists the cells of a run, its matrix and its verdict, for all reports and the terminal.

All of them take their cells from `entries`, so that none can leave out a cell without a record.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from modelparity.parity.results import (
    CellRecord,
    CellStatus,
    Crashed,
    Errored,
    Inconclusive,
    Run,
    Unsupported,
)
from modelparity.reports.words import GLYPHS, NONE, duration, one_line, trim

Status: TypeAlias = CellStatus | Literal["missing"]
STATUSES: tuple[Status, ...] = (
    "passed",
    "limitation",
    "mismatched",
    "errored",
    "crashed",
    "inconclusive",
    "missing",
)
HEADLINE_CHARS = 40
LEGEND = (
    "A cell is one model in one format and quantization. Its mark says whether the conversion is right. A "
    "float file's number is its error against the network in float64, in units of the network's own float32 "
    "error (× floor, of the worst output). A quantized file's numbers are what its precision costs against "
    "float64: the decisions that change, and the signal to quantization noise ratio (SQNR, in dB) of the "
    "worst output."
)


@dataclass(frozen=True)
class Entry:
    """A cell that the run expects or has recorded; `cell` is None if there is no record."""

    id: str
    model: str
    format: str
    quantization: str
    cell: CellRecord | None

    @property
    def status(self) -> Status:
        """The recorded status; "missing" without a record."""
        return self.cell.status if self.cell else "missing"

    @property
    def green(self) -> bool:
        """Whether the record says so; False without a record."""
        return self.cell is not None and self.cell.green

    @property
    def headline(self) -> str:
        """The number for the matrix, or in a few words why there is none."""
        return trim(one_line(_headline(self.cell)), HEADLINE_CHARS)


class Slot(NamedTuple):
    """One box of the matrix; `status` and `cell_id` are empty for a row's name and a cell not expected."""

    text: str
    status: Status | Literal[""] = ""
    cell_id: str = ""
    headline: str = ""


@dataclass(frozen=True)
class Matrix:
    """Models by (format, quantization); `header` and every row start with the column of model names."""

    header: tuple[str, ...]
    rows: tuple[tuple[Slot, ...], ...]
    columns: tuple[tuple[str, str], ...]


def entries(run: Run) -> tuple[Entry, ...]:
    """The expected cells in the order of the header, then any others that were recorded."""
    recorded = {cell.id: cell for cell in run.cells}
    expected = dict.fromkeys(run.header.expected)
    names = [*expected, *(name for name in recorded if name not in expected)]
    return tuple(_entry(run, name, recorded.get(name)) for name in names)


def _entry(run: Run, name: str, cell: CellRecord | None) -> Entry:
    if cell is not None:
        return Entry(name, cell.model, cell.format, cell.quantization, cell)
    for model in run.header.models:
        for column in run.header.columns:
            if name == "-".join((model, *column)):
                return Entry(name, model, *column, cell=None)
    return Entry(name, name, "other", "", None)  # expected, but of no known model: a row of its own


def verdict_rows(run: Run) -> Matrix:
    """The matrix of the verdict as plain data, for the reports and the terminal.

    The `text` of a slot is complete ("✔ passed 32.9 dB"). If two cells have the same place (two sizes of a
    model), the model has a second row.
    """
    stacks: dict[tuple[str, tuple[str, str]], list[Entry]] = defaultdict(list)
    models = dict.fromkeys(run.header.models)
    columns = dict.fromkeys(run.header.columns)
    for entry in entries(run):
        column = (entry.format, entry.quantization)
        models[entry.model] = columns[column] = None
        stacks[entry.model, column].append(entry)
    rows = []
    for model in models:
        places = [stacks.get((model, column), []) for column in columns]
        for depth in range(max((len(place) for place in places), default=0) or 1):
            boxes = (_slot(place[depth]) if depth < len(place) else Slot(NONE) for place in places)
            rows.append((Slot(one_line(model)), *boxes))
    header = ("model", *(one_line(" ".join(column)) for column in columns))
    return Matrix(header, tuple(rows), tuple(columns))


def _slot(entry: Entry) -> Slot:
    text = f"{GLYPHS[entry.status]} {entry.status} {entry.headline}".rstrip()
    return Slot(text, entry.status, entry.id, entry.headline)


def _headline(cell: CellRecord | None) -> str:
    if cell is None:
        return "no record"
    if cell.headline:
        return cell.headline
    match cell.outcome:
        case Errored(stage=stage):
            return f"in {stage}"
        case Crashed(stage=stage, signal=signal):
            return f"{signal} in {stage}"
        case Unsupported(stage=stage):
            return f"known, in {stage}"
        case Inconclusive(reason=reason):
            return reason
    return ""


def counts(run: Run) -> dict[Status, int]:
    """The number of cells for every status."""
    by_status = Counter(entry.status for entry in entries(run))
    return {status: by_status[status] for status in STATUSES}


def verdict_line(run: Run) -> str:
    """The verdict in one line, such as `FAIL: 17 of 24 cells green`, with the selection of the run."""
    everything = entries(run)
    green = sum(entry.green for entry in everything)
    scope = f" (narrowed with -k '{one_line(run.header.selection)}')" if run.header.selection else ""
    result = f"{green} of {len(everything)} cells green" if everything else "no cell was run"
    return f"{run.verdict.upper()}{scope}: {result}{quality_words(run)}"


def quality_words(run: Run) -> str:
    """What judged the quality of the run's quantized cells, for the end of the verdict line."""
    prices = [cell.quality for cell in run.cells if cell.quality is not None and cell.quality.is_price]
    if not prices:
        return ""
    judges = dict.fromkeys(price.judged_by for price in prices if price.judged_by)
    if not judges:
        return "; quality: measured, not judged"
    missing = f" ({len(run.unjudged)} cells by nothing)" if run.unjudged else ""
    return f"; quality: judged by {'; '.join(judges)}{missing}"


CPU_FLAGS = "cpu flags"


def other_cpu(cell: CellRecord, machine: Mapping[str, str]) -> str:
    """The flags that decide kernels of the CPU that a cell was proven on; "" if they are those of `machine`.

    Also "" where either was not recorded.
    """
    theirs, ours = cell.ran_on.get(CPU_FLAGS, ""), machine.get(CPU_FLAGS, "")
    return theirs if theirs and ours and theirs != ours else ""


def counts_line(run: Run) -> str:
    """One sentence: the cells by status, those on cached evidence and of another CPU, the duration."""
    by_status = ", ".join(f"{count} {status}" for status, count in counts(run).items() if count)
    cached = sum(cell.cached for cell in run.cells)
    parts = [f"{len(entries(run))} cells: {by_status or 'nothing to judge'}"]
    if cached:
        parts.append(f"{cached} on cached evidence")
    if elsewhere := sum(bool(other_cpu(cell, run.header.machine)) for cell in run.cells):
        parts.append(f"{elsewhere} proven on a CPU with other kernels")
    if run.duration_s is None:
        parts.append("the run did not reach its end")
    else:
        parts.append(f"run in {duration(run.duration_s)}")
    return "; ".join(parts) + "."


def weights_lines(run: Run) -> tuple[str, ...]:
    """Where the weights came from: one line per origin, with the models that share it."""
    origins: dict[str, list[str]] = defaultdict(list)
    for model in dict.fromkeys((*run.header.models, *run.header.weights)):
        origins[one_line(run.header.weights.get(model, "")) or "origin not recorded"].append(one_line(model))
    return tuple(f"{words} ({', '.join(models)})" for words, models in origins.items())
