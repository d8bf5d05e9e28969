"""A store for tests that convert the same networks."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory) -> Path:
    """What one test converted here, others need not. Not for tests that change how files are judged."""
    return tmp_path_factory.mktemp("shared_store")
