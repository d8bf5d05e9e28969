"""Every claim that the sources make has its row in docs/claims.md, and every row its claim."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from meta_tests.house.sources import ROOT, files_of

# What makes a claim of the name that is its first argument, or its argument `claim`.
MAKERS = {"Claim", "Part", "Decisions", "same_bytes", "_claim", "_within", "_distances"}
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
COLUMNS = 5
# Those that judge: the claims of a file, and those on what somebody stated or accepted of its quality.
SOURCES = [
    *files_of("parity"),
    *(path for path in files_of("modelparity") if path.is_relative_to(ROOT / "modelparity" / "quality")),
]


def claims_of(tree: ast.Module) -> Iterator[str]:
    """The names of the claims that a source makes."""
    constants = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in MAKERS:
            named = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "claim")]
            yield from (name for n in named if (name := _text(n, constants)) is not None)


def claims_in(path: Path) -> Iterator[str]:
    return claims_of(ast.parse(path.read_text("utf-8")))


def _constants(tree: ast.Module) -> dict[str, str]:
    """The texts of a module that have a name."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_the_table_has_all_claims_and_no_others():
    made = {name for path in SOURCES for name in claims_in(path)}
    rows = ROW.findall((ROOT / "docs" / "claims.md").read_text("utf-8"))
    assert len(made) > 30
    assert sorted(name for name, _ in rows) == sorted(made)
    for name, cells in rows:
        assert len([cell for cell in cells.split(" | ") if cell.strip()]) == COLUMNS - 1, name


def test_a_claim_of_another_name_is_made_by_a_maker():
    """A name that is computed would be missing from the table unseen, so it must come from an argument."""
    computed = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        constants = _constants(tree)
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    called = isinstance(node, ast.Call) and ast.unparse(node.func) == "Claim"
                    if called and node.args and _text(node.args[0], constants) is None:
                        computed.add(function.name)
    # `claim_of` names the claim of its `Decisions`; `_unless_cut_short` repeats that of a claim it is given.
    assert computed <= MAKERS | {"claim_of", "_unless_cut_short"}


def test_a_name_is_seen_however_it_is_given():
    source = (
        'NAME = "d"; Claim("a", 1); basic.same_bytes("b"); _within(1, claim="c"); Claim(NAME, 1); '
        'Decisions("e"); Claim(name, "f"); other("g")'
    )
    assert sorted(claims_of(ast.parse(source))) == ["a", "b", "c", "d", "e"]
