"""A device's outputs are judged as the file is judged here, and what is not right of them fails."""

from __future__ import annotations

import numpy as np
import pytest

from meta_tests.commands.device.conftest import CELLS
from meta_tests.commands.device.device import answer, failed
from modelparity.device.command import NOT_ASKED
from modelparity.device.recorded import RecordedRuns


@pytest.mark.parametrize("which", CELLS)
def test_a_right_device_passes_the_claims_that_the_file_passes_here(cases, which):
    case = cases[which]
    found = case.judge()
    assert found.verdict == "pass", failed(found)
    here = case.session.prove(case.target.cell)
    asked, not_asked = ({claim.name: claim for claim in record.claims} for record in (found.record, here))
    assert not_asked.keys() - asked.keys() <= {"kernels"}
    for name in ("outputs", "finite", "non_constant", "batch", "repeatable", "threads", "generated_inputs"):
        assert (name in asked) == (name in not_asked)
    assert found.record.not_asked.keys() >= NOT_ASKED.keys()
    # The same numbers, for it is the same runtime.
    assert [c.observed for c in found.record.claims if c.name == "float_parity"] == [
        c.observed for c in here.claims if c.name == "float_parity"
    ]


@pytest.mark.parametrize("which", CELLS)
def test_a_device_is_asked_for_what_the_judge_asks_and_for_nothing_else(cases, which, monkeypatch):
    case = cases[which]
    made: list[RecordedRuns] = []
    monkeypatch.setattr(
        "modelparity.device.command.RecordedRuns",
        lambda *arguments: made.append(RecordedRuns(*arguments)) or made[-1],
    )
    case.judge()
    (recorded,) = made
    assert recorded.times.keys() == {run.key for run in case.runs}
    first = case.runs[0].key
    assert recorded.times[first] == sum(run.key == first for run in case.runs) == 3


def of_runs(case, change, *numbers) -> None:
    """Writes the outputs again, those of some runs (all, if none is named) changed."""

    def run(entry, inputs):
        outputs = case.run(entry, inputs)
        return change(dict(outputs)) if not numbers or int(entry["run"]) in numbers else outputs

    answer(case.feeds, case.outputs, run)


def scaled(outputs):
    return {**outputs, "score": np.asarray(outputs["score"] * np.float32(1.01), np.float32)}


def test_a_device_that_computes_something_else_fails(case):
    of_runs(case, scaled)
    assert "float_parity" in failed(case.judge())


def test_a_nan_is_a_failed_claim(case):
    of_runs(case, lambda outputs: {**outputs, "mask": np.full_like(outputs["mask"], np.nan)}, 2)
    found = case.judge()
    assert found.verdict == "fail"
    assert failed(found) >= {"finite", "float_parity"}


@pytest.mark.parametrize(
    ("words", "claim"),
    [
        (", again", "repeatable"),
        ("loaded anew", "reloadable"),
        ("2 threads", "threads"),
        ("a batch of 5", "batch"),
    ],
)
def test_a_run_in_another_setting_that_gives_something_else_fails_its_claim(case, words, claim):
    of_runs(case, scaled, case.again(words))
    assert failed(case.judge()) == {claim}


def test_a_generated_image_that_fails_is_not_shrunk(case):
    """Its shrunk forms were never recorded."""
    drawn = case.again("loaded anew") + 1
    of_runs(case, lambda outputs: {n: np.full_like(v, np.inf) for n, v in outputs.items()}, drawn)
    found = case.judge()
    assert failed(found) == {"generated_inputs"}
    (claim,) = [claim for claim in found.record.claims if claim.name == "generated_inputs"]
    assert claim.observed == "constant black"


def test_an_error_on_the_device_fails_what_needs_the_run(case):
    number = case.again("a batch of 5")
    (case.outputs / f"{number:03}-error.txt").write_text("out of memory\nwhile allocating")
    found = case.judge()
    assert failed(found) == {"batch"}
    (claim,) = [claim for claim in found.record.claims if claim.status == "failed"]
    assert "on the device: out of memory" in claim.observed


def test_an_error_on_the_evaluation_set_ends_the_judging(case):
    (case.outputs / "003-error.txt").write_text("no such operator")
    found = case.judge()
    assert failed(found) == {"runs"}
    assert "no such operator" in found.record.claims[-1].detail


def test_the_record_says_what_the_device_says_of_itself(case):
    assert case.judge().record.ran_on == {}  # and nothing of this machine
    (case.outputs / "device.json").write_text('{"device": "Pixel 9", "threads": 4}')
    assert case.judge().record.ran_on == {"device": "Pixel 9", "threads": "4"}


def test_a_judge_asks_a_device_for_what_was_recorded_alone(case):
    recorded = RecordedRuns(case.outputs, {"runs": case.entries}, case.runs)
    with pytest.raises(LookupError, match="no device was asked for"):
        recorded([{"image": np.zeros((1, 3, 32, 32), np.float32) + 0.123}])
