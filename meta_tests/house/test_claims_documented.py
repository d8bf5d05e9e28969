"""Every claim that the sources make has its row in docs/claims.md, and every row its claim."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from meta_tests.house.sources import ROOT, files_of

# What makes a claim of the name that is its first argument, or its argument `claim`.
MAKERS = {"Claim", "Part", "same_bytes", "claim_of", "_claim", "_within", "_distances", "_at_least"}
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
COLUMNS = 5


def claims_of(tree: ast.AST) -> Iterator[str]:
    """The names of the claims that a source makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in MAKERS:
            named = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "claim")]
            yield from (n.value for n in named if isinstance(n, ast.Constant) and isinstance(n.value, str))


def test_the_table_has_all_claims_and_no_others():
    made = {name for path in files_of("parity") for name in claims_of(ast.parse(path.read_text("utf-8")))}
    rows = ROW.findall((ROOT / "docs" / "claims.md").read_text("utf-8"))
    assert len(made) > 30
    assert sorted(name for name, _ in rows) == sorted(made)
    for name, cells in rows:
        assert len([cell for cell in cells.split(" | ") if cell.strip()]) == COLUMNS - 1, name


def test_a_claim_of_another_name_is_made_by_a_maker():
    """A name that is computed would be missing from the table unseen, so it must come from an argument."""
    computed = set()
    for path in files_of("parity"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    called = isinstance(node, ast.Call) and ast.unparse(node.func) == "Claim"
                    if called and node.args and not isinstance(node.args[0], ast.Constant):
                        computed.add(function.name)
    # `_unless_cut_short` repeats the name of a claim that it is given.
    assert computed <= MAKERS | {"_unless_cut_short"}


def test_a_name_is_seen_however_it_is_given():
    source = 'Claim("a", 1); basic.same_bytes("b"); _within(1, claim="c"); Claim(name, "d"); other("e")'
    assert sorted(claims_of(ast.parse(source))) == ["a", "b", "c"]
