"""Every cell of the product has exactly one expectation, and every number stands beside its reason."""

from __future__ import annotations

import pytest

from modelparity.fixtures.models import MODELS
from modelparity.fixtures.tolerances import FloatTolerance, Limitation, tolerance_of
from modelparity.parity.cells import Cell, all_cells, select
from modelparity.parity.expectations import EXPECTATIONS, expectation_of
from modelparity.parity.metrics.detection_matching import COMPARED


def test_the_cell_has_an_expectation_that_says_why(cell):
    expectation = expectation_of(cell)  # its message is the entry to paste
    assert len(expectation.because) > 20
    tolerance = tolerance_of(expectation)
    if isinstance(tolerance, FloatTolerance):
        assert cell.quantization == "fp32"
        assert 1 < tolerance.floors <= tolerance.generated_floors < 150
        return
    detects = MODELS[cell.model].task == "detection"
    outputs = set(COMPARED if detects else MODELS[cell.model].signature().output_names)
    assert (tolerance.matched < 1) == detects
    assert set(tolerance.sqnr_db) == set(tolerance.worst_sqnr_db) == outputs
    for name in outputs:
        assert tolerance.worst_sqnr_db[name] <= tolerance.sqnr_db[name]


def test_no_expectation_is_left_over():
    assert set(EXPECTATIONS) == set(all_cells())


def test_few_limitations():
    assert sum(isinstance(entry, Limitation) for entry in EXPECTATIONS.values()) <= 2


def test_an_undeclared_cell_names_the_entry_to_paste():
    with pytest.raises(KeyError, match=r'declaration.py: \("new", "onnx", "fp32"\)'):
        expectation_of(Cell("new", "onnx", "fp32"))


def test_selection_is_pytests_own():
    assert select("") == all_cells()
    assert {cell.model for cell in select("tiny_ladeda")} == {"tiny_ladeda"}
    assert {cell.quantization for cell in select("onnx and not int8")} == {"fp32", "fp16"}
    assert select("nothing_of_that_name") == ()
    with pytest.raises(ValueError, match="-k"):
        select("onnx and")
