"""junit.xml and report.json: what scripts read."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from meta_tests.miniatures.sample_run import HEADER, IDS, MISSING, cell, mixed_run
from meta_tests.reports.rendering import junit_is_red, rendered
from modelparity.parity.results import Crashed, Errored, Inconclusive, Mismatched, Run, Unsupported


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
