"""Rows of a measurement that goes on from run to run: JSON lines in a folder, and the table made of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from modelparity.folders import write_whole
from modelparity.session import Session

Row = TypeVar("Row")


def read(path: Path, row: Callable[..., Row]) -> list[Row]:
    """The rows of a file; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [row(**json.loads(line)) for line in lines]


def write(
    path: Path,
    rows: Sequence[Row],
    key: Callable[[Row], tuple[Any, ...]],
    document: Callable[[list[Row]], str],
) -> list[Row]:
    """Writes `path` and the table beside it, by `key`; a later row takes the place of an earlier one's."""
    known = {key(row): row for row in rows}
    every = [known[one] for one in sorted(known)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(asdict(row)) + "\n" for row in every))  # type: ignore[call-overload]
    write_whole(path.with_suffix(".md"), document(every))
    return every


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
