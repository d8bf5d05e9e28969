"""Each room says what it is, keeps its vocabulary, and loads nothing heavy before it is needed."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from meta_tests.house.sources import ROOMS, ROOT, files_of, loaded_by, named_in

HEAVY = {"torch", "onnx", "onnxruntime", "ai_edge_litert", "litert_torch"}
# Networks: imported by workers, by tests inside functions, and by measurements.
NETWORKS = {
    "crepe.py: torch",
    "endings_network.py: torch",
    "facenet_cascade.py: torch",
    "layer_networks.py: torch",
    "miniature_detector.py: torch",
    "miniature_network.py: torch",
    "mobilenet.py: torch",
    "networks_of_users.py: torch",
    "pesto.py: torch",
    "quantized_network.py: torch",
    "rxnmapper.py: torch",
    "seeded_networks.py: torch",
    "silero.py: torch",
    "torchvision_networks.py: torchvision",
    "transformer_networks.py: torch",
}


def test_results_are_standard_library_only():
    """So that reports, and any script, read a run without installing anything."""
    records = [path for path in files_of("parity") if path.stem.startswith("results")]
    assert len(records) >= 1
    for path in records:
        others = {
            name
            for name in named_in(path)
            if name.partition(".")[0] not in sys.stdlib_module_names
            and not name.startswith("modelparity.parity.results")
        }
        assert others <= {"modelparity.parity"}, path


@pytest.mark.parametrize(
    ("room", "word"),
    [("converters", "verdict"), ("parity", "onnxruntime"), ("parity", "litert"), ("reports", "tensor")],
)
def test_vocabulary_marks_the_room(room, word):
    said = [p for p in files_of(room) if re.search(word, p.read_text(encoding="utf-8"), re.IGNORECASE)]
    assert not said


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is(room):
    assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "code",
    [
        "import modelparity.parity.cells, modelparity.parity.limitations, modelparity.fixtures.models",
        "import modelparity.cli",
        "import modelparity.reports",
        "import modelparity.serving",
    ],
)
def test_listing_and_collecting_load_nothing_heavy(code):
    assert not HEAVY & loaded_by(code)


def test_every_test_module_collects_without_the_toolchains():
    """`pytest --collect-only` stays quick because no test module imports them at its top."""
    modules = [*files_of("meta_tests"), *(path for path in files_of("parity") if path.match("test_*.py"))]
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
    assert set(wrong) <= NETWORKS
