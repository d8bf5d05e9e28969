"""A comparison of two runs overlooks no difference, however small."""

from __future__ import annotations

import json
import os

import pytest

from meta_tests.measurements.compare_claims import ROOT, main


def claim(name, observed, output=None, **others) -> dict:
    return {"name": name, "output": output, "observed": observed, "bound": 8, "status": "passed", **others}


FLOAT, HALF = "net-onnx-fp32", "net-onnx-fp16"
CELLS = {
    FLOAT: [claim("float_parity", 2.5, "score"), claim("alive", "score, mask"), claim("batch", 1)],
    HALF: [claim("simulated", 61.25, "score"), claim("batch", 0.5), claim("batch", 0.75)],
}


@pytest.fixture
def report(tmp_path):
    """Writes a report folder's record: a header, the cells, costs that differ from run to run, an end."""

    def write(name: str, cells: dict) -> str:
        (tmp_path / name).mkdir()
        lines = [{"kind": "run", "schema": 1}]
        for number, (cell, claims) in enumerate(cells.items()):
            cost = {"latency_median_s": len(name) + number}
            lines.append({"kind": "cell", "id": cell, "claims": [], "cost": {}})
            lines.append({"kind": "cell", "id": cell, "claims": claims, "cost": cost})
        lines.append({"kind": "end", "duration_s": len(name)})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "run.jsonl").write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def changed(cell: str, number: int, **values) -> dict:
    claims = [dict(each) for each in CELLS[cell]]
    claims[number].update(values)
    return {**CELLS, cell: claims}


def test_the_same_claims_are_no_difference(report, capsys):
    assert main([report("before", CELLS), report("later", dict(reversed(CELLS.items())))]) == 0
    assert capsys.readouterr().out == "2 cells, 6 claims: no difference\n"


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (
            changed(FLOAT, 0, observed=2.5 + 1e-12),
            "float_parity score: observed 2.5 -> 2.500000000001",
        ),
        (changed(FLOAT, 2, observed=1.0), "batch: observed 1 -> 1.0"),
        (changed(FLOAT, 2, observed=None), "batch: observed 1 -> null"),
        (changed(FLOAT, 2, bound=9), "batch: bound 8 -> 9"),
        (changed(FLOAT, 2, status="failed"), 'batch: status "passed" -> "failed"'),
    ],
)
def test_another_value_is_printed(report, capsys, after, line):
    assert main([report("before", CELLS), report("after", after)]) == 1
    assert capsys.readouterr().out == f"net-onnx-fp32 {line}\n2 cells, 6 claims: 1 difference\n"


def test_the_second_claim_of_a_name_is_compared_with_the_second(report, capsys):
    after = changed(HALF, 2, observed=0.5)
    assert main([report("before", CELLS), report("after", after)]) == 1
    assert "net-onnx-fp16 batch: observed 0.75 -> 0.5\n" in capsys.readouterr().out


def test_a_renamed_claim_is_mapped(report, capsys):
    folders = report("before", CELLS), report("after", changed(FLOAT, 1, name="non_constant"))
    assert main([*folders, "--renamed", "alive=non_constant", "--renamed", "card=model_card"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "renamed: alive -> non_constant, card -> model_card",
        "2 cells, 6 claims: no difference",
    ]
    assert main([*folders]) == 1
    assert capsys.readouterr().out.splitlines() == [
        'net-onnx-fp32 alive: missing after (observed "score, mask")',
        'net-onnx-fp32 non_constant: missing before (observed "score, mask")',
        "2 cells, 7 claims: 2 differences",
    ]


def test_another_output_is_another_claim(report, capsys):
    after = changed(HALF, 0, output="mask")
    assert main([report("before", CELLS), report("after", after)]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == [
        "net-onnx-fp16 simulated mask: missing before (observed 61.25)",
        "net-onnx-fp16 simulated score: missing after (observed 61.25)",
    ]


def test_a_missing_cell_is_printed(report, capsys):
    one = {FLOAT: CELLS[FLOAT]}
    both, single = report("both", CELLS), report("single", one)
    assert main([both, single]) == main([single, both]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "net-onnx-fp16: missing after"
    assert lines[2] == "net-onnx-fp16: missing before"


def test_runs_without_a_cell_prove_nothing(report, capsys):
    assert main([report("before", {}), report("after", {})]) == 1
    assert capsys.readouterr().out == "0 cells, 0 claims: no difference\n"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_commit_s_record_is_that_of_its_own_gate(report, capsys, tmp_path, monkeypatch):
    """With another `tox`, which writes where it ran, in the place of the real one."""
    record = json.dumps({"kind": "cell", "id": "net-onnx-fp32", "claims": CELLS[FLOAT]})
    tox = tmp_path / "bin" / "tox"
    tox.parent.mkdir()
    tox.write_text(
        f'#!/bin/sh\ntest -z "$MODELPARITY_STORE" && test -f pyproject.toml && test "$*" = \'-e gate\' &&\n'
        f"mkdir modelparity-report && echo '{record}' > modelparity-report/run.jsonl\nexit 1\n"
    )
    tox.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tox.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MODELPARITY_STORE", str(tmp_path))
    assert main(["HEAD", report("one", {FLOAT: CELLS[FLOAT]})]) == 0
    assert capsys.readouterr().out == "1 cells, 3 claims: no difference\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-commit", "REPORT"], "no-such-commit: neither a folder with a run.jsonl nor a commit"),
        (["REPORT", "REPORT", "--renamed", "alive"], "'alive', but should be OLD=NEW"),
    ],
)
def test_bad_input_is_refused(report, capsys, arguments, words):
    folder = report("report", CELLS)
    with pytest.raises(SystemExit) as end:
        main([argument.replace("REPORT", folder) for argument in arguments])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
