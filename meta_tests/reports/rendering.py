"""Renders a run, and finds the part of a report that a test looks at."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from meta_tests.miniatures.sample_run import record
from modelparity import reports
from modelparity.parity.results import Run

ROOT = Path(__file__).parents[2]


def rendered(run: Run, folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    written = reports.render(record(run, folder / "run.jsonl"), folder / "out")
    return {name: path.read_text(encoding="utf-8") for name, path in written.items()}


def junit_is_red(text: str) -> bool:
    root = ET.fromstring(text)
    return root.find(".//failure") is not None or root.find(".//error") is not None


def section(markdown: str, cell_id: str) -> str:
    return markdown.split(f"\n### {cell_id}\n")[1].split("\n### ")[0]
