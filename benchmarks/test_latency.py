"""Latency of every cell, alone in a process of its own, by pytest-benchmark.

Times are read by the child's clock around the inference alone, so the pipe to the child is not
in them. Nothing is asserted about them: machines are noisy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.costs import THREADS, WARMUP_ROUNDS, rounds_for

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from modelparity.session import Session
    from parity.cells import Cell

_elapsed = 0.0


def child_clock() -> float:
    """Seconds of inference so far, as the children counted them."""
    return _elapsed


@pytest.mark.benchmark(timer=child_clock)
def test_latency(cell: Cell, session: Session, benchmark: BenchmarkFixture) -> None:
    from converters.workers import Worker

    subject = session.subject(cell.model)
    artifact, _ = session.bench.artifact(
        subject, cell.format, cell.quantization, session.calibration(cell.model)
    )
    feed = session.feeds(cell.model)[0]
    worker = Worker(f"benchmark-{cell.format}")
    peaks = []

    def once() -> float:
        global _elapsed
        reply = worker.call("benchmarks.child:once")
        peaks.append(reply.peak_bytes)
        _elapsed += reply.value
        return float(reply.value)

    try:
        module = session.bench.converters[cell.format].module
        loaded = worker.call("benchmarks.child:prepare", module, artifact.path, feed, THREADS)
        peaks.append(loaded.peak_bytes)
        rounds = rounds_for(once())
        benchmark.pedantic(once, rounds=rounds, warmup_rounds=WARMUP_ROUNDS)  # type: ignore[no-untyped-call]
    finally:
        worker.close()
    benchmark.group = f"{cell.model} {cell.format}"
    benchmark.extra_info.update(cell=cell.id, threads=THREADS, run_peak_bytes=max(peaks))
