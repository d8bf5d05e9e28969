"""What a report says it catches is what was scored on these very files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from meta_tests.miniatures.sample_run import HEADER, green_run, record
from modelparity.parity.results import FaultRecord, Run, ScoredCell
from modelparity.parity.results_json import read_scored, scored_line
from modelparity.reports import render
from modelparity.reports.catches import TABLE, catches, rows
from modelparity.reports.kill_table import kill_table
from modelparity.reports.other_rules import comparison, verdicts

PLACE = ("tiny_ladeda", "onnx", "int8_static")
KILLED = FaultRecord(
    "int8_step",
    *PLACE,
    "one weight | one step",
    visible=True,
    killed=True,
    claim="lineage_weights",
    names=("conv1.weight",),
    named=True,
    of_own_error=0.03,
    detail="conv1.weight is 0.7 steps off",
)
HIDDEN = replace(KILLED, name="wrong_mean", visible=False, killed=False, claim="", observed=1e-7, names=())
SURVIVED = replace(
    KILLED, name="softmax_axis", killed=False, claim="", observed=900.0, strength=1.02, names=()
)
MISSING = replace(KILLED, name="epsilon", visible=False, killed=False, claim="", missing="no normalisation")


def scored(run: Run, *faults: FaultRecord, place: int = 0) -> ScoredCell:
    cell = run.cells[place]
    return ScoredCell(cell.id, cell.artifact.sha256, "abc", "onnx 1", faults=faults)


def test_a_table_is_read_as_it_was_written(tmp_path):
    cells = [scored(green_run(), KILLED, HIDDEN, SURVIVED, MISSING), scored(green_run(), place=1)]
    (tmp_path / TABLE).write_text("".join(map(scored_line, [replace(cells[0], faults=()), *cells])))
    assert read_scored(tmp_path / TABLE) == tuple(cells)


@pytest.mark.parametrize("line", ["{}", "nothing", '{"kind": "cell", "schema": 1}', "[]"])
def test_a_file_that_is_no_table_is_named_with_its_line(tmp_path, line):
    path = tmp_path / TABLE
    path.write_text(scored_line(scored(green_run(), KILLED)) + line + "\n")
    with pytest.raises(ValueError, match=r"what-it-catches\.jsonl:2: not a line of a kill table"):
        read_scored(path)


def test_only_files_of_the_run_are_spoken_for(tmp_path):
    run = green_run()
    mine, other = scored(run, KILLED), replace(scored(run, KILLED, place=1), sha256="another file")
    (tmp_path / TABLE).write_text(scored_line(mine) + scored_line(other))
    found = catches(run, tmp_path)
    assert found.cells == (mine,)
    assert found.line.startswith(f"Faults were planted in 1 of the {len(run.cells)} files of this run")
    assert "another version of the harness (abc)" in found.line
    same = replace(run, header=replace(HEADER, versions={**HEADER.versions, "harness": "abc"}))
    assert "another version" not in catches(same, tmp_path).line


def test_a_table_of_earlier_files_is_told_as_such(tmp_path):
    run = green_run()
    earlier = replace(scored(run, KILLED, SURVIVED, HIDDEN, MISSING), sha256="another file")
    (tmp_path / TABLE).write_text(scored_line(earlier))
    line = catches(run, tmp_path).line
    assert catches(run, tmp_path).cells == ()
    assert line.startswith("No faults were planted in the files of this run")
    # The project's own table may add cells of the same names.
    assert "In earlier files of" in line
    (tmp_path / TABLE).write_text(scored_line(replace(earlier, sha256=scored(run).sha256)))
    assert "In earlier files" not in catches(run, tmp_path).line


def test_the_report_has_the_table_of_its_own_folder(tmp_path):
    run = green_run()
    record(run, tmp_path / "run.jsonl")
    without = {name: path.read_text() for name, path in render(tmp_path / "run.jsonl", tmp_path).items()}
    (tmp_path / TABLE).write_text(scored_line(scored(run, KILLED, SURVIVED, HIDDEN)))
    texts = {name: path.read_text() for name, path in render(tmp_path / "run.jsonl", tmp_path).items()}
    for name in ("report.md", "report.html"):
        assert "No faults were planted in the files of this run" in without[name]
        assert "1 of 2 visible faults were detected, 1 more are below the noise floor" in texts[name]
        assert "lineage_weights 1" in texts[name].replace("\\_", "_")
    assert [cell["id"] for cell in json.loads(texts["report.json"])["catches"]] == [run.cells[0].id]
    assert texts["junit.xml"] == without["junit.xml"]


def test_a_row_says_by_whom_how_weak_and_how_deep_in_the_rounding():
    weaker = replace(KILLED, of_own_error=0.5, named=False, strength=1.002)
    (row,) = rows([KILLED, weaker, MISSING])
    assert row[2:] == ("2 of 2", "lineage_weights 2", "1.002", "0.03 to 0.5", "1 of 2", "–")
    (hidden,) = rows([HIDDEN])
    assert hidden[2:] == ("–", "–", "–", "–", "–", "1e-07")


def test_other_rules_are_compared_on_the_same_files(tmp_path):
    """On faults and on right files apart: a rule that refuses all files refuses every fault."""
    accepts, refuses = {"a rule": False, "strict": True}, {"a rule": True, "strict": True}
    run = green_run()
    faults = [replace(KILLED, refused_by=accepts), replace(SURVIVED, refused_by=refuses), HIDDEN, MISSING]
    integers = ScoredCell("net-onnx-int8_static", "1", "abc", "onnx 1", "", tuple(faults), refuses)
    floats = ScoredCell("net-onnx-fp32", "2", "abc", "onnx 1", "", (), accepts)
    cells = [integers, floats, scored(run, KILLED)]  # nothing was asked of the last
    text = comparison({cell.id: verdicts(cell) for cell in cells})
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert lines[1:] == [
        ["modelparity", "1 of 2", "0 of 1", "–", "0 of 1"],
        ["a rule", "1 of 2", "1 of 1", "–", "0 of 1"],
        ["strict", "2 of 2", "1 of 1", "–", "1 of 1"],
    ]
    assert text in kill_table(cells)
    assert "Other rules" not in kill_table(cells[2:])
    (tmp_path / TABLE).write_text(scored_line(integers))
    assert read_scored(tmp_path / TABLE) == (integers,)


def test_the_document_lists_survivors_first():
    run = green_run()
    text = kill_table([scored(run, KILLED, SURVIVED, HIDDEN, MISSING)])
    assert text.startswith(
        "# What this gate catches\n\n1 of 2 visible faults were detected in 1 files, 1 more"
    )
    assert "softmax_axis at 1.02 changes an output by 900 floors" in text
    assert text.index("## Survived") < text.index("## Files")
    assert "epsilon" not in text
