"""Tells how a run goes on: a line for each cell, an interruption, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from modelparity import terminal
from modelparity.commands.judging.report import print_run
from modelparity.errors import BadInputError
from modelparity.exit_codes import StoppedError, os_words
from modelparity.gate import machine
from modelparity.parity.cells import Cell
from modelparity.parity.prove_cells import Listener
from modelparity.parity.results import CellRecord, Run
from modelparity.reports import RECORD
from modelparity.reports.view import Entry, other_cpu
from modelparity.reports.words import GLYPHS
from modelparity.terminal import Progress

STOPPED = "stopped; finished cells are kept, run again to go on"
T = TypeVar("T")


def told_cells(progress: Progress, cells: Sequence[Cell]) -> Listener:
    """What prints a line for each cell when it is done."""
    width = max(len(cell.id) for cell in cells)
    here = machine()

    def on_cell(record: CellRecord, done: int, total: int) -> None:
        words = Entry(record.id, record.model, record.format, record.quantization, record).headline
        count = f"{done:{len(str(total))}}/{total}"
        cached = cached_words(record, here)
        progress.line(f"{count} {GLYPHS[record.status]} {record.id:{width}} {record.status} {words}{cached}")
        progress.advance()

    return on_cell


def cached_words(record: CellRecord, here: Mapping[str, str]) -> str:
    """That a proof was stored, and of which kind of CPU, if not of the machine `here`; "" if it is new."""
    if not record.cached:
        return ""
    elsewhere = other_cpu(record, here)
    return f" (cached, proven on a CPU with {elsewhere})" if elsewhere else " (cached)"


def recorded(run: Callable[[], T], output: Path) -> T:
    """What `run` returns. `output` is the folder of its record.

    Raises:
        StoppedError: the user interrupted it.
        BadInputError: the record cannot be written.
    """
    try:
        return run()
    except KeyboardInterrupt:
        raise StoppedError(STOPPED) from None
    except OSError as error:
        # A write that fails does not say where; the record is what is written all along.
        raise BadInputError(os_words(error, None if error.filename else output / RECORD)) from error


def print_verdict(run: Run, output: Path, as_json: bool) -> None:
    """The verdict, and where the report is; or the report as JSON."""
    if as_json:
        terminal.say((output / "report.json").read_text(encoding="utf-8").rstrip("\n"))
    else:
        print_run(run)
        terminal.say(f"report: {output / 'report.md'} (and .html, .json, junit.xml)")
