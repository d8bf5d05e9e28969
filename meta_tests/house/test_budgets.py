"""The bounds of cells rest on what correct files reach on other evaluation sets, and on nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from meta_tests.measurements.seed_spread import (
    DOCUMENT,
    FLOAT,
    Reached,
    cells_of,
    document,
    read,
    spreads,
    written,
)
from modelparity.fixtures.networks.bounds import ROOM
from modelparity.fixtures.tolerances import tolerance_of
from modelparity.parity.expectations import EXPECTATIONS
from modelparity.parity.judge import CheckBudget

REPORTS = Path(__file__).resolve().parents[2] / "reports" / "measurements"
# Budgets are rounded down to half a dB, and float16 has one for both formats. ONNX Runtime's int8 depends on
# the CPU.
SLACK, ONNX_INT8 = 1.5, 3
SPREADS = {(spread.cell, spread.claim, spread.output): spread for spread in spreads(read(REPORTS))}
CELLS = {cell.id: cell for cell in EXPECTATIONS}
BUDGETS = [key for key in SPREADS if key[1] != FLOAT]
FLOORS = [key for key in SPREADS if key[1] == FLOAT]
SPARE = 1.3  # an output's own bound is at most this many times what evaluation sets make necessary


@pytest.mark.parametrize("key", BUDGETS, ids=" ".join)
def test_a_budget_leaves_room_for_another_evaluation_set_and_no_more(key):
    spread = SPREADS[key]
    if spread.room < 0:  # a declared limitation: `tolerance` is what the cell would have to reach
        assert key[1:] == ("sqnr", "patch_logits")
        return
    assert spread.count >= 5
    least = spread.mean - ROOM * spread.deviation
    more = ONNX_INT8 if "onnx-int8" in spread.cell else SLACK
    assert least - (0.02 * more if spread.claim == "detections" else more) <= spread.bound <= least


@pytest.mark.parametrize("key", FLOORS, ids=" ".join)
def test_floors_leave_room_for_another_evaluation_set(key):
    spread = SPREADS[key]
    assert spread.room >= ROOM
    if key[2] in tolerance_of(EXPECTATIONS[CELLS[key[0]]]).output_floors:
        assert spread.count >= 12
        assert spread.bound <= SPARE * spread.mean * math.exp(ROOM * spread.deviation)


def test_every_bound_was_measured(cell):
    assert cell in cells_of(cell.model)
    measured = {(claim, output) for name, claim, output in SPREADS if name == cell.id}
    if cell.quantization == "fp32":
        assert {output for _, output in measured} >= {*tolerance_of(EXPECTATIONS[cell]).output_floors}
        assert {claim for claim, _ in measured} == {FLOAT}
    else:
        assert {claim for claim, _ in measured} >= {"sqnr", "worst_sqnr"}


def test_no_seed_is_one_that_gates_ask():
    seeds = {row.seed for row in read(REPORTS)}
    assert CheckBudget().seed not in seeds
    assert min(seeds) >= 20  # repeated gates have the first twenty


def test_the_table_is_what_was_measured(tmp_path):
    assert (REPORTS / DOCUMENT).read_text(encoding="utf-8") == document(list(SPREADS.values()))
    written(tmp_path, read(REPORTS)[:4])
    written(tmp_path, read(REPORTS)[2:8])  # in the place of the same
    assert read(tmp_path) == read(REPORTS)[:8]


def test_deviations_are_pooled_over_cells_of_a_kind():
    cells = [
        f"ladeda-{format}-int8_{kind}" for format in ("onnx", "tflite") for kind in ("dynamic", "static")
    ]
    rows = [
        Reached(cell, seed, "sqnr", "score", 10.0 * place + value)
        for place, cell in enumerate(cells)
        for seed, value in enumerate((0.0, 1.0, 2.0))
    ]
    rows += [Reached("ladeda-onnx-fp16", seed, "sqnr", "score", 50.0 + 5 * seed) for seed in range(3)]
    found = {spread.cell: spread for spread in spreads(rows)}
    assert {found[cell].deviation for cell in cells} == {1.0}
    assert found["ladeda-onnx-fp16"].deviation == 5
    assert found[cells[1]].mean == pytest.approx(np.mean([10, 11, 12]))
    assert found[cells[0]].nearest == 0


def test_floors_are_ratios():
    rows = [
        Reached("ladeda-tflite-fp32", seed, FLOAT, "score", value)
        for seed, value in enumerate((1.0, 2.0, 4.0))
    ]
    (found,) = spreads(rows)
    assert (found.nearest, found.mean, found.deviation) == pytest.approx((4, 2, math.log(2)))
    assert found.room == pytest.approx(2)  # of 8 floors
