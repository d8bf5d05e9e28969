"""A kind of output is a value: what depends on it stands in one place, and nobody compares its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest

from meta_tests.house.sources import ROOMS, ROOT, files_of
from modelparity.evaluate.evaluate import _EVALUATIONS, MEASURES
from modelparity.fixtures.specs import OutputKind as AnswerKind
from modelparity.fixtures.specs import Task
from modelparity.parity.claims.kind_claims import KIND_CLAIMS, KindClaims
from modelparity.parity.output_kinds import OUTPUT_KINDS, OutputKind
from modelparity.serving.answers import _ANSWERS

TASKS, ANSWERS = get_args(Task), get_args(AnswerKind)
NAMES = {"task", "output_kind"}


def comparisons(tree: ast.AST) -> Iterator[str]:
    """Comparisons of a task or a kind of output with a string, or with strings."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                sides = [left, *others]
            case ast.Match(subject=subject, cases=cases):
                sides = [subject, *(case.pattern for case in cases)]
            case _:
                continue
        named = any(ast.unparse(side).rpartition(".")[2] in NAMES for side in sides)
        strings = any(
            isinstance(part, ast.Constant) and isinstance(part.value, str)
            for side in sides
            for part in ast.walk(side)
        )
        if named and strings:
            yield ast.unparse(node)


def test_no_source_compares_a_kind_with_a_string():
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for room in ROOMS
        for path in files_of(room)
        for text in comparisons(ast.parse(path.read_text("utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        'spec.task == "detection"',
        '"map" != task',
        'card.output_kind in ("tampering", "deepfake")',
        'match spec.task:\n    case "message":\n        pass',
    ],
)
def test_a_comparison_is_seen(source):
    assert list(comparisons(ast.parse(source)))


def test_what_is_no_such_comparison_is_not():
    assert not list(comparisons(ast.parse('spec.task == other.task; TABLE[spec.task]; name == "task"')))


@pytest.mark.parametrize("task", TASKS)
def test_each_kind_has_all_that_is_asked_of_it(task):
    kind, claims = OUTPUT_KINDS[task], KIND_CLAIMS[task]
    assert all(getattr(kind, field.name) is not None for field in fields(OutputKind))
    assert all(callable(getattr(claims, field.name)) for field in fields(KindClaims))
    rows = {
        "location": np.array([[[0.0, 0.0, 0.5, 0.5]]]),
        "score": np.array([[0.9]]),
        "category": np.array([[1]]),
    }
    pair = kind.paired(rows, rows)
    for name in kind.compared(["location", "score"]):
        assert pair.rms(name) == 0


def test_no_kind_is_missing_and_none_is_left_over():
    assert set(OUTPUT_KINDS) == set(KIND_CLAIMS) == set(TASKS)
    assert set(_ANSWERS) == set(_EVALUATIONS) == set(MEASURES) == set(ANSWERS)


def test_kinds_differ_where_their_outputs_do():
    assert OUTPUT_KINDS["detection"].compared(["location", "score", "category"]) == ("location", "score")
    assert OUTPUT_KINDS["map"].compared(["score", "mask"]) == ("score", "mask")
    assert OUTPUT_KINDS["map"].gradient_search
    assert not OUTPUT_KINDS["detection"].gradient_search
    assert KIND_CLAIMS["map"].share_matched(None, None, {}, None) is None
