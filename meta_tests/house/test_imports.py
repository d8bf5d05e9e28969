"""No files import in a circle. (Which room may import which, `lint-imports` asserts: see pyproject.toml.)"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest

from meta_tests.house.sources import all_files, module_of, named_in


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """What each module of the repository imports of it, its own packages left out."""
    files = {module_of(path): path for path in all_files()}
    return {
        module: {
            name
            for name in named_in(path)
            if name in files and name != module and not module.startswith(f"{name}.")
        }
        for module, path in files.items()
    }


def test_no_files_import_in_a_circle(graph):
    """Imports inside functions and names given as strings count, too."""
    assert len(graph) > 300
    assert "modelparity.parity.results" in graph["modelparity.reports.view"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_a_circle_is_seen(graph):
    results, view = "modelparity.parity.results", "modelparity.reports.view"
    with pytest.raises(CycleError):
        TopologicalSorter({**graph, results: {*graph[results], view}}).prepare()
