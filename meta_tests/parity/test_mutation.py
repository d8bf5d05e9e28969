"""The mutation score can be high, and can fail: faults are noticed by the claims that should, or survive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meta_tests.miniatures.expected_claims import SEEN_BY, SEEN_IN_FLOAT16, SEEN_IN_INT8
from meta_tests.miniatures.miniature import FREE_SIZE, cell, session_of
from modelparity.commands.judging.mutate import Score, scored
from modelparity.converters.engine.workers import Worker, WorkerCrashedError
from modelparity.modelfiles.editor import Editor
from modelparity.modelfiles.mutations.plant import editor, plant
from modelparity.parity.cells import CheckBudget
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.mutation.catalogue import FAULTS
from modelparity.parity.mutation.first_failure import FailedClaimError, UntilFailed
from modelparity.parity.mutation.other_rules import RULES
from modelparity.parity.mutation.score import CHECK_BUDGET, Mutation
from modelparity.parity.reference import reference_key
from modelparity.parity.results import Claim, FaultRecord

# What the miniature has not: normalisations, resizes, GELU, softmax, residual sums, square weights.
NOT_THERE = {
    *("epsilon", "align_corners", "resize_mode", "gelu_tanh", "leaky_slope", "softmax_axis", "block_skipped"),
    *("square_transposed", "size_frozen"),
}


ALL = set(RULES)  # of other tools
HONEST = "honest"  # the miniature's right converter


def mutation_of(session, name=HONEST, quantization="fp32", foreseen=(), **options) -> Mutation:
    if quantization != "fp32":
        options = {"images": CheckBudget().images, **options}
    subject = session.subject("miniature")
    return Mutation(
        session.bench,
        session.truth("miniature"),
        cell(name, quantization),
        session.artifact("miniature", name, quantization),
        reference_key=reference_key(subject, session.evaluation_set("miniature")),
        calibration=session.calibration("miniature"),
        check_budget=replace(CHECK_BUDGET, **options),
        foreseen=foreseen,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def session(store):
    with session_of([HONEST], store) as session:
        yield session


@pytest.fixture(scope="module")
def mutation(session):
    return mutation_of(session)


def named(quantization: str) -> list[str]:
    return [name for name, fault in FAULTS.items() if quantization in fault.on and fault.task is None]


def test_the_catalogue_is_large_and_each_entry_has_its_reason():
    from modelparity.modelfiles.mutations import ports
    from modelparity.modelfiles.mutations import rounding as faults_rounded
    from modelparity.modelfiles.mutations import weights as faults_weights

    assert len(FAULTS) >= 30
    assert all(fault.because for fault in FAULTS.values())
    for fault in FAULTS.values():
        homes = (faults_weights, faults_rounded, ports, Editor)
        assert fault.plant == "truncated" or not fault.plant or any(hasattr(h, fault.plant) for h in homes)
        assert bool(fault.plant) != bool(fault.judged_as or fault.resampled)


def test_the_honest_file_is_green(mutation):
    honest = mutation.original()
    assert not honest.killed, honest.detail


@pytest.mark.parametrize("name", named("fp32"))
def test_a_fault_is_killed_by_the_claim_expected(mutation, name):
    *weaker, record = mutation.of(FAULTS[name])
    if name in NOT_THERE:
        assert record.missing
        return
    assert not record.missing
    assert record.visible
    assert record.killed
    # The miniature's first two outputs are of one shape, so that its ports look right when they are swapped.
    expected = "float_parity" if name == "outputs_swapped" else SEEN_BY[name]
    assert record.claim == expected, record.detail
    assert not weaker  # the weakest is enough


@pytest.mark.parametrize("name", SEEN_IN_INT8)
def test_a_fault_of_an_int8_file_is_killed_by_the_claim_expected(int8, name):
    *_, record = int8.of(FAULTS[name])
    assert record.killed
    assert record.claim == SEEN_IN_INT8[name], record.detail


@pytest.mark.parametrize("name", SEEN_IN_FLOAT16)
def test_a_fault_of_a_float16_file_is_killed_by_the_claim_expected(float16, name):
    *_, record = float16.of(FAULTS[name])
    assert record.killed
    assert record.claim == SEEN_IN_FLOAT16[name], record.detail


@pytest.mark.parametrize("name", ["int8_step", "int8_step_down", "bias_step", "weight_scale", "half_place"])
def test_what_hides_in_the_rounding_is_named(int8, float16, name):
    """A step is less than rounding did to the file, and the numbers at fault are in the claim's words."""
    (record,) = (float16 if name == "half_place" else int8).of(FAULTS[name])
    assert 0 < record.of_own_error < 1
    assert record.claim == "lineage_weights"
    assert record.named
    assert any(name in record.detail for name in record.names)


