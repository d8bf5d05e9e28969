"""A proof holds until something changes that its verdict hangs on, and no longer."""

from __future__ import annotations

import ast
from pathlib import Path

import parity.evidence
from meta_tests.miniature import cell, session_of
from parity.evidence import harness_digest, judge_digest, named_apart

ROOT = Path(__file__).parents[1]


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    members = {f"{node.module}.{alias.name}" for node in modules for alias in node.names}
    return plain | members | {node.module or "" for node in modules}


def test_what_is_named_apart_decides_by_nothing_but_its_part_of_the_key():
    """A bound reaches a judge as the tolerance of its cell, a network as its file and its reference."""
    apart = {path.resolve() for path in named_apart()}
    names = {f"{path.parent.name}.{path.stem}" for path in apart}
    assert "parity.expectations" in names
    assert {"fixtures.objectformer", "fixtures.fasterrcnn_boxes"} < names
    rest = [path for room in ("parity", "fixtures", "converters") for path in (ROOT / room).glob("*.py")]
    found = {path.name for path in rest if path.resolve() not in apart and _imported(path) & names}
    assert found == set()


def test_another_bound_asks_for_no_other_cell_s_proof(tmp_path, monkeypatch):
    sources = parity.evidence._sources()
    table = next(path for path in sources if path.name == "expectations.py")
    judges = [path for path in sources if path.name == "claims.py"]
    for left_out, another in (([table], False), (judges, True)):
        whole, part = harness_digest(), judge_digest()
        with monkeypatch.context() as patched:
            patched.setattr(
                parity.evidence, "_sources", lambda gone=left_out: [p for p in sources if p not in gone]
            )
            assert harness_digest() != whole
            assert (judge_digest() != part) == another


def test_another_bound_asks_for_the_proof_of_its_own_cell(tmp_path):
    with session_of(["honest"], tmp_path) as session:
        mine = cell("honest")
        key = session._evidence_key(mine).digest
        session.expectations = {mine: session.expectations[mine].__class__(9, 60, "other floors than before")}
        assert session._evidence_key(mine).digest != key
