"""The reports say what the record says: in every format, of every cell, and nothing greener."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from meta_tests.miniatures.sample_run import HEADER, IDS, MISSING, SCRIPT, cell, green_run, mixed_run, record
from modelparity import reports
from modelparity.parity.results import (
    Claim,
    Crashed,
    Errored,
    Inconclusive,
    Mismatched,
    Picture,
    Run,
    TaskMetric,
    TaskRecord,
    Unsupported,
    read_run,
)
from modelparity.reports.charts import latency_chart
from modelparity.reports.failures import failure_line
from modelparity.reports.markdown import LIMIT
from modelparity.reports.view import STATUSES, entries
from modelparity.reports.words import NONE

ROOT = Path(__file__).parents[2]


def rendered(run: Run, folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    written = reports.render(record(run, folder / "run.jsonl"), folder / "out")
    return {name: path.read_text(encoding="utf-8") for name, path in written.items()}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return rendered(mixed_run(), tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return rendered(green_run(), tmp_path_factory.mktemp("green"))


def junit_is_red(text: str) -> bool:
    root = ET.fromstring(text)
    return root.find(".//failure") is not None or root.find(".//error") is not None


def section(markdown: str, cell_id: str) -> str:
    return markdown.split(f"\n### {cell_id}\n")[1].split("\n### ")[0]


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
    code = "import sys, pathlib, reports; reports.render(*map(pathlib.Path, sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(path), str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, env={"PYTHONHASHSEED": "7"})
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in green} == green


def all_crashed() -> Run:
    cells = (cell(name) for name in IDS)
    outcome = Crashed("run", "SIGKILL", "out of memory " * 50, "a line of the log | of some length\n" * 2000)
    return replace(green_run(), cells=tuple(replace(c, outcome=outcome) for c in cells))


def all_mismatched() -> Run:
    def broken(claim: Claim) -> Claim:
        return replace(claim, status="failed", because="why | " * 200, detail="where *\n" * 300)

    cells = (replace(c, claims=tuple(map(broken, c.claims)), outcome=Mismatched()) for c in map(cell, IDS))
    return replace(green_run(), cells=tuple(cells))


@pytest.mark.parametrize("make", [green_run, mixed_run, all_crashed, all_mismatched])
def test_markdown_is_small_and_drops_no_cell(make, tmp_path: Path) -> None:
    text = rendered(make(), tmp_path)["report.md"]
    assert len(text.encode()) < LIMIT == 60_000
    for name in IDS:
        assert f"\n### {name}\n" in text


def test_full_markdown_is_not_shortened(green: dict[str, str]) -> None:
    assert sum(len(cell(name).claims) for name in IDS) / len(IDS) > 14
    assert "Shortened" not in green["report.md"]


def test_markdown_tables_keep_their_columns(mixed: dict[str, str]) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", re.sub(r"(?s)(`{3,})text\n.*?\n\1", "", mixed["report.md"]), re.M)
    # the matrix, the cost, and the claims of every cell but the missing and the errored one
    assert len(blocks) == 2 + len(IDS) - 2
    for block in blocks:
        assert len({len(re.split(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1, block
        assert "----" not in block  # padding would spend the bytes that the words need


def test_markdown_of_a_failure_is_one_to_act_on(mixed: dict[str, str]) -> None:
    text = section(mixed["report.md"], "objectformer-tflite-int8_static")
    assert "mask SQNR = 18.2 dB, but should be >= 30 dB [int8_static: bits flip | below 24 dB" in text
    assert "worst sample 6 of 32 (東京.jpg); greatest |error| 0.213 at (0, 417)" in text
    assert "reproduce: pytest parity -k objectformer-tflite-int8_static" in text
    assert cell("objectformer-tflite-int8_static").artifact.sha256 in text
    assert "kept in float: 24 × Softmax, LayerNorm, because" in text
    assert "not asked: kernels, because" in text
    assert "plain loops take 10 s an image" in mixed["report.md"]
    assert (
        "<dt>not asked</dt><dd>kernels, because plain loops take 10 s an image</dd>" in mixed["report.html"]
    )


def test_a_fence_in_a_traceback_closes_nothing(mixed: dict[str, str]) -> None:
    assert "````text\n" in section(mixed["report.md"], "tiny_ladeda-tflite-fp16")


def test_foreign_markup_is_inert(mixed: dict[str, str]) -> None:
    outside_code = re.sub(r"(?s)(`{3,})text\n.*?\n\1", "", mixed["report.md"])
    assert r"\<script>" in outside_code
    assert not re.search(r"(?<!\\)<script", outside_code)
    assert SCRIPT not in mixed["report.html"]
    assert "&lt;script&gt;" in mixed["report.html"]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.references += [found[name] for name in ("href", "src", "srcset", "xlink:href") if name in found]


def test_html_needs_nothing_from_elsewhere(mixed: dict[str, str], green: dict[str, str]) -> None:
    page = Page(mixed["report.html"])
    assert page.references
    assert all(reference.startswith("#") for reference in page.references)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "@import" not in mixed["report.html"]
    assert "url(" not in mixed["report.html"]
    assert "http" not in green["report.html"]


def test_html_links_lead_somewhere(mixed: dict[str, str]) -> None:
    page = Page(mixed["report.html"])
    assert len(page.ids) == len(set(page.ids))
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    for name in IDS:
        assert f'href="#cell-{name}"' in mixed["report.html"]


@pytest.mark.parametrize(
    ("interval", "word"), [((0.9, 1.3), "cannot tell"), ((1.1, 1.3), "slower"), ((0.7, 0.9), "faster")]
)
def test_a_bar_says_no_more_than_its_interval(interval: tuple[float, float], word: str) -> None:
    shown = entries(green_run())
    one = next(entry for entry in shown if entry.quantization != "fp32")
    assert one.cell is not None
    cost = replace(one.cell.cost, latency_ratio=sum(interval) / 2, latency_interval=interval)
    said = re.findall(
        r"<title>(.*?)</title></rect>", latency_chart([replace(one, cell=replace(one.cell, cost=cost))])
    )
    assert [text.partition("× ")[2] for text in said] == [word]


def test_charts_are_told_in_words(mixed: dict[str, str]) -> None:
    charts = re.findall(r"<svg .*?</svg>", mixed["report.html"])
    assert len(charts) > 2
    for chart in charts:
        title, description = re.search(r'aria-labelledby="(\S+) (\S+)"', chart).groups()
        assert f'<title id="{title}">' in chart
        assert f'<desc id="{description}">' in chart


def test_python_does_not_show(mixed: dict[str, str], green: dict[str, str]) -> None:
    for texts in (mixed, green):
        for name in ("report.md", "report.html", "junit.xml"):
            assert not re.search(r"\bNone\b|\bnan\b|object at 0x|dataclass", texts[name])


def test_junit_counts_equal_the_record(mixed: dict[str, str]) -> None:
    root, run = ET.fromstring(mixed["junit.xml"]), mixed_run()
    assert [suite.get("name") for suite in root] == list(HEADER.models)
    kinds = [type(found.outcome) for found in run.cells]
    claims = [claim for found in run.cells for claim in found.claims]
    foreseen = [c for f in run.cells if isinstance(f.outcome, Unsupported) for c in f.claims if not c.passed]
    expected = {
        "tests": len(claims)
        + sum(kind in (Crashed, Errored, Unsupported) for kind in kinds)
        + len(run.missing),
        "failures": sum(not claim.passed for claim in claims) - len(foreseen),
        "errors": sum(kind in (Crashed, Errored) for kind in kinds) + len(run.missing),
        "skipped": len(foreseen) + sum(kind is Unsupported for kind in kinds),
    }
    assert {name: int(root.get(name)) for name in expected} == expected
    for name, count in expected.items():
        assert sum(int(suite.get(name)) for suite in root) == count
    assert len(root.findall(".//testcase")) == expected["tests"]
    assert {case.get("classname") for case in root.iter("testcase")} == set(IDS)


def test_junit_spells_out_what_xml_forbids(mixed: dict[str, str]) -> None:
    errors = {c.get("classname"): c.find("error") for c in ET.fromstring(mixed["junit.xml"]).iter("testcase")}
    log = errors["objectformer_detection-tflite-int8_static"].text
    assert "INFO: delegate\\x00\\x07 created\nframe\n" in log
    assert "\\ufffe ]]> & <end> \\ud800" in log


@pytest.mark.parametrize(
    "outcome",
    [
        Mismatched(),
        Inconclusive("nothing to see"),
        Errored("load", "x"),
        Crashed("run", "SIGBUS", "x"),
    ],
)
def test_a_red_cell_without_a_red_claim_is_red(outcome, tmp_path: Path) -> None:
    header = replace(HEADER, expected=IDS[:1])
    texts = rendered(Run(header, (replace(cell(IDS[0]), outcome=outcome),), 1.0), tmp_path)
    assert junit_is_red(texts["junit.xml"])
    assert texts["report.md"].startswith("# FAIL")


def test_json_keys(mixed: dict[str, str]) -> None:
    data = json.loads(mixed["report.json"], parse_constant=pytest.fail)
    assert (data["schema"], data["verdict"], data["missing"]) == (1, "fail", [MISSING])
    assert [found["id"] for found in data["cells"]] == list(IDS)
    for found in data["cells"]:
        assert {"id", "model", "format", "quantization", "status", "claims", "artifact"} <= set(found)
        for claim in found["claims"]:
            assert {"name", "status", "observed", "bound", "because", "output"} <= set(claim)
        if found["artifact"]:
            assert {"sha256", "bytes", "key"} <= set(found["artifact"])
    assert Counter(found["status"] for found in data["cells"]) == data["counts"]


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
    assert not list(tmp_path.glob(".*.tmp"))


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


def test_the_worst_found_stands_beside_the_worst_of_the_stream(green: dict[str, str]) -> None:
    (worst,) = cell("objectformer_detection-onnx-fp32").worst
    words = f"score {worst.found:.4g} dB (stream 41.25 dB): constant (0, 0, 255)"
    assert f"- worst found, {words}" in green["report.md"]
    assert f"<dt>worst found</dt><dd>{words}</dd>" in green["report.html"]


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


def test_floor_error_ratio_and_headroom_are_shown_for_each_output(tmp_path: Path) -> None:
    first = cell(IDS[0])
    claims = tuple(
        Claim(
            "float_parity",
            "passed",
            ratio,
            8,
            "smallest fault is at 150",
            output,
            "floors",
            "",
            "<=",
            figures,
        )
        for output, ratio, figures in (
            ("score", 1.6, {"floor": 2.5e-7, "error": 4e-7, "headroom": 5.0}),
            ("mask", 0.0, {"floor": 1.5e-7, "error": 0.0, "headroom": "inf"}),
        )
    )
    run = replace(green_run(), cells=(replace(first, claims=(*first.claims, *claims)),))
    texts = rendered(run, tmp_path)
    assert "| output | floor | error | ratio | bound | headroom |" in texts["report.md"]
    assert "| score | 2.5e-07 | 4e-07 | 1.6 | 8 | 5 × |" in section(texts["report.md"], first.id)
    assert "| mask | 1.5e-07 | 0 | 0 | 8 | inf × |" in section(texts["report.md"], first.id)
    row = '<th scope="row">score</th>' + "".join(
        f'<td class="number">{text}</td>' for text in ("2.5e-07", "4e-07", "1.6", "8", "5 ×")
    )
    assert row in texts["report.html"]
    assert "headroom" not in rendered(green_run(), tmp_path / "none")["report.md"]


def test_the_record_survives_the_sample(tmp_path: Path) -> None:
    assert read_run(record(mixed_run(), tmp_path / "run.jsonl")) == mixed_run()


def test_importing_reports_is_light() -> None:
    code = "import sys, reports; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    heavy = {"torch", "numpy", "onnx", "onnxruntime", "fixtures", "converters", "benchmarks", "rich"}
    assert "reports" in found.stdout.split()
    assert not heavy & set(found.stdout.split())


def test_the_room_keeps_its_vocabulary() -> None:
    sources = [p for p in (ROOT / "reports").rglob("*") if p.suffix in {".py", ".html", ".css"}]
    assert len(sources) > 8
    for path in sources:
        assert "tensor" not in path.read_text(encoding="utf-8").lower(), path


WEBP = "UklGRh4AAABXRUJQVlA4TBEAAAAvAAAAAAfQ//73v/+BiOh/AAA="  # one pixel


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    run = green_run()
    picture = Picture("coffee-crop1", 'coffee-crop1: "reference" & onnx', 1048, 390, WEBP)
    metrics = (
        TaskMetric("accuracy", 0.9, 0.75, (-0.3, -0.02), "worse"),
        TaskMetric("auc", None, None),
        TaskMetric("ece", 0.25, 0.25 - 1e-9),
    )
    task = TaskRecord("my_set", 20, metrics, ("all 20 images have label 1",))
    cells = (replace(run.cells[0], picture=picture, task=task), *run.cells[1:])
    return rendered(replace(run, cells=cells), tmp_path_factory.mktemp("pictured"))


def test_a_picture_is_in_the_page_and_nowhere_else(pictured: dict[str, str]) -> None:
    html = pictured["report.html"]
    assert html.count(f'src="data:image/webp;base64,{WEBP}"') == 1
    assert 'alt="coffee-crop1: &#34;reference&#34; &amp; onnx"' in html
    assert WEBP not in pictured["report.md"] + pictured["report.json"] + pictured["junit.xml"]
    told = json.loads(pictured["report.json"])["cells"]
    assert told[0]["picture"]["sample"] == "coffee-crop1"
    assert told[1]["picture"] is None


def test_metrics_of_a_dataset_are_told_with_their_differences(pictured: dict[str, str]) -> None:
    row = ["accuracy", "0.9000", "0.7500", "-0.1500", "-0.3000 to -0.0200", "worse"]
    assert f"| {' | '.join(row)} |" in pictured["report.md"]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", pictured["report.html"])
    assert any(cells[i : i + 6] == row for i in range(len(cells)))
    assert any(cells[i : i + 4] == ["ece", "0.2500", "0.2500", "+0.0000"] for i in range(len(cells)))
    assert any(cells[i : i + 4] == ["auc", NONE, NONE, NONE] for i in range(len(cells)))
    for name in ("report.md", "report.html"):
        assert "my_set: all 20 images have label 1" in pictured[name]
    metrics = json.loads(pictured["report.json"])["cells"][0]["task"]["metrics"]
    assert metrics[0]["interval"] == [-0.3, -0.02]


def test_reports_without_a_dataset_have_no_such_section(green: dict[str, str]) -> None:
    assert "Task metrics" not in green["report.md"] + green["report.html"]


def test_a_record_of_before_there_were_pictures_is_read(tmp_path: Path) -> None:
    path = record(green_run(), tmp_path / "run.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("task", None), line.pop("picture", None)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert all(cell.task is None and cell.picture is None for cell in read_run(path).cells)
