"""The pytest plugin: one session for all tests, and one record for each cell.

The session imports heavy libraries. The first test that asks for it opens it, so collecting stays fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modelparity.parity.cells import Cell
    from modelparity.parity.results import CellRecord
    from modelparity.parity.session import Session

# A session that outlives this pytest run: the gate's, when the gate runs the benchmarks.
OUTER: pytest.StashKey[Session] = pytest.StashKey()
CELLS: pytest.StashKey[tuple[Cell, ...]] = pytest.StashKey()  # that session's, instead of all


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a `cell` argument runs once for every cell, under the cell's id."""
    if "cell" in metafunc.fixturenames:
        from modelparity.parity.cells import all_cells

        cells = metafunc.config.stash.get(CELLS, None) or all_cells()
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells], scope="session")


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """The gate's session if the gate runs these tests; otherwise a session of this run."""
    outer = request.config.stash.get(OUTER, None)
    if outer is not None:
        yield outer
        return
    from modelparity.parity.session import Session

    with Session() as own:
        yield own


@pytest.fixture(scope="session")
def records(request: pytest.FixtureRequest, session: Session) -> Mapping[str, CellRecord]:
    """The records of all cells that this run's tests use, by cell id, proven as the gate proves them."""
    from modelparity.parity.cells import all_cells
    from modelparity.parity.prove_cells import prove_all

    asked = {
        item.callspec.params["cell"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "record" in item.fixturenames
    }
    wanted = [cell for cell in all_cells() if cell in asked]
    file = request.getfixturevalue("tmp_path_factory").mktemp("cells") / "run.jsonl"
    return {record.id: record for record in prove_all(session, wanted, file, lambda *_: None)}


@pytest.fixture
def record(cell: Cell, records: Mapping[str, CellRecord]) -> CellRecord:
    """The cell's record, proven now or taken from the store."""
    return records[cell.id]


@pytest.fixture
def assert_green() -> Callable[[CellRecord], None]:
    """Fails a test with the report's text: which claim failed, by how much, and how to reproduce it."""
    from modelparity.reports.failures import failure_text
    from modelparity.reports.view import Entry

    def check(record: CellRecord) -> None:
        __tracebackhide__ = True
        entry = Entry(record.id, record.model, record.format, record.quantization, record)
        if not record.green:
            pytest.fail(failure_text(entry), pytrace=False)

    return check
