"""report.html: one page that needs nothing from elsewhere and runs nothing it quotes."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from meta_tests.miniatures.sample_run import IDS, SCRIPT, green_run
from meta_tests.reports.rendering import rendered
from modelparity.parity.results import Picture, TaskMetric, TaskRecord
from modelparity.reports.charts import latency_chart
from modelparity.reports.view import entries
from modelparity.reports.words import NONE


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
    ("interval", "word"), [((0.9, 1.3), "inconclusive"), ((1.1, 1.3), "slower"), ((0.7, 0.9), "faster")]
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