def test_a_file_is_observed_once_for_all_faults(store, monkeypatch):
    called = []
    call = Worker.call
    monkeypatch.setattr(Worker, "call", lambda *a, **kw: called.append(a[1]) or call(*a, **kw))
    with session_of([HONEST], store, "int8_static") as session:
        fresh = mutation_of(session, quantization="int8_static", draws=2)
        assert [fresh.of(FAULTS[name])[0].killed for name in ("activation_scale", "activation_zero_point")]
    assert called.count("modelparity.modelfiles.mutations.plant:plant") == 2
    assert called.count("modelparity.modelfiles.lineage:observed_ranges") == 1


@pytest.fixture(scope="module")
def float16(store):
    with session_of([HONEST], store, "fp16") as session:
        found = mutation_of(session, quantization="fp16")
        assert not found.original().killed, found.original().detail
        yield found


@pytest.fixture(scope="module")
def int8(store):
    with session_of([HONEST], store, "int8_static") as session:
        found = mutation_of(session, quantization="int8_static")
        assert not found.original().killed, found.original().detail
        yield found


def test_every_edit_changes_the_file(session, mutation, tmp_path):
    """Beyond what reading and writing it again changes."""
    source = session.artifact("miniature", HONEST, "fp32").path
    honest = tmp_path / "honest.onnx"
    editor("onnx", source).save(honest)
    for fault in (FAULTS[name] for name in named("fp32") if name not in NOT_THERE):
        if not fault.plant:
            continue
        options = dict(fault.options(mutation.truth))
        if fault.strengths:
            options["strength"] = fault.strengths[0]
        target = tmp_path / f"{fault.name}.onnx"
        assert plant("onnx", source, target, fault.plant, options=options)
        assert target.read_bytes() != honest.read_bytes(), fault.name


def test_without_the_claims_on_numbers_faults_survive(session, monkeypatch):
    """So the score can fail: what the judge does not ask, nobody notices."""
    monkeypatch.setattr("modelparity.parity.judge.Judge._parity", lambda *_: None)
    blind = mutation_of(
        session, images=2, batches=(2,)
    )  # another check_budget: nothing stored answers for it
    (record,) = blind.of(FAULTS["image_transposed"])  # black, the first image drawn, is not moved by it
    assert record.visible
    assert not record.killed
    assert record.survived
    assert not Score((record,), (), ()).passed


def test_what_only_rounds_otherwise_is_no_fault(session, monkeypatch):
    """A survivor is measured in float64, where the network can be fed what the file makes of the image."""
    monkeypatch.setattr("modelparity.parity.judge.Judge._parity", lambda *_: None)
    monkeypatch.setattr("modelparity.parity.judge.Judge._generated_inputs", lambda *_: None)
    monkeypatch.setattr("modelparity.parity.judge.structure.asked", lambda *_, **__: ([], {}))
    without = replace(KIND_CLAIMS["map"], constant_image=lambda *_: ([], {}))
    monkeypatch.setitem(KIND_CLAIMS, "map", without)
    blind = mutation_of(session, images=2, batches=(2,), draws=2)
    shifted = FAULTS["wrong_mean"]
    same = replace(shifted, name="same", feeds=lambda truth: truth.reference.feeds)
    (seen,), (unseen,) = blind.of(shifted), blind.of(same)
    assert seen.survived
    assert seen.observed > 1
    assert (unseen.visible, unseen.observed) == (False, 0)
    assert "the rest is rounding" in unseen.detail


