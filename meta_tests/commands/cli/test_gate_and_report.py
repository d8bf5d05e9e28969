"""`gate` and `report`, and how a run ends that is stopped or breaks."""

from __future__ import annotations

import json
from dataclasses import replace

from meta_tests.commands.cli.samples import FP32
from meta_tests.commands.command_line import modelparity, passes
from modelparity.converters.formats import CONVERTERS


def test_gate_then_report(tmp_path, converted, monkeypatch):
    monkeypatch.setattr("modelparity.gate.measure", lambda *_: {})
    result = modelparity("gate", "-k", FP32.id, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"1/1 ✔ {FP32.id} passed" in result.stderr
    assert f"PASS (narrowed with -k '{FP32.id}'): 1 of 1 cells green" in result.stdout
    assert "deterministic weights of the goldens (no checkpoint given)" in result.stdout
    assert str(tmp_path / "out" / "report.md") in result.stdout
    names = {"run.jsonl", "report.md", "report.html", "report.json", "junit.xml"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names

    text = passes("report", tmp_path / "out", "--output", tmp_path / "again")
    assert "1 of 1 cells green" in text
    for name in names - {"run.jsonl"}:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_gate_that_fails(tmp_path, monkeypatch):
    """`--json` is report.json."""
    monkeypatch.setattr("modelparity.gate.measure", lambda *_: {})
    liar = replace(CONVERTERS["onnx"], module="meta_tests.liars.process.minds_threads")
    monkeypatch.setitem(CONVERTERS, "onnx", liar)
    result = modelparity("gate", "-k", FP32.id, "--output", tmp_path, "--json")
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / "report.json").read_text())
    assert json.loads(result.stdout)["verdict"] == "fail"


def test_stopped(tmp_path, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelparity.commands.judging.gate.run_gate", interrupted)
    result = modelparity("gate", "-k", FP32.id, "--output", tmp_path)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "stopped; finished cells are kept, run again to go on\n"


def test_a_fault_of_our_own(monkeypatch):
    def broken(_: bool) -> None:
        raise TypeError("of some kind")

    monkeypatch.setattr("modelparity.commands.list.list_models", broken)
    result = modelparity("list")
    assert result.exit_code == 70
    assert result.stderr.startswith("internal error: TypeError: of some kind; please report it")
    assert len(result.stderr.splitlines()) == 1
    monkeypatch.setenv("MODELPARITY_DEBUG", "1")
    assert "Traceback" in modelparity("list").stderr
