"""Cells are selected as pytest selects tests."""

from __future__ import annotations

import pytest

from modelparity.parity.cells import all_cells, select


def test_selection_is_pytests_own():
    assert select("") == all_cells()
    assert {cell.model for cell in select("tiny_ladeda")} == {"tiny_ladeda"}
    assert {cell.quantization for cell in select("onnx and not int8")} == {"fp32", "fp16"}
    assert select("nothing_of_that_name") == ()
    with pytest.raises(ValueError, match="-k"):
        select("onnx and")
