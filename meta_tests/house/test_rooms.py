"""The house: imports point one way, vocabulary marks the room, nothing heavy loads at collection."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"fixtures", "converters", "parity", "benchmarks", "reports", "serving", "modelparity", "meta_tests"}
MAY_IMPORT = {
    "fixtures": set(),
    "converters": {"fixtures"},
    "parity": {"fixtures", "converters"},
    "benchmarks": {"fixtures", "converters", "parity"},
    "reports": {"parity"},
    "serving": {"fixtures", "converters"},
}
# Names that only annotate are not needed at run time.
ANNOTATED_ONLY = {("benchmarks", "modelparity")}


def imports_of(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    allowed = MAY_IMPORT[room] | {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imports_of(path)
        if (top := name.partition(".")[0]) in ROOMS - allowed and (room, top) not in ANNOTATED_ONLY
    ]
    assert not wrong


def test_reports_know_only_the_results_of_parity():
    for path in (ROOT / "reports").rglob("*.py"):
        assert {name for name in imports_of(path) if name.startswith("parity")} <= {
            "modelparity.parity.results"
        }, path


def test_results_are_standard_library_only():
    third_party = {
        name.partition(".")[0] for name in imports_of(ROOT / "parity" / "results.py")
    } - sys.stdlib_module_names
    assert not third_party


@pytest.mark.parametrize(
    ("room", "word"),
    [("converters", "tolerance"), ("parity", "onnxruntime"), ("parity", "litert"), ("reports", "tensor")],
)
def test_vocabulary_marks_the_room(room, word):
    said = [
        p
        for p in (ROOT / room).rglob("*.py")
        if re.search(word, p.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert not said


@pytest.mark.parametrize("room", sorted(ROOMS - {"meta_tests"}))
def test_a_room_says_what_it_is(room):
    assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import modelparity.parity.cells, modelparity.parity.expectations, modelparity.fixtures.specs",
        "import modelparity.cli",
        "import reports",
        "import serving",
    ],
)
def test_listing_and_collecting_load_nothing_heavy(code):
    assert not {"torch", "onnx", "onnxruntime", "ai_edge_litert", "litert_torch"} & loaded_by(code)


def test_every_test_module_collects_without_the_toolchains():
    """`pytest --collect-only` stays quick because no test module imports them at its top."""
    modules = [*(ROOT / "meta_tests").glob("*.py"), *(ROOT / "parity").glob("test_*.py")]
    heavy = {"torch", "litert_torch", "torchvision"}
    wrong = []
    for path in modules:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            wrong += [f"{path.name}: {name}" for name in names if name.partition(".")[0] in heavy]
    assert set(wrong) <= {
        "miniature_network.py: torch",
        "quantized_network.py: torch",
        "miniature_detector.py: torch",
    }
