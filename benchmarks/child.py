"""Times an artifact in a process of its own, and then its float file in the same process.

Runs in the child process of `modelparity.benchmarks.test_latency`.
"""

from __future__ import annotations

import time
from pathlib import Path

from modelparity.converters.engine.tasks import Runner, load
from modelparity.fixtures.arrays import Feeds

_LOADED: list[Runner] = []
_FEED: list[Feeds] = []
_ROUNDS = [0]


def prepare(module: str, path: Path, feed: Feeds, threads: int) -> None:
    """Loads an artifact, with the converter module of its format, and runs it once."""
    _FEED[:] = [feed]
    _LOADED[:] = [_open(module, path, threads)]


def prepare_baseline(module: str, path: Path, threads: int) -> None:
    """Loads the file that the artifact is compared with, and runs it once."""
    _LOADED[1:] = [_open(module, path, threads)]


def once() -> tuple[float, ...]:
    """Seconds of one inference of the artifact, and of the baseline if one is loaded.

    Measured by the clock of this process, so the pipe to the parent is not included. The two files alternate
    in which of them runs first.
    """
    _ROUNDS[0] += 1
    order = list(enumerate(_LOADED))[:: 1 if _ROUNDS[0] % 2 else -1]
    elapsed = {index: _seconds(runner) for index, runner in order}
    return tuple(elapsed[index] for index in range(len(_LOADED)))


def _open(module: str, path: Path, threads: int) -> Runner:
    runner = load(module).open_runner(path, threads).__enter__()
    runner.run(_FEED[0])
    return runner


def _seconds(runner: Runner) -> float:
    start = time.perf_counter()
    runner.run(_FEED[0])
    return time.perf_counter() - start
