"""No claim of a real proof passes because nothing could have failed it.

The judge says of such a claim that it is not decided. Here each claim that passed is read once more, from the
record alone: its bound is a number that a wrong file exceeds, and it compared something.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from meta_tests.measurements.repeated_gates import cells_of
from meta_tests.miniatures.miniature import cell, one_process, session_of
from meta_tests.miniatures.triangles import MINIATURE
from modelparity.parity.judge import CheckBudget
from modelparity.parity.results import CellRecord, Claim, Passed
from modelparity.parity.session import Session

NO_NUMBERS = ("", "inf", "-inf", "nan")
# What a claim's words must count, of which there must be one at least.
COUNTED = {
    "lineage_weights": r"(\d+) (?:u?int8|float16)\b",
    "lineage_ranges": r"^(\d+) roundings",
    "network_weights": r"^of (\d+) layers",
    "generated_inputs": r"^(\d+) drawn inputs",
}
ROWS = {"detections": r"of (\d+) detections", "objects": r"^(\d+) objects"}  # half of which must not differ
DECIDED = re.compile(r"^(\d+) .*?, (\d+) with a margin beyond the bound")
PARITY = ("float_parity", "simulated", "label", "top_patches", "ranking")
SHARES = ("weight_share", "weight_count", "non_constant")  # at least 0 asks nothing


def vacuous(record: CellRecord) -> list[str]:
    """The claims that passed and could not have failed, each with the reason."""
    spreads = {c.output: c.observed for c in record.claims if c.name == "non_constant"}
    floors = {c.output: c.figures["floor"] for c in record.claims if c.name == "float_parity"}
    reasons = ((claim, _reason(claim, spreads, floors)) for claim in record.claims if claim.passed)
    return [
        f"{record.id}: {claim.name} {claim.output or ''}: {reason}" for claim, reason in reasons if reason
    ]


def _reason(claim: Claim, spreads: Mapping[str | None, object], floors: Mapping[str | None, object]) -> str:
    bound = claim.bound
    if bound is None or bound in NO_NUMBERS or (isinstance(bound, float) and not math.isfinite(bound)):
        return f"the bound is {bound!r}"
    if claim.name in COUNTED:
        counts = re.findall(COUNTED[claim.name], claim.detail or str(bound))
        if not sum(map(int, counts)):
            return "nothing was compared"
    if (decided := DECIDED.match(claim.detail)) and claim.unit == "bounds":
        return "" if int(decided[2]) else "no decision has a margin beyond the bound"
    if isinstance(bound, str):
        return ""
    if claim.name in ROWS:
        rows = re.search(ROWS[claim.name], claim.detail)
        return "" if rows and 2 * bound < int(rows[1]) else "half of the rows may differ"
    if claim.unit == "dB" and bound <= 0:
        return "noise as strong as the output would pass"
    if claim.name in SHARES and bound <= 0:
        return "any number would pass"
    floor, spread = floors.get(claim.output), spreads.get(claim.output)
    if claim.unit == "floors" and isinstance(floor, float) and isinstance(spread, float):
        return "" if bound * floor < spread else "an error as large as the output's spread would pass"
    return ""


@pytest.fixture(scope="module")
def records(shared_store) -> list[CellRecord]:
    """The cells of a real network, and a detector's."""
    check_budget = CheckBudget(convert_again=False)  # that a second file has the same bytes is no empty claim
    with Session(shared_store, check_budget=check_budget, workers=one_process()) as session:
        found = [session.prove(each) for each in cells_of(session, ["tiny_ladeda"])]
    check_budget = replace(check_budget, images=6, draws=1)
    spec = MINIATURE.configured({"score_threshold": 0.83})
    spec = replace(spec, outputs=(*spec.outputs[:2], replace(spec.outputs[2], dtype="int64")))
    with session_of(["honest"], shared_store, spec=spec, check_budget=check_budget) as session:
        return [*found, session.prove(cell("honest"))]


def test_no_claim_of_a_real_proof_is_vacuous(records):
    assert [record.status for record in records] == ["passed"] * 9
    assert [reason for record in records for reason in vacuous(record)] == []
    asked = {claim.name for record in records for claim in record.claims}
    assert asked >= {
        *COUNTED,
        *SHARES,
        "label",
        "ranking",
        "float_parity",
        "simulated",
        "detections",
        "objects",
    }


def test_every_kind_of_vacuous_claim_is_found_in_the_records(records):
    """Each claim of the real records in turn, emptied: so the test above could have failed."""
    emptied = set()
    for record in records:
        for place, claim in enumerate(record.claims):
            if (hollow := _emptied(claim)) is not None:
                claims = (*record.claims[:place], hollow, *record.claims[place + 1 :])
                assert len(vacuous(replace(record, claims=claims))) == 1, hollow
                emptied.add(claim.name)
    assert emptied >= {*COUNTED, *SHARES, *PARITY, *ROWS}


def _emptied(claim: Claim) -> Claim | None:
    """The claim as it would be had it compared nothing, or had it a bound that nothing exceeds."""
    if claim.name == "generated_inputs":
        return replace(claim, bound="0 drawn inputs hold")
    if claim.name in COUNTED:
        return replace(claim, detail=re.sub(r"\d+", "0", claim.detail))
    if claim.unit == "bounds":
        return replace(claim, detail=re.sub(r", \d+ with a margin", ", 0 with a margin", claim.detail))
    if claim.unit == "dB":
        return replace(claim, bound=-3.0)
    if claim.name in ROWS:
        return replace(claim, bound=500)
    if claim.name in SHARES:
        return replace(claim, bound=0)
    if claim.name == "float_parity":
        return replace(claim, bound=1e12)
    return replace(claim, bound=math.inf) if isinstance(claim.bound, float) else None


def test_a_claim_that_is_not_decided_is_not_vacuous():
    empty = Claim("simulated", "inconclusive", "not known", -3.0, "", unit="dB")
    record = CellRecord("a-onnx-fp32", "a", "onnx", "fp32", "reduced", Passed(), claims=(empty,))
    assert vacuous(record) == []
    assert len(vacuous(replace(record, claims=(replace(empty, status="passed"),)))) == 1
