"""Results on stdout, progress and warnings on stderr; plain unless both are terminals."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from reports.words import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_UNBOUNDED = 10_000  # columns of what is no terminal: a script's line is never folded


def live() -> bool:
    """Whether a person watches: both streams are terminals that can redraw a line."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "") -> None:
    """A result, in plain text."""
    print(text, flush=True)


def warn(text: str) -> None:
    """What the user should know though the work goes on."""
    _stderr("warning:", text, "33")


def fail(text: str) -> None:
    """Why the command ends: one line, whatever `text` holds."""
    _stderr("error:", text, "1;31")


def _stderr(label: str, text: str, colour: str) -> None:
    coloured = sys.stderr.isatty() and live() and not os.environ.get("NO_COLOR")
    label = f"\x1b[{colour}m{label}\x1b[0m" if coloured else label
    print(label, one_line(text), file=sys.stderr, flush=True)


def console() -> Console:
    """For rich results on stdout."""
    from rich.console import Console

    return (
        Console(highlight=False) if live() else Console(highlight=False, color_system=None, width=_UNBOUNDED)
    )


def show(renderable: RenderableType) -> None:
    """A table or styled text on stdout; in plain text without padding where stdout is no terminal."""
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
    """`stage` says what is being done; `line` leaves a line behind; `advance` counts one thing as done."""

    def stage(self, words: str) -> None: ...

    def line(self, text: str) -> None: ...

    def advance(self) -> None: ...


@contextmanager
def progress(words: str, total: int | None = None, quiet: bool = False) -> Iterator[Progress]:
    """A bar (a spinner without `total`) while the work lasts; lines where nobody watches.

    `quiet` leaves out the lines: for checks that should say nothing but why they fail.
    """
    if not live():
        yield _Lines(quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar_columns = [BarColumn(bar_width=24), MofNCompleteColumn()] if total else []
    text = TextColumn("{task.description}", markup=False)
    # A stream of its own: pytest, which measures the costs, takes over sys.stderr and its descriptor.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as stream:
        out = Console(file=stream, highlight=False)
        columns = [SpinnerColumn(), *bar_columns, TimeElapsedColumn(), text]
        with Bar(*columns, console=out, transient=True, refresh_per_second=5) as bar:
            yield _Live(bar, bar.add_task(one_line(words), total=total))


class _Lines:
    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._start = time.monotonic()

    def stage(self, words: str) -> None:
        self.line(words)

    def line(self, text: str) -> None:
        if not self._quiet:
            print(one_line(text), file=sys.stderr, flush=True)

    def advance(self) -> None:
        pass


class _Live:
    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def stage(self, words: str) -> None:
        self._bar.update(self._task, description=one_line(words))

    def line(self, text: str) -> None:
        self._bar.console.print(one_line(text), markup=False, soft_wrap=True)

    def advance(self) -> None:
        self._bar.advance(self._task)
