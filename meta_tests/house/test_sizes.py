"""No file, folder or parameter list is too long to be taken in at a look."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta_tests.house.sources import ROOMS, ROOT, all_files, files_of

LINES, MODULES, POSITIONAL = 400, 15, 4
# Functions that may take more, and why.
EXEMPT = {"forward": "the tracers and hooks of torch bind what a module is given by position"}


def test_no_file_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in all_files()}
    assert len(lengths) > 300
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LINES}


def test_no_folder_is_crowded():
    modules = Counter(path.parent for path in all_files() if path.name != "__init__.py")
    assert not {str(path.relative_to(ROOT)): n for path, n in modules.items() if n > MODULES}


@pytest.mark.parametrize("room", ROOMS)
def test_no_function_takes_many_positional_arguments(room):
    """Beyond four, parameters are keyword-only, so that a call can be read without looking them up."""
    assert not [line for path in files_of(room) for line in _crowded_signatures(path)]


def _crowded_signatures(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > POSITIONAL and node.name not in EXEMPT:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name} takes {count}"
