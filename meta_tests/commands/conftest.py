"""Commands run in the tests' own process, and their toolchains in one that stays from command to command."""

from __future__ import annotations

import pytest

from meta_tests.miniatures.miniature import one_process
from modelparity.converters.engine.workers import Workers


@pytest.fixture(scope="package", autouse=True)
def _warm_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelparity.parity.session.Workers", one_process)
        yield


@pytest.fixture
def own_processes(monkeypatch):
    """A command starts its own, as outside of these tests: for what a process finds when it starts."""
    monkeypatch.setattr("modelparity.parity.session.Workers", Workers)
