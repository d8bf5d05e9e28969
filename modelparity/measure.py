"""Runs the latency benchmarks for the gate and returns their results."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelparity import plugin
from modelparity.benchmarks import test_latency
from modelparity.benchmarks.costs import read_benchmark
from modelparity.parity.cells import Cell
from modelparity.parity.results import CellRecord, Cost
from modelparity.parity.session import Session


class _Outer:
    """Passes the gate's session and cells to the fixtures."""

    def __init__(self, session: Session, cells: Sequence[CellRecord]) -> None:
        self._session = session
        self._cells = tuple(Cell(cell.model, cell.format, cell.quantization) for cell in cells)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[plugin.OUTER] = self._session
        config.stash[plugin.CELLS] = self._cells


def measure(session: Session, cells: Sequence[CellRecord]) -> dict[str, Cost]:
    """Costs by cell id; a cell whose measurement failed has none."""
    suite = Path(test_latency.__file__)
    with tempfile.TemporaryDirectory(prefix="modelparity-") as folder:
        results = Path(folder) / "benchmark.json"
        arguments = [
            *(f"{suite}::test_latency[{cell.id}]" for cell in cells),
            f"--rootdir={suite.parent}",
            f"--confcutdir={suite.parent}",
            "-c", "/dev/null",
            "-p", "no:cacheprovider",
            "-p", plugin.__name__,
            "--import-mode=importlib",
            "--quiet",
            f"--benchmark-json={results}",
        ]  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ended = pytest.main(arguments, plugins=[_Outer(session, cells)])
        if ended == pytest.ExitCode.INTERRUPTED:
            raise KeyboardInterrupt  # which pytest catches
        return read_benchmark(results) if results.exists() and results.stat().st_size else {}
