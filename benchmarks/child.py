"""The child's side of a measurement: one artifact loaded in a process that holds nothing else."""

from __future__ import annotations

import time
from pathlib import Path

from converters.tasks import Feeds, Runner, load

_LOADED: list[tuple[Runner, Feeds]] = []


def prepare(module: str, path: Path, feed: Feeds, threads: int) -> None:
    """Loads the artifact and runs it once."""
    runner = load(module).open_runner(path, threads).__enter__()
    runner.run(feed)
    _LOADED[:] = [(runner, feed)]


def once() -> float:
    """Seconds of one inference, by the child's own clock: the pipe to the parent is not in it."""
    runner, feed = _LOADED[0]
    start = time.perf_counter()
    runner.run(feed)
    return time.perf_counter() - start
