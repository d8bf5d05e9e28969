"""Every cell of the matrix, proven or refused with its reason."""

from __future__ import annotations


def test_cell(cell, record, assert_green):  # noqa: ARG001  (`cell` makes the matrix)
    assert_green(record)
