"""Reports say where cells were judged, and tell a stored proof of a CPU with other kernels."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from meta_tests.miniatures.sample_run import IDS, green_run
from meta_tests.reports.rendering import rendered, section
from modelparity.commands.judging.running import cached_words
from modelparity.parity.results import Run
from modelparity.reports.view import counts_line, other_cpu

HERE, THERE = "avx2 avx512_vnni", "avx2"
SESSION = {"cpu": "Some CPU", "runtime": "onnxruntime 1.24.2", "intra_op_num_threads": "1"}


def judged_on(*flags: str) -> Run:
    """A run on `HERE` whose first cells were judged on CPUs with these flags."""
    run = green_run()
    cells = list(run.cells)
    for place, text in enumerate(flags):
        cells[place] = replace(cells[place], cached=True, ran_on={**SESSION, "cpu flags": text})
    header = replace(run.header, machine={**run.header.machine, "cpu flags": HERE})
    return replace(run, header=header, cells=tuple(cells))


def test_a_proof_of_another_kind_of_cpu_is_told(tmp_path):
    run = judged_on(THERE, HERE)
    assert "1 proven on a CPU with other kernels" in counts_line(run)
    texts = rendered(run, tmp_path)
    for name in ("report.md", "report.html"):
        assert texts[name].count("proven on a CPU with other kernels: avx2") == 1
        assert "kernels than the one of this run (avx2 avx512" in texts[name]
    assert "other kernels: avx2" in section(texts["report.md"], IDS[0])
    assert "judged on: cpu Some CPU, cpu flags avx2, intra" in texts["report.md"].replace("\\", "")
    first = json.loads(texts["report.json"])["cells"][0]
    assert first["ran_on"] == {**SESSION, "cpu flags": THERE}


@pytest.mark.parametrize("flags", [(), (HERE,), (HERE, HERE)])
def test_nothing_is_told_of_proofs_of_the_same_kind(tmp_path, flags):
    run = judged_on(*flags)
    assert "other kernels" not in counts_line(run)
    texts = rendered(run, tmp_path)
    assert not any("other kernels" in text for text in texts.values())


def test_nothing_is_told_where_a_cpu_is_not_known():
    run = judged_on(THERE)
    assert other_cpu(run.cells[0], run.header.machine) == THERE
    assert other_cpu(run.cells[1], run.header.machine) == ""
    assert other_cpu(run.cells[0], {"cpu": "unnamed"}) == ""


def test_the_gate_tells_it_as_the_cell_comes_from_the_store():
    here = judged_on().header.machine
    theirs, ours, new = (judged_on(flags).cells[0] for flags in (THERE, HERE, HERE))
    assert cached_words(theirs, here) == " (cached, proven on a CPU with avx2)"
    assert cached_words(ours, here) == " (cached)"
    assert cached_words(replace(new, cached=False), here) == ""


def test_sessions_are_told_once_each(tmp_path):
    text = rendered(judged_on(HERE, HERE, THERE), tmp_path)["report.md"].replace("\\", "")
    told = [line for line in text.splitlines() if line.startswith("- judged on: ")]
    assert [line.rpartition(" (")[2] for line in told] == ["2 cells)", "1 cell)"]


def test_the_same_record_gives_the_same_bytes(tmp_path):
    run = judged_on(THERE, HERE)
    assert rendered(run, tmp_path / "a") == rendered(run, tmp_path / "b")
