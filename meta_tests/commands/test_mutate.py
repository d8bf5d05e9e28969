"""`mutate` on a real network: the table, the JSON, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from meta_tests.miniatures.expected_claims import SEEN_BY, SEEN_IN_INT8
from modelparity.cli import app
from modelparity.commands.mutate import QUANTIZATIONS
from modelparity.parity.mutation.score import CHECK_BUDGET
from modelparity.parity.results_json import read_scored
from modelparity.reports.catches import TABLE

JSON_KEYS = {"name", "model", "format", "visible", "killed", "claim"}


@pytest.fixture
def _real(shared_store, monkeypatch):
    monkeypatch.setenv("MODELPARITY_STORE", str(shared_store))
    monkeypatch.delenv("MODELPARITY_DEBUG", raising=False)


def mutate(*arguments: str):
    return CliRunner().invoke(app, ["mutate", *arguments])


@pytest.mark.usefixtures("_real")
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_tiny_ladeda_is_scored(format, tmp_path):
    result = mutate("--model", "tiny_ladeda", "--format", format, "--json", "--output", str(tmp_path))
    assert result.exit_code in (0, 1), result.output
    data = json.loads(result.stdout)
    assert set(data) == {"faults"}
    faults = data["faults"]
    assert all(set(fault) >= JSON_KEYS for fault in faults)
    assert {(fault["model"], fault["format"]) for fault in faults} == {("tiny_ladeda", format)}
    survivors = [fault for fault in faults if fault["visible"] and not fault["killed"]]
    assert result.exit_code == bool(survivors)
    assert not [fault for fault in survivors if fault["quantization"] == "fp32"]
    assert len({fault["name"] for fault in faults}) >= 30
    floats = {fault["name"]: fault for fault in faults if fault["quantization"] == "fp32" and fault["killed"]}
    for name, fault in floats.items():
        assert fault["claim"] == SEEN_BY[name], fault
    int8 = [
        fault
        for fault in faults
        if fault["quantization"].startswith("int8") and fault["name"] in SEEN_IN_INT8
    ]
    assert all(fault["claim"] == SEEN_IN_INT8[fault["name"]] for fault in int8)
    table = read_scored(tmp_path / TABLE)
    assert [cell.id for cell in table] == [f"tiny_ladeda-{format}-{each}" for each in QUANTIZATIONS]
    assert sum(not fault.missing for cell in table for fault in cell.faults) == len(faults)
    assert "What this gate catches" in (tmp_path / TABLE).with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("_real")
def test_one_fault_of_one_model_is_green_and_with_a_blind_judge_red(monkeypatch):
    arguments = ("--model", "tiny_ladeda", "--format", "onnx", "--fault", "image-transposed")
    result = mutate(*arguments)
    assert result.exit_code == 0, result.output
    assert "PASS: 1 of 1 visible faults killed" in result.stdout
    monkeypatch.setattr("modelparity.parity.judge.Judge._parity", lambda *_: None)
    monkeypatch.setattr(
        "modelparity.parity.mutation.score.CHECK_BUDGET", replace(CHECK_BUDGET, images=2, batches=(2,))
    )
    result = mutate(*arguments)
    assert result.exit_code == 1, result.output
    assert "image_transposed survived" in result.stdout
    assert "FAIL: 0 of 1 visible faults killed" in result.stdout


@pytest.mark.usefixtures("_real")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fault", "bgr-for-rg"), "did you mean bgr_for_rgb"),
        (("--model", "nobody"), "nobody"),
        (("--format", "coreml"), "coreml"),
        (("--model", "tiny_ladeda", "--format", "onnx", "--fault", "gelu_tanh"), "no Gelu"),
    ],
)
def test_bad_input_is_one_line(arguments, words):
    result = mutate(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert words in result.stderr
