"""A training's folder and a dataset, and a miniature in the place of Faster R-CNN."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from meta_tests.commands.run_directory.conversion import configured
from meta_tests.miniatures.triangles import MINIATURE, run_directory, triangles_dataset
from modelparity.fixtures.models import MODELS


@pytest.fixture(scope="package", autouse=True)
def _miniature(world):
    """The miniature for Faster R-CNN."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "fasterrcnn", MINIATURE)
        patch.setenv("MODELPARITY_STORE", str(world / "store"))
        yield


@pytest.fixture(scope="package")
def world(tmp_path_factory) -> Path:
    """A dataset and a run, with EMA weights; a store, so that each artifact is made once."""
    folder = tmp_path_factory.mktemp("world")
    triangles_dataset(folder / "triangles_dataset_small")
    run_directory(folder / "run", MINIATURE)
    return folder


@pytest.fixture
def run(world, tmp_path) -> Path:
    """A run of one's own, nothing converted yet."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    shutil.copy(world / "run" / "best_model.pth", tmp_path / "run")
    return configured(tmp_path / "run")


@pytest.fixture(scope="package")
def dataset(world) -> Path:
    return world / "triangles_dataset_small"


@pytest.fixture(scope="package")
def image(dataset) -> Path:
    return dataset / "data" / "001.png"
