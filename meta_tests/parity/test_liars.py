"""Every rule has a miniature that breaks it, and is turned red by the claim that should see it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta_tests.miniatures.miniature import DECIDED, FREE_SIZE, UNDECIDED, cell, session_of
from meta_tests.miniatures.triangles import MINIATURE
from modelparity.converters.engine.workers import Workers
from modelparity.parity.cells import CheckBudget
from modelparity.parity.claims import metamorphic
from modelparity.parity.judge import Judge
from modelparity.parity.results import Cost, Crashed

# liar -> the claims (or crash) that must see it.
SEEN_BY = {
    "always_wrong": {"float_parity"},
    "drops_an_output": {"interface", "outputs"},
    "returns_nan": {"finite", "float_parity"},
    "swaps_outputs": {"float_parity"},
    "constant_output": {"float_parity", "better_than_constant"},
    "stale_artifact": {"float_parity"},
    "stale_biases": {"float_parity"},
    "fixed_batch": {"interface", "batch"},
    "minds_threads": {"threads"},
    "greys_out": {"constant_image"},
    "looks_around": {"padding"},
}
CRASHES = {"segfaults": "SIGSEGV", "hangs": "timeout"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def session(store):
    with session_of(["honest", *SEEN_BY], store) as session:
        yield session


@pytest.fixture(scope="module")
def int8_session(store):
    names = ["honest", "off_by_one_lsb", "greys_out", "truncates", "loses_outputs", "stale_biases"]
    with session_of(names, store, "int8_static") as session:
        yield session


def failed(record) -> set[str]:
    return {claim.name for claim in record.claims if claim.status == "failed"}


def test_the_honest_one_is_green(session):
    record = session.prove(cell("honest"))
    assert record.status == "passed", failed(record)
    assert {"interface", "float_parity", "batch", "repeatable", "constant_image", "padding"} <= {
        c.name for c in record.claims
    }


@pytest.mark.parametrize("liar", SEEN_BY)
def test_a_liar_is_red(session, liar):
    record = session.prove(cell(liar))
    assert record.status == "mismatched"
    assert failed(record) >= SEEN_BY[liar]


def test_the_first_claim_that_a_wrong_file_fails_names_the_conversion(session):
    """A lost output is an effect of it, and would read as if the precision were too coarse."""
    record = session.prove(cell("constant_output"))
    assert next(claim.name for claim in record.claims if claim.status == "failed") == "float_parity"


def test_an_output_with_nan_is_not_called_equal(session):
    record = session.prove(cell("returns_nan"))
    assert record.headline.startswith("NaN in ")


@pytest.mark.parametrize(
    ("images", "batches", "why"),
    [
        (2, (), "the check budget has no batch"),
        (2, (3,), "the evaluation set has 2 samples, and a batch 3 or more"),
    ],
)
def test_why_no_batch_is_asked(store, images, batches, why):
    check_budget = CheckBudget(images=images, batches=batches, draws=1, convert_again=False)
    with session_of(["honest"], store, check_budget=check_budget) as session:
        record = session.prove(cell("honest"))
    assert record.not_asked["batch"] == why
    assert "batch" not in {claim.name for claim in record.claims}


def test_only_claims_that_the_network_has_are_called_not_asked(int8_session, monkeypatch):
    """Of a file whose right outputs are not known, too."""
    monkeypatch.setattr("modelparity.parity.judge.rounded_reference", lambda *_, **__: "made up")
    session, of = int8_session, cell("honest", "int8_static")
    judge = Judge(
        session.bench,
        session.truth("miniature"),
        of,
        session.artifact("miniature", "honest", "int8_static").path,
        check_budget=session.check_budget,
        calibration=session.calibration("miniature"),
    )
    judge.judge()
    (claim,) = [claim for claim in judge.claims if claim.status != "passed"]
    assert (claim.name, claim.status) == ("simulated", "inconclusive")
    unknown = {name for name, why in judge.not_asked.items() if why == metamorphic.NOT_KNOWN}
    assert unknown == {"batch", "constant_image", "padding", "threads", "kernels"}  # and no detections


def test_a_frozen_image_size_is_red_where_any_size_is_promised(tmp_path):
    with session_of(["honest", "frozen_size"], tmp_path, spec=FREE_SIZE) as session:
        honest, liar = (session.prove(cell(name)) for name in ("honest", "frozen_size"))
    assert honest.status == "passed", failed(honest)
    assert "any_size" in {claim.name for claim in honest.claims}
    assert failed(liar) == {"any_size"}


def test_a_detector_that_finds_nothing_must_say_so(tmp_path):
    """Its threshold is such that it finds nothing in a grey image, and nothing in two of six photographs."""
    spec = MINIATURE.configured({"score_threshold": 0.83})
    spec = replace(spec, outputs=(*spec.outputs[:2], replace(spec.outputs[2], dtype="int64")))
    # Without suppression equal scores come in any order: only black, the first drawn image, is looked at.
    check_budget = CheckBudget(images=6, draws=1, convert_again=False)
    liars = ["sees_ghosts", "pads_oddly"]
    with session_of(["honest", *liars], tmp_path, spec=spec, check_budget=check_budget) as session:
        scores = session.truth("miniature").reference.outputs["score"]
        honest, ghosts, odd = (session.prove(cell(name)) for name in ("honest", *liars))
    assert sorted(bool(score.any()) for score in scores) == [False] * 2 + [True] * 4
    assert failed(honest) == set()
    asked = {claim.name: claim for claim in honest.claims}
    assert asked["no_object"].passed
    assert asked["float_parity"].figures["error"] > 0
    assert "no_object" in failed(ghosts)
    assert failed(odd) == {"no_object"}


def test_int8_that_is_one_step_off_is_red_where_right_int8_is_green(int8_session):
    honest = int8_session.prove(cell("honest", "int8_static"))
    liar = int8_session.prove(cell("off_by_one_lsb", "int8_static"))
    assert honest.status == "passed", failed(honest)
    assert liar.status == "mismatched"
    # The simulation rounds to the file's own weights, and agrees with any.
    # One step more may be too much for two products in 16 bits.
    assert failed(liar) == {"lineage_weights", "network_weights", "saturation"}


def test_int8_of_biases_that_are_not_the_network_s_is_red(int8_session):
    """The simulation adds the file's own biases, and the float file that it was made from has them, too."""
    liar = int8_session.prove(cell("stale_biases", "int8_static"))
    assert liar.status == "mismatched"
    assert failed(liar) == {"network_weights"}


