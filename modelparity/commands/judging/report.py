"""`modelparity report`: writes the report of a recorded run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelparity import terminal
from modelparity.errors import BadInputError
from modelparity.reports import RECORD, counts_line, render, verdict_line, verdict_rows, weights_lines

if TYPE_CHECKING:
    from rich.table import Table

    from modelparity.parity.results import Run


def report(folder: Path, output: Path | None) -> None:
    """Writes the reports of `folder/run.jsonl` and prints the verdict; needs neither torch nor runtimes."""
    from modelparity.parity.results_json import read_run

    record = folder / RECORD
    if not record.is_file():
        missing = (
            "no such directory" if not folder.exists() else f"no {RECORD} in it; not the output of a gate"
        )
        raise BadInputError(f"{folder}: {missing}")
    try:
        run = read_run(record)
        written = render(record, output or folder)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    print_run(run)
    terminal.say(f"report: {written['report.md']}")


def print_run(run: Run) -> None:
    """The verdict, where the weights came from, the matrix and the counts."""
    from rich.text import Text

    style = "bold green" if run.verdict == "pass" else "bold red"
    terminal.show(_matrix(run))
    terminal.say()
    for line in weights_lines(run):
        terminal.say(f"weights: {line}")
    terminal.say(counts_line(run))
    terminal.show(Text(verdict_line(run), style=style))


_STYLES = {"passed": "green", "limitation": "yellow", "inconclusive": "yellow", "": "", "missing": "red"}


def _matrix(run: Run) -> Table:
    """The matrix with models as rows if that fits the width, else with models as columns."""
    from rich.measure import Measurement

    matrix = verdict_rows(run)
    rows = [[slot.text for slot in row] for row in matrix.rows]
    styles = [[_STYLES.get(slot.status, "red") for slot in row] for row in matrix.rows]
    across = [list(matrix.header), *rows]
    painted = [[""] * len(matrix.header), *styles]
    wide = _table(across, painted)
    out = terminal.console()
    needed = Measurement.get(out, out.options.update(width=terminal.UNBOUNDED), wide).maximum
    if needed <= out.width and terminal.live():
        return wide
    return _table(
        [list(line) for line in zip(*across, strict=True)], [list(x) for x in zip(*painted, strict=True)]
    )


def _table(rows: list[list[str]], styles: list[list[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in rows[0]:
        table.add_column(Text(name))
    for row, style in zip(rows[1:], styles[1:], strict=True):
        table.add_row(*(Text(text, style=paint) for text, paint in zip(row, style, strict=True)))
    return table