def test_a_fault_in_a_dead_channel_is_planted_in_another(session, monkeypatch):
    planted = []

    def at(_self, fault, strength, place):
        planted.append((strength, place))
        moved = 0 if place < 2 else 9
        values = {"visible": moved > 1, "killed": moved > 1 and strength > 1.01}
        return record(**values, observed=moved, strength=strength)

    monkeypatch.setattr(Mutation, "_planted", at)
    found = mutation_of(session, draws=4).of(FAULTS["weight_row_scaled"])
    assert planted == [(1.01, 0), (1.01, 1), (1.01, 2), (1.02, 2)]
    assert [(one.strength, one.killed) for one in found] == [(1.01, False), (1.02, True)]


def test_a_declared_limitation_notices_nothing(store):
    """A file that fails a claim by declaration is scored all the same; that claim is no witness."""
    with session_of([HONEST], store) as session:
        declared = mutation_of(session, foreseen=["float_parity"], draws=5)
        (record,) = declared.of(FAULTS["patch_shifted"])  # the first claim that it fails
    assert record.survived
    assert record.observed > 8


def test_a_red_honest_file_fails_the_score(tmp_path):
    with session_of(["always_wrong"], tmp_path) as session:
        score = scored(session, ["miniature"], formats=["always_wrong"], faults=list(FAULTS.values()))
    assert [record.claim for record in score.red] == ["float_parity"]
    assert not score.faults
    assert not score.passed


def test_a_frozen_image_size_is_killed_where_any_size_is_promised(tmp_path):
    with session_of([HONEST], tmp_path, spec=FREE_SIZE) as session:
        found = mutation_of(session)
        assert not found.original().killed
        (record,) = found.of(FAULTS["size_frozen"])
    assert (record.killed, record.claim) == (True, "any_size")


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("sigmoid_twice", ALL),
        ("truncated", ALL),  # it does not load
        ("output_missing", ALL),
        ("output_renamed", ALL),  # our claim refuses it before it runs, so that it runs for the others
        ("float64", {"PyTorch Dynamo, float64"}),  # values are right; it alone minds the dtype
        ("int8_label", set()),  # the right file
    ],
)
def test_other_rules_are_asked_of_the_same_file(mutation, name, by):
    (record,) = mutation.of(FAULTS[name])
    assert {rule for rule, refused in record.refused_by.items() if refused} == by
    assert mutation.original().refused_by == dict.fromkeys(ALL, False)


def test_rules_for_float_files_refuse_a_right_file_of_integers(int8):
    refused = int8.original().refused_by
    assert refused["absolute, 1e-5"]
    assert refused["Polygraphy's default"]


def test_a_crash_is_a_kill(session, monkeypatch):
    crashed = mutation_of(session, draws=2)
    assert not crashed.original().killed

    def dies(*_args, **_options):
        raise WorkerCrashedError("run", "SIGSEGV", "the process died of SIGSEGV", "")

    monkeypatch.setattr("modelparity.converters.engine.workbench.Workbench.run", dies)
    (record,) = crashed.of(FAULTS["weight_row_zeroed"])
    assert record.killed
    assert record.claim == "runs"
    assert "SIGSEGV" in record.detail


def test_what_was_found_is_found_in_the_store(mutation, monkeypatch):
    first = mutation.of(FAULTS["bgr_for_rgb"])

    def never(*_args, **_options):
        raise AssertionError("run again")

    monkeypatch.setattr("modelparity.converters.engine.workbench.Workbench.run", never)
    assert mutation.of(FAULTS["bgr_for_rgb"]) == first


def test_the_judging_ends_at_the_first_claim_that_is_false():
    claims = UntilFailed()
    holds, undecided, fails = (Claim("one", s, 1, 1, "") for s in ("passed", "inconclusive", "failed"))
    claims += [holds, undecided]
    with pytest.raises(FailedClaimError):
        claims += [holds, fails, holds]
    assert list(claims) == [holds, undecided, holds, fails, holds]


def record(**values) -> FaultRecord:
    return FaultRecord("fault", "model", "onnx", "fp32", "because", **values)


@pytest.mark.parametrize(
    ("records", "passed"),
    [
        ([], False),
        ([record(visible=False, killed=False, missing="no such thing")], False),
        ([record(visible=True, killed=True)], True),
        ([record(visible=True, killed=True), record(visible=False, killed=False)], True),
        ([record(visible=True, killed=True), record(visible=True, killed=False)], False),
    ],
)
def test_a_score_passes_if_every_visible_fault_was_killed_and_any_was_asked(records, passed):
    assert Score(tuple(records), (), ()).passed is passed
