"""The reports of a green run and of one with every status."""

from __future__ import annotations

import pytest

from meta_tests.miniatures.sample_run import green_run, mixed_run
from meta_tests.reports.rendering import rendered


@pytest.fixture(scope="package")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return rendered(mixed_run(), tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="package")
def green(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return rendered(green_run(), tmp_path_factory.mktemp("green"))
