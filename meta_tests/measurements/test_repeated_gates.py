"""False alarms are counted: other seeds are other questions, right files pass them, wrong ones do not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from meta_tests.measurements import measured_rows
from meta_tests.measurements.repeated_gates import (
    DATA,
    DOCUMENT,
    SEEDS,
    THREADS,
    Proof,
    document,
    efforts,
    nearest,
    proofs,
    ranges,
    room_of,
    rooms,
    written,
)
from meta_tests.miniatures.miniature import FLOAT, cell, session_of
from modelparity.converters.engine.workers import WorkerCrashedError
from modelparity.parity.judge import CheckBudget
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import Claim


def test_seeds_ask_something_else_and_right_files_pass(tmp_path):
    asked = [
        CheckBudget(images=3, draws=1, batches=(3,), convert_again=False, seed=s, threads=1 + s)
        for s in (0, 1)
    ]
    found, feeds = [], []
    for check_budget in asked:
        with session_of(["honest"], tmp_path, check_budget=check_budget) as session:
            found += proofs(session, ["miniature"])
            feeds.append(session.feeds("miniature"))
    assert [(proof.seed, proof.threads, proof.green) for proof in found] == [(0, 1, True), (1, 2, True)]
    pairs = zip(*feeds, strict=True)
    assert all((one["image"] != other["image"]).any() for one, other in pairs)


def test_an_alarm_is_counted_and_told(tmp_path):
    check_budget = CheckBudget(images=3, draws=1, batches=(3,), convert_again=False)
    with session_of(["always_wrong"], tmp_path / "store", check_budget=check_budget) as session:
        found = proofs(session, ["miniature"])
    assert not found[0].green
    assert "float_parity" in found[0].alarms[0]
    assert f"<= {FLOAT.floors:g} floors" in found[0].alarms[0]
    every = written(tmp_path, found)
    again = written(tmp_path, found)  # in the place of the same cell and seed
    assert every == again
    assert len((tmp_path / DATA).read_text(encoding="utf-8").splitlines()) == 1
    text = (tmp_path / DOCUMENT).read_text(encoding="utf-8")
    assert "1 false alarm in 1 proofs" in text
    assert cell("always_wrong").id in text


def test_states_of_the_harness_are_told_apart():
    proof = Proof("tiny-onnx-fp32", "abc", "before", 0, 1, "passed", True, 9)
    alarm = replace(proof, seed=1, status="failed", green=False, alarms=("sqnr score 3 >= 4 dB",))
    now = [replace(proof, harness=harness_digest(), seed=seed) for seed in (2, 3)]
    assert ranges((0, 1, 2, 14, 19, 18)) == "0 to 2, 14, 18 to 19"
    text = document([proof, alarm, *now])
    first, second = text.split("## Harness ")[1:]
    assert first.startswith(harness_digest())
    assert "0 false alarms in 2 proofs of 1 right files." in first
    assert "| 2 to 3 |" in first
    assert second.startswith("before")
    assert "1 false alarm in 2 proofs of 1 right files." in second
    assert "seed 1, 1 threads: sqnr score 3 >= 4 dB" in second


@pytest.mark.parametrize(
    ("observed", "bound", "unit", "sense", "room"),
    [
        (33.5, 30, "dB", ">=", 3.5),
        (29.0, 30, "dB", ">=", -1.0),
        (0.8, 8, "floors", "<=", 20.0),
        (0.0, 8, "floors", "<=", None),
        (0.5, 1, "bounds", "<=", 20 * math.log10(2)),
        (3, 7, "objects", "<=", 4.0),
        (0.9, 0.45, "", ">=", 20 * math.log10(2)),
        ("score", "score", "", "=", None),
        ("nan", 8, "floors", "<=", None),
        (4, 4, "", "=", None),
    ],
)
def test_the_room_between_a_number_and_its_bound(observed, bound, unit, sense, room):
    found = room_of(Claim("a", "passed", observed, bound, "a test", unit=unit, sense=sense))
    assert found == (None if room is None else pytest.approx(room))


def test_of_several_inputs_the_least_room_is_kept():
    made = [Claim("a", "passed", n, 1, "a test", "score", "dB", sense=">=") for n in (4, 2, 3)]
    assert rooms([*made, Claim("finite", "passed", 0, 0, "a test")]) == {"a score": 1}


def test_what_comes_near_is_told_before_it_is_an_alarm():
    by_name = {"far": (10, 11, 9, 10, 10), "near": (90, 1, 2, 3, 1), "same": (5, 5, 5, 5, 5), "few": (1,)}
    every = [
        Proof("tiny-onnx-fp32", "abc", "now", seed, 1, "passed", True, 9, (), {n: v[seed]})
        for n, v in by_name.items()
        for seed in range(len(v))
    ]
    (near, far) = nearest(every)
    assert near[:5] == ("tiny-onnx-fp32", "near", 5, 1, 2)
    assert near[5] == pytest.approx(2 / math.sqrt(2 / 3))  # the 90 raises no alarm
    assert far[1] == "far"
    assert "### Nearest to their bounds" in document(every)


def test_an_interrupt_ends_the_workers_in_one_line(tmp_path):
    session = session_of(["honest"], tmp_path)
    session.workers["torch"].call("os:getpid")

    def interrupted():
        with measured_rows.told(), measured_rows.measuring(session):
            raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="stopped"):
        interrupted()
    with pytest.raises(WorkerCrashedError):
        session.workers["torch"].call("os:getpid")


def test_twenty_proofs_of_which_the_first_is_the_gates_own():
    (first, *more) = efforts(*SEEDS)
    assert (first.seed, first.threads) == (CheckBudget().seed, CheckBudget().threads)
    assert len({check_budget.seed for check_budget in (first, *more)}) == 20
    assert {check_budget.threads for check_budget in more} == set(range(1, THREADS + 1))
