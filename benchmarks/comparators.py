"""Measures the throughput of `modelparity.parity.metrics.errors.compare` beside other comparators.

    python -m modelparity.benchmarks.comparators [--rounds 7] [--markdown]

Each comparator gets the same two arrays and finds them close (the tolerances are loose enough for all to
pass, so that none formats an error message); its result is discarded. They run alternately, so that other
load on the machine affects all of them; a number is the median of the rounds. Polygraphy is in the dependency
group `benchmarks`; if it is not installed, its column is left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tabulate import tabulate

from modelparity.parity.metrics.errors import compare

SIZES = (10_000, 1_000_000, 30_000_000)
CLOSE = 1e-5  # relative and absolute; float32 rounding of the arrays below is 100 times smaller
OURS = "modelparity"
_SECONDS = 0.05  # a round lasts at least this long; else the clock and the interpreter dominate

Array = np.ndarray[Any, Any]
Comparator = Callable[[Array, Array], object]


def comparators() -> dict[str, Comparator]:
    """The comparators by name; each raises or returns False if two arrays differ."""
    import torch

    def with_torch(observed: Array, reference: Array) -> None:
        torch.testing.assert_close(
            torch.from_numpy(observed), torch.from_numpy(reference), rtol=CLOSE, atol=CLOSE, check_dtype=False
        )

    by_name: dict[str, Comparator] = {
        OURS: lambda observed, reference: compare("output", [observed], [reference]),
        "numpy assert_allclose": lambda observed, reference: np.testing.assert_allclose(
            observed, reference, rtol=CLOSE, atol=CLOSE
        ),
        "torch assert_close": with_torch,
    }
    try:
        by_name["Polygraphy simple"] = _polygraphy()
    except ImportError:
        print("Polygraphy is not installed: pip install --group benchmarks", file=sys.stderr)
    return by_name


def _polygraphy() -> Comparator:
    from polygraphy.comparator import SimpleCompareFunc
    from polygraphy.comparator.struct import IterationResult
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL  # or it computes statistics only to log them
    simple = SimpleCompareFunc(rtol=CLOSE, atol=CLOSE)

    def run(observed: Array, reference: Array) -> None:
        results = (IterationResult({"output": array}) for array in (observed, reference))
        if not all(simple(*results).values()):
            raise AssertionError("Polygraphy finds the arrays different")

    return run


def arrays(size: int, reference: str) -> tuple[Array, Array]:
    """Simulated outputs of a float32 file, and a reference in the precision `reference`; [size] each."""
    random = np.random.default_rng(0)
    truth = random.standard_normal(size)
    observed = (truth + 1e-7 * random.standard_normal(size)).astype(np.float32)
    return observed, truth.astype(reference)


def seconds(run: dict[str, Comparator], observed: Array, reference: Array, rounds: int) -> dict[str, float]:
    """The median seconds of one comparison, by comparator."""
    times: dict[str, list[float]] = {name: [] for name in run}
    repeats = {}
    for name, comparator in run.items():  # warms up, and finds how often a round must repeat it
        comparator(observed, reference)
        repeats[name] = max(1, int(_SECONDS / _timed(comparator, observed, reference, 1)))
    for _ in range(rounds):
        for name, comparator in run.items():
            times[name].append(_timed(comparator, observed, reference, repeats[name]))
    return {name: statistics.median(rounds_s) for name, rounds_s in times.items()}


def _timed(comparator: Comparator, observed: Array, reference: Array, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        comparator(observed, reference)
    return (time.perf_counter() - start) / repeats


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Throughput of comparators on the same arrays.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args(arguments)
    run = comparators()
    rows = []
    for size in SIZES:
        for precision in ("float64", "float32"):
            print(f"{size:,} values against {precision}", file=sys.stderr)
            observed, reference = arrays(size, precision)
            took = seconds(run, observed, reference, options.rounds)
            moved = observed.nbytes + reference.nbytes
            row = [f"{size:,}".replace(",", " "), precision]
            for name, time_s in took.items():
                slower = "" if name == OURS else f" ({time_s / took[OURS]:.1f} x the time)"
                row.append(f"{moved / time_s / 1e9:.2f}{slower}")
            rows.append(row)
    header = ["float32 values", "against", *(f"{name}, GB/s" for name in run)]
    print(tabulate(rows, header, "pipe" if options.markdown else "simple", disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
