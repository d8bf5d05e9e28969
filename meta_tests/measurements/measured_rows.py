"""Keeps the rows of a measurement from run to run: JSON lines in a folder, and the table made of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from modelparity.arrays import written
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.session import Session

Row = TypeVar("Row")


def add(
    path: Path,
    found: Sequence[Row],
    row: Callable[..., Row],
    key: Callable[[Row], tuple[Any, ...]],
    document: Callable[[list[Row]], str],
) -> list[Row]:
    """Adds rows to those of `path`, in the place of one of the same `key`, and writes the table beside it.

    Returns all rows, by `key`. Runs that add to the same file wait for each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        before = read(path, row)
        known = {key(one): one for one in (*before, *found)}
        every = [known[one] for one in sorted(known)]
        lines = [json.dumps(asdict(one)) + "\n" for one in every]  # type: ignore[call-overload]
        for target, text in ((path, "".join(lines)), (path.with_suffix(".md"), document(every))):
            with written(target) as file:
                file.write(text.encode())
    return every


def read(path: Path, row: Callable[..., Row]) -> list[Row]:
    """The rows that are in a file; none if there is no such file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [row(**json.loads(line)) for line in lines]


def by_harness(
    title: Sequence[str], every: Sequence[Row], section: Callable[[Sequence[Row]], Iterator[str]]
) -> str:
    """A document with a section for each state of the harness, that of this source first.

    Rows name their state in `harness`.
    """
    now = harness_digest()
    states = sorted({row.harness for row in every}, key=lambda state: (state != now, state))  # type: ignore[attr-defined]
    parts = [*title]
    for state in states:
        mine = [row for row in every if row.harness == state]  # type: ignore[attr-defined]
        parts += [f"## Harness {state}", *section(mine)]
    return "\n\n".join(parts) + "\n"


@contextmanager
def told() -> Iterator[None]:
    """An interrupt ends a measurement in one line."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("stopped; what was measured is kept")


@contextmanager
def measuring(session: Session) -> Iterator[Session]:
    """A session whose workers end at once if something goes wrong: closing waits for what they are at."""
    with session:
        try:
            yield session
        except BaseException:
            session.workers.kill()
            raise
