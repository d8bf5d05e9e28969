"""What a precision costs is judged by what somebody stated or accepted, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelparity.errors import BadInputError
from modelparity.parity.results import (
    CellRecord,
    DecisionRecord,
    Mismatched,
    Passed,
    QualityRecord,
    Run,
    RunHeader,
    SampleRecord,
)
from modelparity.parity.results_json import append, cell_line, end_line, header_line, read_run
from modelparity.quality import lock as locks
from modelparity.quality.standard import Standard, standard_of
from modelparity.reports.view import verdict_line

IMAGES = tuple(f"image {index}" for index in range(12))
DB = tuple(20 + index / 10 for index in range(12))


def cell(changed: int = 0, sqnr=DB, name: str = "net-onnx-int8_dynamic", is_price: bool = True) -> CellRecord:
    samples = tuple(SampleRecord(image, "score", 0.1, db) for image, db in zip(IMAGES, sqnr, strict=True))
    decisions = (DecisionRecord("label", "labels", changed, 12, 0.3),)
    quality = QualityRecord(decisions, {"score": 20.5}, {"score": 20.0}, is_price=is_price)
    model, format, quantization = name.split("-")
    return CellRecord(
        name, model, format, quantization, "reduced", Passed(), samples=samples, quality=quality
    )


def run(*cells: CellRecord, require_quality: bool = False) -> Run:
    header = RunHeader(
        ("net",),
        (("onnx", "int8_dynamic"),),
        {"net": "weights of today"},
        expected=tuple(each.id for each in cells),
        require_quality=require_quality,
    )
    return Run(header, cells, 1.0)


def test_without_a_statement_quality_is_measured_and_not_judged():
    judged = standard_of((), folder=Path("/nonexistent")).judged(cell(changed=12))
    assert isinstance(judged.outcome, Passed)
    assert judged.claims == ()
    assert verdict_line(run(judged)).endswith("; quality: measured, not judged")


def test_require_quality_fails_a_run_that_nothing_judged():
    assert run(cell()).verdict == "pass"
    assert run(cell(), require_quality=True).verdict == "fail"
    judged = Standard(changed_decisions=0.1, stated_in="--allow").judged(cell())
    assert run(judged, require_quality=True).verdict == "pass"
    assert run(cell(is_price=False), require_quality=True).verdict == "pass"  # a float file costs nothing


@pytest.mark.parametrize(("changed", "green"), [(1, True), (2, False)])
def test_allow_bounds_the_share_of_changed_decisions(changed, green):
    judged = standard_of(["changed_decisions=0.1"], folder=Path("/nonexistent")).judged(cell(changed))
    assert judged.green == green
    assert judged.quality is not None
    assert judged.quality.judged_by == "--allow"
    (claim,) = judged.claims
    assert claim.name == "changed_decisions"
    assert verdict_line(run(judged)).endswith("; quality: judged by --allow")


def test_a_cell_that_failed_before_stays_as_it_was():
    failed = replace(cell(5), outcome=Mismatched())
    assert not Standard(changed_decisions=1.0, stated_in="--allow").judged(failed).green


def test_the_configuration_of_a_project_states_it(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.modelparity]\nallow = { changed_decisions = 0.25 }\n")
    standard = standard_of((), folder=tmp_path)
    assert (standard.changed_decisions, standard.stated_in) == (0.25, "[tool.modelparity]")


@pytest.mark.parametrize("text", ["changed_decisions=2", "changed_decisions=", "labels=0.1"])
def test_an_allowance_that_cannot_be_meant_is_refused(text):
    with pytest.raises(BadInputError):
        standard_of([text], folder=Path("/nonexistent"))


def test_a_lock_comes_back_as_it_was_written(tmp_path):
    lock = locks.locked(run(cell(), cell(name="net-onnx-fp32", is_price=False)))
    assert list(lock.cells) == ["net-onnx-int8_dynamic"]
    locks.write(lock, path := tmp_path / locks.NAME)
    assert locks.read(path) == lock
    assert locks.text_of(locks.read(path)) == path.read_text()


def test_a_failed_run_cannot_be_accepted():
    with pytest.raises(BadInputError, match="failed"):
        locks.locked(run(replace(cell(), outcome=Mismatched())))


@pytest.mark.parametrize("damage", ["", "margin_db = 1\n[cell]\n", "margin_db = 'x'\n", "]"])
def test_a_damaged_lock_is_one_line(tmp_path, damage):
    (path := tmp_path / locks.NAME).write_text(damage)
    with pytest.raises(BadInputError, match="not a lock"):
        locks.read(path)


def accepted(margin_db: float = 1.0) -> Standard:
    return Standard(lock=locks.locked(run(cell()), margin_db), weights={"net": "weights of today"})


@pytest.mark.parametrize(
    ("sqnr", "green"),
    [
        (DB, True),
        (tuple(db - 0.5 for db in DB), True),  # within the margin
        (tuple(db - 3 for db in DB), False),
        (tuple(db + (6 if index % 2 else -6) for index, db in enumerate(DB)), True),  # scatter, no loss
        (tuple(db - (8 if index else -2) for index, db in enumerate(DB)), False),  # all images but one lose
        (tuple(db + 9 for db in DB), True),
    ],
)
def test_a_run_is_worse_only_where_a_paired_test_says_so(sqnr, green):
    judged = accepted().judged(cell(sqnr=sqnr))
    (claim,) = judged.claims
    assert claim.name == "accepted"
    assert f"with probability {claim.observed:.2g}, and below {claim.bound:.2g}" in claim.detail
    assert judged.green == green, claim


def test_a_lock_judges_only_the_weights_and_images_that_were_accepted():
    assert not replace(accepted(), weights={"net": "others"}).judged(cell()).claims
    other = replace(cell(), samples=tuple(replace(s, sample=f"other {s.sample}") for s in cell().samples))
    assert not accepted().judged(other).claims


def test_quality_survives_the_record(tmp_path):
    judged = accepted().judged(cell(3))
    path = tmp_path / "run.jsonl"
    for line in (header_line(run(judged).header), cell_line(judged), end_line(1.0)):
        append(path, line)
    assert read_run(path).cells == (judged,)


def test_accept_writes_the_lock_of_a_run(tmp_path):
    from modelparity.quality.accept import accept

    for line in (header_line(run(cell()).header), cell_line(cell()), end_line(1.0)):
        append(tmp_path / "run.jsonl", line)
    accept(tmp_path, tmp_path / "parity.lock", 2.0)
    assert locks.read(tmp_path / "parity.lock").margin_db == 2.0
    with pytest.raises(BadInputError, match=r"no run\.jsonl"):
        accept(tmp_path / "nowhere", tmp_path / "parity.lock", 2.0)
