"""Measures the latency of every cell with pytest-benchmark, each in a process of its own.

The child's clock times the inference alone, so the pipe to the child is not included. A quantized file and
the float file of the same model and format run alternately in one process: other load on the machine slows
both, and their ratio stays the same. No time is asserted, because machines are noisy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelparity.benchmarks.costs import BASE, THREADS, rounds_for

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from modelparity.parity.cells import Cell
    from modelparity.parity.session import Session

_elapsed = 0.0


def child_clock() -> float:
    """Seconds of inference so far, as measured by the child processes."""
    return _elapsed


@pytest.mark.benchmark(timer=child_clock)
def test_latency(cell: Cell, session: Session, benchmark: BenchmarkFixture) -> None:
    from modelparity.converters.engine.workers import Worker

    subject = session.subject(cell.model)
    artifact, _ = session.bench.artifact(
        subject, cell.format, cell.quantization, session.calibration(cell.model)
    )
    feed = session.feeds(cell.model)[0]
    worker = Worker(f"benchmark-{cell.format}")
    ratios: list[float] = []

    def once() -> float:
        global _elapsed
        mine, *base = worker.call("modelparity.benchmarks.child:once").value
        ratios.extend(mine / other for other in base)
        _elapsed += mine
        return float(mine)

    try:
        module = session.bench.converters[cell.format].module
        worker.call("modelparity.benchmarks.child:prepare", module, artifact.path, feed, THREADS)
        # Its memory is read before another file is loaded.
        alone = worker.call("modelparity.benchmarks.child:once")
        if cell.quantization != BASE:
            float_file, _ = session.bench.artifact(subject, cell.format, BASE)
            worker.call("modelparity.benchmarks.child:prepare_baseline", module, float_file.path, THREADS)
        # Both are warm: each ran once when it was loaded.
        benchmark.pedantic(once, rounds=rounds_for(alone.value[0]))  # type: ignore[no-untyped-call]
    finally:
        worker.close()
    benchmark.group = f"{cell.model} {cell.format}"
    benchmark.extra_info.update(cell=cell.id, threads=THREADS, run_peak_bytes=alone.peak_bytes, ratios=ratios)
