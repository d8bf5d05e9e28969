"""False alarms are counted: other seeds are other questions, right files pass them, wrong ones do not."""

from __future__ import annotations

import pytest

from converters.workers import WorkerCrashedError
from meta_tests.miniature import FLOAT, cell, session_of
from meta_tests.repeated_gates import DATA, DOCUMENT, SEEDS, THREADS, efforts, proofs, written
from parity.judge import Effort


def test_seeds_ask_something_else_and_right_files_pass(tmp_path):
    asked = [
        Effort(stream=3, draws=1, batches=(3,), convert_again=False, seed=s, threads=1 + s) for s in (0, 1)
    ]
    found, feeds = [], []
    for effort in asked:
        with session_of(["honest"], tmp_path, effort=effort) as session:
            found += proofs(session, ["miniature"])
            feeds.append(session.feeds("miniature"))
    assert [(proof.seed, proof.threads, proof.green) for proof in found] == [(0, 1, True), (1, 2, True)]
    pairs = zip(*feeds, strict=True)
    assert all((one["image"] != other["image"]).any() for one, other in pairs)


def test_an_alarm_is_counted_and_told(tmp_path):
    effort = Effort(stream=3, draws=1, batches=(3,), convert_again=False)
    with session_of(["always_wrong"], tmp_path / "store", effort=effort) as session:
        found = proofs(session, ["miniature"])
    assert not found[0].green
    assert "float_parity" in found[0].alarms[0]
    assert f"<= {FLOAT.floors:g} floors" in found[0].alarms[0]
    every = written(tmp_path, found)
    again = written(tmp_path, found)  # in the place of the same cell and seed
    assert every == again
    assert len((tmp_path / DATA).read_text(encoding="utf-8").splitlines()) == 1
    text = (tmp_path / DOCUMENT).read_text(encoding="utf-8")
    assert "1 false alarms in 1 proofs" in text
    assert cell("always_wrong").id in text


def test_an_interrupt_ends_the_workers(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    with session_of(["honest"], tmp_path) as session:
        session.workers["torch"].call("os:getpid")
        monkeypatch.setattr(session, "prove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            proofs(session, ["miniature"])
        with pytest.raises(WorkerCrashedError):
            session.workers["torch"].call("os:getpid")


def test_twenty_proofs_of_which_the_first_is_the_gates_own():
    (first, *more) = efforts(*SEEDS)
    assert (first.seed, first.threads) == (Effort().seed, Effort().threads)
    assert len({effort.seed for effort in (first, *more)}) == 20
    assert {effort.threads for effort in more} == set(range(1, THREADS + 1))
