"""Writes junit.xml: one suite per model, one case per claim."""

from __future__ import annotations

from collections import defaultdict
from xml.etree import ElementTree as ET

from modelparity.parity.results import Claim, Run
from modelparity.reports.evidence import CACHED
from modelparity.reports.failures import failure_line, failure_text, outcome_line
from modelparity.reports.view import Entry, entries, verdict_line, weights_lines
from modelparity.reports.words import visible

OUTCOME = "outcome"  # the case for an outcome that no claim of the cell reports
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def junit(run: Run) -> str:
    """The text of junit.xml.

    A failed or undecided claim is a failure; an error, a crash, a missing cell and a run without cells are
    errors; a known limitation is skipped.
    """
    root = ET.Element("testsuites", name=visible(f"modelparity {verdict_line(run)}"))
    models: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries(run):
        models[entry.model].append(entry)
    for model, cells in models.items():
        suite = _suite(root, run, model)
        for entry in cells:
            _cell(suite, entry)
    if not models:
        case = ET.SubElement(_suite(root, run, "run"), "testcase", classname="run", name=OUTCOME)
        ET.SubElement(case, "error", type="missing", message="no cell was run")
    for element in (root, *root):
        element.set("tests", str(len(element.findall(".//testcase"))))
        for attribute, tag in COUNTED.items():
            element.set(attribute, str(len(element.findall(f".//testcase/{tag}"))))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, run: Run, name: str) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=visible(name))
    if run.header.started:
        suite.set("timestamp", visible(run.header.started))
    properties = ET.SubElement(suite, "properties")
    for words in weights_lines(run):
        ET.SubElement(properties, "property", name="weights", value=words)
    return suite


def _cell(suite: ET.Element, entry: Entry) -> None:
    claims = entry.cell.claims if entry.cell else ()
    for claim in claims:
        _claim(suite, entry, claim)
    statuses = {claim.status for claim in claims}
    reported_by_a_claim = {"passed": "passed", "mismatched": "failed", "inconclusive": "inconclusive"}
    if reported_by_a_claim.get(entry.status) not in statuses:
        _outcome(_case(suite, entry, OUTCOME), entry)


def _claim(suite: ET.Element, entry: Entry, claim: Claim) -> None:
    case = _case(suite, entry, f"{claim.name} [{claim.output}]" if claim.output else claim.name)
    if claim.passed or entry.cell is None:
        return
    if entry.status == "limitation":  # declared in advance, so no failure
        ET.SubElement(case, "skipped", message=visible(outcome_line(entry)))
        return
    kind = "inconclusive" if claim.status == "inconclusive" else "mismatch"
    line = failure_line(entry.cell, claim)
    failure = ET.SubElement(case, "failure", type=kind, message=visible(line))
    explanation = outcome_line(entry) if entry.cell.explanation else ""
    reproduce = (f"reproduce: {command}" for command in entry.cell.reproduce)
    failure.text = visible("\n".join(filter(None, (explanation, line, claim.detail, *reproduce))))


def _outcome(case: ET.Element, entry: Entry) -> None:
    line = visible(outcome_line(entry))
    if entry.status == "limitation":
        ET.SubElement(case, "skipped", message=line)
    elif not entry.green:
        tag = "failure" if entry.status in ("mismatched", "inconclusive") else "error"
        ET.SubElement(case, tag, type=entry.status, message=line).text = visible(failure_text(entry))


def _case(suite: ET.Element, entry: Entry, name: str) -> ET.Element:
    case = ET.SubElement(suite, "testcase", classname=visible(entry.id), name=visible(name))
    if entry.cell and entry.cell.cached:
        properties = ET.SubElement(case, "properties")
        ET.SubElement(properties, "property", name="evidence", value=CACHED)
    return case
