"""Every bound has its reason wherever the source makes one, and so has every exception of a network."""

from __future__ import annotations

import ast
import dataclasses

import pytest

from meta_tests.house.sources import ROOMS, ROOT, files_of
from meta_tests.miniatures.miniature import session_of
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.models import KEEP_FLOAT
from modelparity.parity.claims.margins import Bound
from modelparity.parity.limitations import LIMITATIONS
from modelparity.parity.reference import FLOAT, ROUNDED, Multiples
from modelparity.parity.results import Claim, KeptFloat

# What makes a bound, or an exception from one, and the field that says why.
REASONS = {
    **dict.fromkeys((Claim, Multiples, Bound, KeepFloat, KeptFloat), "because"),
    Limitation: "reason",
}
# By its name, that field and its position among the arguments.
BOUNDS = {
    kind.__name__: (reason, [field.name for field in dataclasses.fields(kind)].index(reason))
    for kind, reason in REASONS.items()
}
LEAST = 12  # characters: "measured" is no reason


def unreasoned(tree: ast.AST) -> list[int]:
    """Lines that make a bound without a reason, or with one that says nothing."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in BOUNDS
        and not _says_why(node, *BOUNDS[node.func.id])
    ]


def _says_why(call: ast.Call, name: str, position: int) -> bool:
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(
        k.arg is None for k in call.keywords
    ):
        return True  # the values are made elsewhere, and checked there
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    reason = named.get(name, call.args[position] if len(call.args) > position else None)
    if reason is None:
        return False
    return not isinstance(reason, ast.Constant) or (
        isinstance(reason.value, str) and len(reason.value.strip()) >= LEAST
    )


@pytest.mark.parametrize("room", ROOMS)
def test_every_bound_in_the_source_has_its_reason(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files_of(room)
        for line in unreasoned(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "a bound without a reason"


@pytest.mark.parametrize(
    "line",
    [
        'Claim("threads", "passed", 1.2, 8, "")',
        'Claim("threads", "passed", 1.2, 8, because="   ", output="score")',
        'Claim("threads", "passed", 1.2, 8, because="measured")',
        "Multiples(most=8, typical=3)",
        'Multiples(8, 3, "")',
        "Multiples(8, 3, because=None)",
        'Limitation("run", "")',
        'Limitation(stage="run", reason="broken", issue="https://example.org/1")',
        'KeepFloat("Softmax", "")',
        'Bound(0.1, because="")',
    ],
)
def test_a_bound_without_one_is_refused(line):
    assert unreasoned(ast.parse(f"x = 1\n{line}")) == [2]


def test_every_table_says_why():
    reasons = {
        **{f"limitation of {cell.id}": limitation.reason for cell, limitation in LIMITATIONS.items()},
        "multiples of a float file": FLOAT.because,
        "multiples of a rounded one": ROUNDED.because,
        **{
            f"{key}: {entry.operator}": entry.because
            for key, entries in KEEP_FLOAT.items()
            for entry in entries
        },
    }
    assert len(reasons) > 35
    assert not [name for name, because in reasons.items() if len(because.strip()) < LEAST]


def test_every_claim_of_a_cell_says_why(tmp_path):
    """Reasons that are put together while a cell is judged, too."""
    from meta_tests.miniatures.miniature import cell

    with session_of(["honest"], tmp_path) as session:
        record = session.prove(cell("honest"))
    assert len(record.claims) > 15
    assert not [claim.name for claim in record.claims if len(claim.because.strip()) < LEAST]
    parity = [claim for claim in record.claims if claim.name == "float_parity"]
    for claim in parity:
        figures = claim.figures
        assert figures["error"] == pytest.approx(claim.observed * figures["floor"], rel=1e-3)
        # The bound in the record has three digits.
        assert figures["headroom"] == pytest.approx(claim.bound / claim.observed, rel=5e-3)
    assert len(parity) == 3
