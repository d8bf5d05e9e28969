"""False alarms on random weights are counted: heads decide either way, and what failed is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meta_tests.measurements import random_weights
from meta_tests.measurements.random_weights import DATA, Row, added, drawn, heads, main, row_of
from modelparity.converters.engine.workers import Workers
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.fixtures.models import MODELS
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import CellRecord, Claim, outcome_of

ROW = Row("tiny_ladeda-onnx-fp32", "tiny_ladeda", 0, harness_digest(), "passed", 30, (), (), (), 1.0)


def record(*claims: Claim) -> CellRecord:
    return CellRecord("a-onnx-fp32", "a", "onnx", "fp32", "reduced", outcome_of(claims), claims=claims)


def test_a_draw_has_its_own_weights_and_decides_either_way(tmp_path):
    import torch

    spec = MODELS["tiny_ladeda"]
    feeds = evaluation_set(spec, spec.default_input_size, 4, 0).feeds
    found = []
    with Workers() as workers:
        for draw in (0, 1):
            (folder := tmp_path / str(draw)).mkdir()
            path = drawn(spec, draw, feeds, workers, folder=folder)
            assert np.count_nonzero(heads(spec, path, feeds, workers) > 0) == 2
            found.append(torch.load(path, weights_only=True))
    assert not torch.equal(found[0]["conv2.weight"], found[1]["conv2.weight"])


def test_a_claim_that_failed_is_an_alarm_and_a_lost_output_is_none():
    passed, failed, lost, undecided = (
        Claim(name, status, 3.0, 2, "", "score", "floors", "", "<=")
        for name, status in (
            ("range", "passed"),
            ("float_parity", "failed"),
            ("better_than_constant", "failed"),
            ("label", "inconclusive"),
        )
    )
    row = row_of(record(passed, failed, lost, undecided), 7, 2.0)
    assert (row.draw, row.claims, row.status) == (7, 4, "mismatched")
    assert row.alarms == ("float_parity score 3.0 <= 2 floors",)
    assert (row.lost, row.undecided) == (("score",), ("label score",))


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch, capsys):
    asked = []

    def rows_of(model, draw, *_):
        asked.append(draw)
        return [replace(ROW, draw=draw, alarms=("label score 2 <= 1 bounds",) if draw == 2 else ())]

    monkeypatch.setattr(random_weights, "rows_of", rows_of)
    added(tmp_path, [replace(ROW, draw=1, harness="another")])
    options = ["--model", "tiny_ladeda", "--draws", "2", "--output", str(tmp_path)]
    assert main(options) == 0
    assert main([*options, "--first", "1"]) == 1
    assert asked == [0, 1, 2]
    assert "1 false alarm in 90 claims on 3 files" in capsys.readouterr().out
    text = (tmp_path / DATA).with_suffix(".md").read_text()
    assert "draw 2: label score 2 <= 1 bounds" in text
    assert "another" not in text  # replaced


@pytest.mark.parametrize("alarms", [0, 2])
def test_the_document_has_a_row_for_each_cell(alarms):
    rows = [replace(ROW, draw=n, alarms=("a",) if n < alarms else (), undecided=("label",)) for n in range(3)]
    text = random_weights.document(rows)
    assert f"{alarms} false alarms in 90 claims on 3 files" in text
    assert text.count("tiny_ladeda-onnx-fp32") == 1
    assert "label (3)" in text