def test_int8_that_is_right_on_photographs_alone_is_red(int8_session):
    """Nothing else asks an int8 file for its numbers on an image that is no photograph."""
    liar = int8_session.prove(cell("greys_out", "int8_static"))
    assert failed(liar) == {"constant_image"}


def test_a_runtime_that_truncates_is_seen_against_the_simulated_rounding(int8_session):
    """And by nothing else: it costs 2 dB, its file is right, and fast and plain kernels agree."""
    honest = int8_session.prove(cell("honest", "int8_static"))
    liar = int8_session.prove(cell("truncates", "int8_static"))
    assert {"simulated"} <= failed(liar) <= {"simulated", "constant_image", "padding"}
    assert honest.quality.sqnr_db["mask"] - liar.quality.sqnr_db["mask"] < 3


def test_int8_whose_outputs_are_constant_is_red(int8_session):
    """Whatever it is for. The runtime computes what the file says, so that `simulated` has nothing to say."""
    liar = int8_session.prove(cell("loses_outputs", "int8_static"))
    assert liar.status == "mismatched"
    assert failed(liar) == {"lineage_ranges", "better_than_constant"}
    lost = {
        claim.output for claim in liar.claims if claim.name == "better_than_constant" and not claim.passed
    }
    assert lost == {"score", "doubt", "mask"}
    assert {claim.status for claim in liar.claims if claim.name == "simulated"} == {"passed"}


@pytest.mark.parametrize("quantization", ["fp32", "int8_static"])
def test_one_label_for_every_image_is_red_where_the_network_gives_two(tmp_path, quantization):
    """On photographs the network itself always says no, so it is fed images on which it says yes."""
    with session_of(["honest", "always_no"], tmp_path, quantization, DECIDED) as session:
        reference, others = (getattr(session.truth("miniature"), name) for name in ("reference", "opposite"))
        honest, liar = (session.prove(cell(name, quantization)) for name in ("honest", "always_no"))
    assert max(float(score.max()) for score in reference.outputs["score"]) < 0.499
    assert min(float(score.min()) for score in others.outputs["score"]) > 0.5
    assert honest.status == "passed", failed(honest)
    assert liar.status == "mismatched"
    assert failed(liar) == {"label"}


@pytest.mark.parametrize("quantization", ["fp32", "int8_static"])
def test_one_label_for_every_image_is_not_decided_where_the_network_gives_no_other(tmp_path, quantization):
    """So nobody can tell the right file from the liar, and neither passes."""
    with session_of(["honest", "always_no"], tmp_path, quantization, UNDECIDED) as session:
        assert session.truth("miniature").opposite is None
        records = [session.prove(cell(name, quantization)) for name in ("honest", "always_no")]
    for record in records:
        assert record.status == "inconclusive"
        assert not record.green
        assert "label of doubt is not decided: all 6 alike in the reference" in record.outcome.reason
        assert {claim.name for claim in record.claims if not claim.passed} == {"label"}


def test_a_crashed_or_hung_neighbour_changes_no_other_cell(store, session, tmp_path):
    """The same cells with and without the two, side by side in the gate's own lanes."""
    from modelparity.parity.prove_cells import prove_all

    quiet = session.prove(cell("honest"))
    lanes = ["segfaults", "honest", "hangs", "honest_too"]
    seen = []
    with session_of(lanes, tmp_path, run_timeout_s=1.5, workers=Workers()) as crowded:
        cells = [cell(name) for name in lanes]
        record_file = tmp_path / "run.jsonl"
        prove_all(crowded, cells, record_file, lambda record, *_: seen.append(record.id))
        records = {
            record.format: record for record in prove_all(crowded, cells, record_file, lambda *_: None)
        }
    assert len(seen) == len(lanes)
    for name, signal in CRASHES.items():
        outcome = records[name].outcome
        assert isinstance(outcome, Crashed)
        assert (outcome.stage, outcome.signal) == ("run", signal)
    assert comparable(records["honest"]) == comparable(quiet)
    assert records["honest_too"].claims == quiet.claims


def comparable(record):
    """The record apart from what it cost and whether it was stored."""
    return replace(record, cost=Cost(), cached=False)
