"""Digests of source code: one hash over all modules that a result depends on.

The modules are found by following imports from the named ones, those inside functions included, and the
`"module:function"` strings that workers are given. A module counts by its syntax tree without docstrings, so
that another wording of a docstring or a comment changes no digest.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import re
from collections.abc import Collection, Iterator
from pathlib import Path

# Part of the keys' parts: nothing outside these packages is followed.
FIRST_PARTY = ("modelparity", "meta_tests")

# "package.module:function", or its beginning in an f-string.
_WORKER_FUNCTION = re.compile(rf"({'|'.join(FIRST_PARTY)})((?:\.[A-Za-z_]\w*)*):")


def source_digest(*modules: str, apart: Collection[str] = ()) -> str:
    """Returns 16 hexadecimal digits over the import closure of `modules`.

    `apart` are modules, or packages, that neither count nor are followed: what depends on them is named
    elsewhere in the key.
    """
    digest = hashlib.sha256()
    for module in closure(*modules, apart=apart):
        digest.update(f"{module}\0{_parsed(_source_of(module))[0]}\0".encode())
    return digest.hexdigest()[:16]


def closure(*modules: str, apart: Collection[str] = ()) -> list[str]:
    """The first-party modules that importing and running `modules` may load, sorted by name."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or _is_within(module, apart):
            continue
        found.add(module)
        waiting += _parsed(_source_of(module))[1]
    return sorted(found)


def is_first_party(module: str) -> bool:
    """Whether such a module of this project exists."""
    return module.partition(".")[0] in FIRST_PARTY and _file_of(module) is not None


def _is_within(module: str, packages: Collection[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _source_of(module: str) -> Path:
    path = _file_of(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module}")
    return path


@functools.cache
def _file_of(module: str) -> Path | None:
    """A module's file, found without importing it; None if there is none."""
    root, *parts = module.split(".")
    spec = importlib.util.find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(next(iter(spec.submodule_search_locations)), *parts)
    for path in (place / "__init__.py", place.with_suffix(".py") if parts else place):
        if path.is_file():
            return path
    return None


@functools.cache
def _parsed(path: Path) -> tuple[str, tuple[str, ...]]:
    """A file's syntax tree as text, without docstrings; and the first-party modules that it names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    _drop_docstrings(tree)
    return ast.dump(tree), tuple(dict.fromkeys(_named(tree)))


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]


def _named(tree: ast.AST) -> Iterator[str]:
    """First-party modules that a syntax tree imports or names as a worker's, with their packages."""
    for node in _run_nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (match := _WORKER_FUNCTION.match(node.value))
        ):
            names = ["".join(match.groups())]
        for name in names:
            if is_first_party(name):
                parts = name.split(".")
                yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.If) and _is_type_checking(node.test) and child in node.body:
                continue
            waiting.append(child)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
