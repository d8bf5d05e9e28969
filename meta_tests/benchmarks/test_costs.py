"""Latency verdicts: an interval that holds what it promises, and words only where it does not hold 1."""

from __future__ import annotations

import json

import numpy as np
import pytest

from meta_tests.miniatures.sample_run import cell
from modelparity.benchmarks import child
from modelparity.benchmarks.costs import interval_of_median, read_benchmark, with_ratios
from modelparity.parity.results import Cost
from modelparity.reports.evidence import speed


def test_the_interval_holds_the_median_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        values = np.exp(generator.standard_normal(11))  # skewed, as times are; the median is 1
        low, high = interval_of_median(list(values))
        held += low <= 1 <= high
    assert 0.95 <= held / 2000 <= 0.995


@pytest.mark.parametrize(
    ("count", "ends"), [(5, None), (6, (0, 5)), (7, (0, 6)), (20, (5, 14)), (200, (85, 114))]
)
def test_the_interval_ends_at_the_order_statistics_of_the_tables(count, ends):
    assert interval_of_median(list(range(count))[::-1]) == ends


@pytest.mark.parametrize(
    ("interval", "words"),
    [((0.4, 0.6), " faster"), ((0.9, 1.1), " inconclusive"), ((1.01, 1.2), " slower"), (None, "")],
)
def test_a_verdict_only_where_the_interval_leaves_1_out(interval, words):
    assert speed(Cost(latency_ratio=0.5, latency_interval=interval)) == words


def test_a_quantized_file_that_might_be_as_fast_is_not_flagged(tmp_path):
    measured = {"cell": "tiny_ladeda-onnx-int8_static", "threads": 2, "run_peak_bytes": 1}
    stats = {"median": 1.0, "iqr": 0.1, "rounds": 7}
    flagged = []
    for ratios in ([1.1] * 7, [0.9, 1.1, 1.2, 1.1, 1.0, 1.2, 1.3]):
        entry = {"extra_info": {**measured, "ratios": ratios}, "stats": stats}
        path = tmp_path / "benchmark.json"
        path.write_text(json.dumps({"benchmarks": [entry]}))
        (judged,) = with_ratios([cell(measured["cell"])], read_benchmark(path))
        flagged.append(judged.cost.slower_than_float)
    assert flagged == [True, False]


def test_both_files_run_in_turn(monkeypatch):
    ran = []

    class Runner:
        def __init__(self, name):
            self.name = name

        def run(self, feed):
            ran.append(self.name)

    monkeypatch.setattr(child, "_LOADED", [Runner("mine"), Runner("base")])
    monkeypatch.setattr(child, "_FEED", [{}])
    monkeypatch.setattr(child, "_ROUNDS", [0])
    assert [len(child.once()) for _ in range(4)] == [2, 2, 2, 2]
    assert ran == ["mine", "base", "base", "mine", "mine", "base", "base", "mine"]
