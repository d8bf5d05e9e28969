"""False alarms are counted: right files pass on other seeds, and wrong files do not."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

from meta_tests.measurements import measured_rows
from meta_tests.measurements.repeated_gates import (
    DATA,
    DOCUMENT,
    SEEDS,
    THREADS,
    Proof,
    cells_of,
    document,
    efforts,
    nearest,
    proofs,
    ranges,
    room_of,
    rooms,
    written,
)
from meta_tests.miniatures.miniature import cell, session_of
from modelparity.converters.engine.workers import WorkerCrashedError
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import FLOAT as FLOAT_RECIPE
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.reference import FLOAT
from modelparity.parity.results import CellRecord, Claim, Crashed, outcome_of


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
    (alarm,) = [alarm for alarm in found[0].alarms if alarm.startswith("float_parity mask")]
    assert alarm.endswith(f"<= {FLOAT.most:.1f} floors")
    every = written(tmp_path, found)
    again = written(tmp_path, found)  # in the place of the same cell and seed
    assert every == again
    assert len((tmp_path / DATA).read_text(encoding="utf-8").splitlines()) == 1
    text = (tmp_path / DOCUMENT).read_text(encoding="utf-8")
    assert "1 false alarm in 1 proofs" in text
    assert cell("always_wrong").id in text


def test_states_of_the_harness_are_told_apart():
    proof = Proof("tiny-onnx-fp32", "abc", "before", 0, 1, "passed", True, 9)
    alarm = replace(proof, seed=1, status="failed", green=False, alarms=("simulated score 3 >= 4 dB",))
    now = [replace(proof, harness=harness_digest(), seed=seed) for seed in (2, 3)]
    assert ranges((0, 1, 2, 14, 19, 18)) == "0 to 2, 14, 18 to 19"
    text = document([proof, alarm, *now])
    first, second = text.split("## Harness ")[1:]
    assert first.startswith(harness_digest())
    assert "0 false alarms in 2 proofs of 1 right files." in first
    assert "| 2 to 3 |" in first
    assert second.startswith("before")
    assert "1 false alarm in 2 proofs of 1 right files." in second
    assert "seed 1, 1 threads: simulated score 3 >= 4 dB" in second


def test_what_is_not_decided_is_no_alarm_and_is_told(tmp_path):
    known = Proof("tiny-onnx-fp32", "abc", "before", 0, 1, "passed", True, 9)
    open_ = replace(known, seed=1, status="inconclusive", green=False, undecided=("label score",))
    text = document([known, open_])
    assert "0 false alarms in 2 proofs of 1 right files. In 1 of the proofs, claims are not decided." in text
    assert "| 0 | | 1 | label score |" in text
    assert written(tmp_path, [known, open_]) == written(tmp_path, []) == [known, open_]


def test_a_claim_that_is_not_decided_is_counted_apart():
    """A file that always says the same, where the network does, too: its label could not be wrong."""
    made = [
        Claim("label", "inconclusive", "all 3 alike", "no flip beyond the bound", "a test", "score"),
        Claim("simulated", "inconclusive", -1.0, -2.0, "a test", "score", "dB", sense=">="),
    ]
    record = CellRecord("a-b-c", "a", "b", "c", "full", outcome_of(made), tuple(made))
    (found,) = proofs(_Session(record), ["a"])
    assert (found.green, found.status, found.alarms) == (False, "inconclusive", ())
    assert found.undecided == ("label score", "simulated score")
    assert found.room == {}
    failed = [replace(made[0], status="failed"), made[1]]
    (found,) = proofs(_Session(replace(record, claims=tuple(failed), outcome=outcome_of(failed))), ["a"])
    assert found.alarms == ("label score all 3 alike = no flip beyond the bound",)
    assert found.undecided == ("simulated score",)
    crashed = replace(record, claims=(), outcome=Crashed("run", "SIGSEGV", "the process died"))
    (found,) = proofs(_Session(crashed), ["a"])
    assert "SIGSEGV" in found.alarms[0]


class _Session:
    """Proves one cell, by giving a record that is known."""

    check_budget = CheckBudget()
    models: ClassVar = {"a": None, "other": None}

    def __init__(self, record: CellRecord) -> None:
        some = replace(CONVERTERS["onnx"], quantizations=(FLOAT_RECIPE,))
        self.bench = SimpleNamespace(converters={"b": some})
        self.record = record
        self.asked: list[Cell] = []

    def prove(self, cell: Cell) -> CellRecord:
        self.asked.append(cell)
        return self.record


def test_cells_are_what_the_converters_make_of_the_models():
    session = _Session(CellRecord("a-b-c", "a", "b", "c", "full", Crashed("run", "SIGSEGV", "died")))
    proofs(session, ["a"])
    assert session.asked == [Cell("a", "b", FLOAT_RECIPE)]
    session.bench.converters["whole"] = CONVERTERS["onnx"]
    assert cells_of(session, ["other"]) == [
        Cell("other", "b", FLOAT_RECIPE),
        *(Cell("other", "whole", quantization) for quantization in QUANTIZATIONS),
    ]
    assert cells_of(session, []) == []


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
        (0.9, 0, "of the signal", ">=", 0.9),
        (-0.15, 0, "of the signal", ">=", -0.15),
        (-3.0, -9.0, "dB", ">=", 6.0),
        (212, 300, "pixels", "<=", 88.0),
        (0, 2, "labels", "<=", 2.0),
        (0.5, 2, "errors", "<=", 20 * math.log10(4)),
        ("inf", 21.5, "dB", ">=", None),
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
