"""pytest fixtures: one session for all tests, one record a cell.

Heavy libraries are imported by the session, which the first test to ask for it opens, so
collecting stays fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from modelparity.session import Session
    from parity.cells import Cell
    from parity.results import CellRecord

# A session that outlives this pytest run: the gate's, when the gate runs the benchmarks.
OUTER: pytest.StashKey[Session] = pytest.StashKey()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a `cell` argument runs once for every cell, under the cell's id."""
    if "cell" in metafunc.fixturenames:
        from parity.cells import all_cells

        cells = all_cells()
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells], scope="session")


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """The gate's session, or one of this run's own."""
    outer = request.config.stash.get(OUTER, None)
    if outer is not None:
        yield outer
        return
    from modelparity.session import Session

    with Session() as own:
        yield own


@pytest.fixture(scope="session")
def record(cell: Cell, session: Session) -> CellRecord:
    """The cell's record, proven now or taken from the store."""
    return session.prove(cell)


@pytest.fixture
def assert_green() -> Callable[[CellRecord], None]:
    """Fails in the words of the report: which claim, how much, and how to see it again."""
    from reports.failures import failure_text
    from reports.view import Entry

    def check(record: CellRecord) -> None:
        __tracebackhide__ = True
        entry = Entry(record.id, record.model, record.format, record.quantization, record)
        if not record.green:
            pytest.fail(failure_text(entry), pytrace=False)

    return check
