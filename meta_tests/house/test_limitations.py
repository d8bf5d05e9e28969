"""A declared limitation is strict: it excuses one failure of one existing cell, and only as declared."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from meta_tests.house.sources import files_of
from meta_tests.house.test_claims_documented import claims_in
from meta_tests.miniatures.miniature import cell, session_of
from modelparity.fixtures.limitations import Limitation
from modelparity.parity.cells import all_cells
from modelparity.parity.limitations import LIMITATIONS
from modelparity.parity.results import CellRecord, Claim, Inconclusive, Mismatched, Unsupported

REASON = "known since the first version"
STAGES = {"convert", "load", "lineage", "run"}


def test_limitations_are_of_existing_cells():
    assert set(LIMITATIONS) <= set(all_cells())


def test_few_limitations():
    assert len(LIMITATIONS) <= 3


@pytest.mark.parametrize("limited", LIMITATIONS, ids=lambda limited: limited.id)
def test_a_limitation_names_a_stage_or_a_claim_and_says_why(limited):
    limitation = LIMITATIONS[limited]
    claims = {name for path in files_of("parity") for name in claims_in(path)}
    assert limitation.claims <= STAGES | claims
    assert len(limitation.reason) > 20


def test_a_limitation_has_no_number():
    assert {field.type for field in fields(Limitation)} == {"str", "tuple[str, ...]"}


@pytest.fixture(scope="module")
def proven(tmp_path_factory):
    """Proves a miniature's cell with a limitation that fails at `stage`; None for no limitation."""
    names = ["honest", "minds_threads", "fixed_batch", "segfaults"]
    with session_of(names, tmp_path_factory.mktemp("store")) as session:

        def prove(name: str, stage: str | None):
            known = {cell(name): Limitation(stage, REASON, "issue 1")} if stage else {}
            session.limitations = known
            return session.prove(cell(name))

        yield prove


@pytest.mark.parametrize(
    ("name", "stage", "without"),
    [("minds_threads", "threads", "mismatched"), ("segfaults", "run", "crashed")],
)
def test_a_cell_that_fails_as_declared_is_green(proven, name, stage, without):
    bare, limited = proven(name, None), proven(name, stage)
    assert (bare.status, bare.green) == (without, False)
    assert (limited.status, limited.green) == ("limitation", True)
    assert limited.outcome == Unsupported(stage, REASON, "issue 1")


@pytest.mark.parametrize(
    ("name", "stage", "status"),
    [
        ("minds_threads", "batch", "mismatched"),
        ("minds_threads", "run", "mismatched"),
        ("fixed_batch", "batch", "mismatched"),  # another claim fails, too
        ("segfaults", "load", "crashed"),
        ("segfaults", "threads", "crashed"),
    ],
)
def test_a_cell_that_fails_otherwise_is_red(proven, name, stage, status):
    record = proven(name, stage)
    assert (record.status, record.green) == (status, False)


def test_a_limitation_may_name_several_claims_and_all_of_them_fall_short():
    from modelparity.parity.prove import _limited

    claims = (
        Claim("simulated", "inconclusive", None, None, "ties move it as much as it varies"),
        Claim("better_than_constant", "failed", 2, 1, "it is lost"),
    )
    record = CellRecord("a", "m", "f", "q", "reduced", Mismatched(), claims=claims)
    both = Limitation("simulated", REASON, also=("better_than_constant",))
    assert _limited(record, both).status == "limitation"
    assert _limited(record, Limitation("simulated", REASON)).status == "mismatched"
    one = replace(record, outcome=Inconclusive("simulated"), claims=claims[:1])
    assert _limited(one, both).status == "inconclusive"


@pytest.mark.parametrize(("stage", "status"), [("simulated", "limitation"), ("batch", "inconclusive")])
def test_a_claim_that_is_not_decided_may_be_the_declared_one(stage, status):
    from modelparity.parity.prove import _limited

    claims = (
        Claim("finite", "passed", 0, 0, "it is"),
        Claim("simulated", "inconclusive", None, None, "ties move it as much as it varies"),
    )
    record = CellRecord("a", "m", "f", "q", "reduced", Inconclusive("simulated"), claims=claims)
    assert _limited(record, Limitation(stage, REASON)).status == status


def test_a_cell_that_does_not_fail_is_red_and_says_what_to_delete(proven):
    assert proven("honest", None).green
    record = proven("honest", "threads")
    assert (record.status, record.green) == ("mismatched", False)
    (gone,) = [claim for claim in record.claims if claim.status == "failed"]
    assert (gone.name, gone.bound) == ("limitation", "fails at threads")
    assert gone.detail.startswith(f"the limitation is gone: delete the entry of {record.id}")
