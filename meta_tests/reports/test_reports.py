"""The reports say what the record says: in every format, of every cell, and nothing greener."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from meta_tests.miniatures.sample_run import HEADER, IDS, cell, green_run, mixed_run, record
from meta_tests.reports.rendering import ROOT, junit_is_red, rendered, section
from modelparity import reports
from modelparity.parity.results import Claim, Mismatched, Run
from modelparity.parity.results_json import read_run
from modelparity.reports.failures import failure_line
from modelparity.reports.view import STATUSES, entries


def test_four_reports_and_no_leftovers(tmp_path: Path) -> None:
    written = reports.render(record(mixed_run(), tmp_path / "run.jsonl"), tmp_path / "out")
    assert set(written) == {"report.md", "report.html", "junit.xml", "report.json"}
    assert sorted((tmp_path / "out").iterdir()) == sorted(written.values())


def test_sample_holds_every_status() -> None:
    assert {entry.status for entry in entries(mixed_run())} == set(STATUSES)


def test_first_lines(green: dict[str, str], mixed: dict[str, str]) -> None:
    assert green["report.md"].startswith("# PASS: 24 of 24 cells green\n")
    lines = mixed["report.md"].splitlines()
    assert lines[0] == "# FAIL: 19 of 24 cells green"
    assert lines[2].startswith("Weights: deterministic weights of the goldens, no checkpoint given")
    assert (
        "18 passed, 1 limitation, 1 mismatched, 1 errored, 1 crashed, 1 inconclusive, 1 missing" in lines[4]
    )
    assert "<h1>✘ FAIL: 19 of 24 cells green</h1>" in mixed["report.html"]


def test_a_narrowed_pass_says_so(tmp_path: Path) -> None:
    header = replace(HEADER, selection="onnx", expected=IDS[:1])
    texts = rendered(Run(header, (cell(IDS[0]),), 1.0), tmp_path)
    assert texts["report.md"].startswith("# PASS (narrowed with -k 'onnx'): 1 of 1 cells green\n")


@pytest.mark.parametrize("make", [green_run, mixed_run])
def test_same_record_same_bytes(make, tmp_path: Path) -> None:
    assert rendered(make(), tmp_path / "a") == rendered(make(), tmp_path / "b")


def test_same_bytes_in_another_process(green: dict[str, str], tmp_path: Path) -> None:
    path = record(green_run(), tmp_path / "run.jsonl")
    code = (
        "import sys, pathlib; from modelparity import reports; "
        "reports.render(*map(pathlib.Path, sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, env={"PYTHONHASHSEED": "7"})
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in green} == green


def test_a_nan_writes_nothing(tmp_path: Path) -> None:
    path = record(green_run(), tmp_path / "run.jsonl")
    path.write_text(path.read_text().replace('"latency_iqr_s": 0.0009', '"latency_iqr_s": NaN', 1))
    with pytest.raises(ValueError, match="JSON compliant"):
        reports.render(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_the_old_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(green_run(), tmp_path / "run.jsonl")
    before = {name: file.read_bytes() for name, file in reports.render(path, tmp_path).items()}

    def full_disk(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        reports.render_run(mixed_run(), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not list(tmp_path.glob(".*"))


def test_a_missing_cell_fails_every_format(tmp_path: Path) -> None:
    run = replace(green_run(), cells=green_run().cells[1:])
    gone, texts = IDS[0], rendered(run, tmp_path)
    assert texts["report.md"].startswith("# FAIL: 23 of 24 cells green")
    assert "∅ **missing** no record" in section(texts["report.md"], gone)
    assert '<header class="verdict fail">' in texts["report.html"]
    assert f'<article class="cell missing" id="cell-{gone}">' in texts["report.html"]
    errors = [c.get("classname") for c in ET.fromstring(texts["junit.xml"]).iter("testcase") if len(c)]
    assert errors == [gone]
    data = json.loads(texts["report.json"])
    assert data["verdict"] == "fail"
    assert data["cells"][0]["status"] == "missing"
    matrix = reports.verdict_rows(run)
    assert (matrix.rows[0][1].status, matrix.rows[0][1].text) == ("missing", "∅ missing no record")


@pytest.mark.parametrize("expected", [(), ("unheard-of",)])
def test_nothing_run_is_red_everywhere(expected: tuple[str, ...], tmp_path: Path) -> None:
    texts = rendered(Run(replace(HEADER, expected=expected), ()), tmp_path)
    assert texts["report.md"].startswith("# FAIL")
    assert '<header class="verdict fail">' in texts["report.html"]
    assert junit_is_red(texts["junit.xml"])
    assert json.loads(texts["report.json"])["verdict"] == "fail"
    for name in expected:
        assert all(name in text for text in texts.values())


def test_a_record_from_before_the_search_is_read(tmp_path: Path) -> None:
    path = record(green_run(), tmp_path / "run.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line.pop("worst", None)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert all(cell.worst == () for cell in read_run(path).cells)


def test_cached_evidence_says_so(mixed: dict[str, str]) -> None:
    said = "cached evidence: taken from an earlier run"
    assert said in section(mixed["report.md"], "objectformer-onnx-fp32")
    assert said not in section(mixed["report.md"], "objectformer-onnx-fp16")
    assert mixed["report.html"].count(said) == 1
    assert said in mixed["junit.xml"]
    assert "1 on cached evidence" in mixed["report.md"]


def test_matrix_is_models_by_columns_and_stacks_sizes() -> None:
    first, run = cell(IDS[0]), green_run()
    matrix = reports.verdict_rows(replace(run, cells=(*run.cells, replace(first, id="x", size="full"))))
    assert matrix.header == ("model", *(" ".join(column) for column in HEADER.columns))
    assert [row[0].text for row in matrix.rows] == ["objectformer", *HEADER.models]
    assert [slot.cell_id for row in matrix.rows for slot in row if slot.cell_id] == [*IDS[:8], "x", *IDS[8:]]
    assert matrix.rows[0][1] == (f"✔ passed {first.headline}", "passed", first.id, first.headline)


@pytest.mark.parametrize(
    ("status", "observed", "sense", "bound", "printed"),
    [
        ("failed", 18.2, ">=", 30, "= 18.2 dB, but should be >= 30 dB"),
        ("failed", 9.5, "<=", 8.0, "= 9.5 dB, but should be <= 8 dB"),
        ("failed", 3, "=", 0, "= 3 dB, but should be 0 dB"),
        ("failed", 1.00001, "<=", 1.0, "= 1.00001 dB, but should be <= 1.0 dB"),
        ("failed", "a", "=", "a, b", "= a dB, but should be a, b dB"),
        ("failed", None, "<=", 8.0, "= –, but should be <= 8 dB"),
        ("inconclusive", 2e-05, ">=", 0.001, "= 2e-05 dB is undecided (bound >= 0.001 dB)"),
    ],
)
def test_a_failed_claim_in_words(status, observed, sense, bound, printed: str) -> None:
    claim = Claim("SQNR", status, observed, bound, "why", "mask", "dB", sense=sense)
    assert failure_line(cell(IDS[0]), claim) == f"{IDS[0]}: mask SQNR {printed} [why]"


def test_a_known_mistake_is_said_before_any_number(tmp_path: Path) -> None:
    claim = Claim("float_parity", "failed", 1e7, 8.0, "why", "mask", "floors", sense="<=")
    words, remark = "outputs left and right are exchanged", "the file is called half.onnx, but is fp32"
    wrong = replace(cell(IDS[0]), outcome=Mismatched(), claims=(claim,), explanation=words, remarks=(remark,))
    run = Run(replace(HEADER, expected=IDS[:1]), (wrong,), 1.0)
    texts = rendered(run, tmp_path)
    assert words in texts["junit.xml"]
    for name in ("report.md", "report.html"):
        assert 0 < texts[name].index(words) < texts[name].index("1e+07"), name
    assert remark in texts["report.md"]
    assert remark in texts["report.html"]
    (found,) = json.loads(texts["report.json"])["cells"]
    assert (found["explanation"], found["remarks"]) == (words, [remark])
    assert read_run(record(run, tmp_path / "again.jsonl")) == run


def test_the_record_survives_the_sample(tmp_path: Path) -> None:
    assert read_run(record(mixed_run(), tmp_path / "run.jsonl")) == mixed_run()


def test_importing_reports_is_light() -> None:
    code = "import sys; from modelparity import reports; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(found.stdout.split())
    rooms = {f"modelparity.{room}" for room in ("modelfiles", "converters", "benchmarks", "serving")}
    assert "modelparity.reports" in loaded
    assert not {"torch", "numpy", "onnx", "onnxruntime", "rich", *rooms} & loaded
    assert {name for name in loaded if name.startswith("modelparity.fixtures.")} <= {
        "modelparity.fixtures.whole_files"
    }


def test_the_room_keeps_its_vocabulary() -> None:
    sources = [p for p in (ROOT / "reports").rglob("*") if p.suffix in {".py", ".html", ".css"}]
    assert len(sources) > 8
    for path in sources:
        assert "tensor" not in path.read_text(encoding="utf-8").lower(), path


def test_a_record_of_before_there_were_pictures_is_read(tmp_path: Path) -> None:
    path = record(green_run(), tmp_path / "run.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("task", None), line.pop("picture", None)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert all(cell.task is None and cell.picture is None for cell in read_run(path).cells)
