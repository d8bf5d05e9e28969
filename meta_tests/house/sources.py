"""The sources of the repository: its files by room, and what each one imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = (
    *("fixtures", "modelfiles", "converters", "parity", "benchmarks", "reports", "serving"),
    "modelparity",
)
# "package.module:function", as workers and tables of formats are given it.
FUNCTION = re.compile(r"((?:modelparity|meta_tests)(?:\.\w+)+):\w+")


def files_of(room: str) -> list[Path]:
    """A room's Python files; those of other rooms, which `modelparity` links to, are left out."""
    folder = ROOT / room
    linked = [path for path in folder.iterdir() if path.is_symlink()]
    return sorted(p for p in folder.rglob("*.py") if not any(p.is_relative_to(link) for link in linked))


def all_files() -> list[Path]:
    """The Python files of all rooms and their tests."""
    return [path for room in (*ROOMS, "meta_tests") for path in files_of(room)]


def module_of(path: Path) -> str:
    """The one name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    root = () if parts[0] in ("modelparity", "meta_tests") else ("modelparity",)
    return ".".join((*root, *parts)).removesuffix(".__init__")


def named_in(path: Path) -> Iterator[str]:
    """Whatever a file imports, at its top or in a function, or names as "module:function".

    `from a import b` gives `a` and `a.b`, for `b` may be a module. Imports that only a type checker reads are
    left out.
    """
    for node in _run_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and (match := FUNCTION.fullmatch(str(node.value))):
            yield match[1]


def _run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    children = node.orelse if isinstance(node, ast.If) and typing else ast.iter_child_nodes(node)
    for child in children:
        yield from _run_nodes(child)


def loaded_by(code: str) -> set[str]:
    """The top-level packages in `sys.modules` after a new interpreter has run `code`."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}
