"""Prints results on stdout, progress and warnings on stderr; plain text unless both are terminals."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from modelparity.reports.words import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bar

UNBOUNDED = 10_000  # columns where stdout is no terminal, so that no line is folded


def live() -> bool:
    """Whether both streams are terminals that can redraw a line."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "") -> None:
    """Prints a result in plain text."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Prints a warning; the work goes on."""
    _stderr("warning:", text, "33")


def fail(text: str) -> None:
    """Prints why the command ends, in one line whatever `text` holds."""
    _stderr("error:", text, "1;31")


def _stderr(label: str, text: str, colour: str) -> None:
    coloured = sys.stderr.isatty() and live() and not os.environ.get("NO_COLOR")
    label = f"\x1b[{colour}m{label}\x1b[0m" if coloured else label
    print(label, one_line(text), file=sys.stderr, flush=True)


def console() -> Console:
    """A rich console on stdout."""
    from rich.console import Console

    return (
        Console(highlight=False) if live() else Console(highlight=False, color_system=None, width=UNBOUNDED)
    )


def show(renderable: RenderableType) -> None:
    """Prints a table or styled text on stdout; plain and without padding unless a person watches."""
    out = console()
    if live():
        out.print(renderable)
        return
    with out.capture() as captured:
        out.print(renderable)
    for line in captured.get().splitlines():
        print(line.rstrip())
    sys.stdout.flush()


class Progress(Protocol):
    """Shows what a command is doing.

    `stage` names the current work and `hint` adds a detail to it; `line` prints a line that stays; `advance`
    counts one item as done.
    """

    def stage(self, words: str) -> None: ...

    def hint(self, words: str) -> None: ...

    def line(self, text: str) -> None: ...

    def advance(self) -> None: ...


class Stages:
    """Passes stages, hints and lines alike to one callback."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self.stage = self.hint = self.line = on_stage

    def advance(self) -> None:
        pass


@contextmanager
def progress(words: str, total: int | None = None) -> Iterator[Progress]:
    """Shows a bar (a spinner without `total`) while the body runs; a line per stage without a terminal."""
    if not live():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar_columns = [BarColumn(bar_width=24)] if total else []
    text = TextColumn("{task.description}", markup=False)
    # A stream of its own, because pytest, which measures the costs, captures sys.stderr and its descriptor.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as stream:
        out = Console(file=stream, highlight=False)
        columns = [SpinnerColumn(), *bar_columns, TimeElapsedColumn(), text]
        with Bar(*columns, console=out, transient=True, refresh_per_second=5) as bar:
            yield _Live(bar, words, total)


class _Lines:
    def __init__(self) -> None:
        self._start = time.monotonic()

    def stage(self, words: str) -> None:
        self.line(f"{one_line(words)} ({time.monotonic() - self._start:.0f} s)")

    def hint(self, words: str) -> None:
        self.stage(words)

    def line(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")  # at once: several threads have something to say
        sys.stderr.flush()

    def advance(self) -> None:
        pass


class _Live:
    def __init__(self, bar: Bar, words: str, total: int | None) -> None:
        self._bar = bar
        self._total = total
        self._done = 0
        self._words = one_line(words)
        self._hint = ""
        self._task = bar.add_task(self._text(), total=total)

    def _text(self) -> str:
        count = f"{self._done} of {self._total} done" if self._total else ""
        return "; ".join(filter(None, (self._words, count, self._hint)))

    def stage(self, words: str) -> None:
        self._words, self._hint = one_line(words), ""
        if self._total and self._done >= self._total:
            # A full bar's clock stops, so the work that follows gets a spinner.
            self._bar.update(self._task, visible=False)
            self._total = None
            self._task = self._bar.add_task(self._words, total=None)
        self._bar.update(self._task, description=self._text())

    def hint(self, words: str) -> None:
        self._hint = one_line(words)
        self._bar.update(self._task, description=self._text())

    def line(self, text: str) -> None:
        self._bar.console.print(text, markup=False, soft_wrap=True)

    def advance(self) -> None:
        self._done += 1
        self._bar.update(self._task, advance=1, description=self._text())
