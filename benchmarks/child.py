"""The child's side of a measurement: an artifact in a process of its own, then its float file beside it."""

from __future__ import annotations

import time
from pathlib import Path

from modelparity.converters.engine.tasks import Feeds, Runner, load

_LOADED: list[Runner] = []
_FEED: list[Feeds] = []
_ROUNDS = [0]


def prepare(module: str, path: Path, feed: Feeds, threads: int) -> None:
    """Loads the artifact and runs it once."""
    _FEED[:] = [feed]
    _LOADED[:] = [_open(module, path, threads)]


def beside(module: str, path: Path, threads: int) -> None:
    """Loads the file that the artifact is to be compared with, and runs it once."""
    _LOADED[1:] = [_open(module, path, threads)]


def once() -> tuple[float, ...]:
    """Seconds of one inference of the artifact, and of the file beside it where there is one.

    By the child's own clock: the pipe to the parent is not in it. The two take turns in being first.
    """
    _ROUNDS[0] += 1
    order = list(enumerate(_LOADED))[:: 1 if _ROUNDS[0] % 2 else -1]
    taken = {place: _seconds(runner) for place, runner in order}
    return tuple(taken[place] for place in range(len(_LOADED)))


def _open(module: str, path: Path, threads: int) -> Runner:
    runner = load(module).open_runner(path, threads).__enter__()
    runner.run(_FEED[0])
    return runner


def _seconds(runner: Runner) -> float:
    start = time.perf_counter()
    runner.run(_FEED[0])
    return time.perf_counter() - start
