"""One store for all tests of the command line, a short look at each cell, and one converted file."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_tests.commands.command_line import passes


@pytest.fixture(scope="session")
def store(shared_store) -> Path:
    return shared_store


@pytest.fixture(autouse=True)
def _own_world(store, monkeypatch):
    from modelparity.parity.judge import CheckBudget

    monkeypatch.setenv("MODELPARITY_STORE", str(store))
    monkeypatch.delenv("MODELPARITY_DEBUG", raising=False)
    # A shorter look at each cell: what is looked at, other tests ask.
    monkeypatch.setattr(
        "modelparity.parity.session.CheckBudget", lambda: CheckBudget(images=6, draws=2, convert_again=False)
    )


@pytest.fixture(scope="session")
def converted(store, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "tiny.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPARITY_STORE", str(store))
        passes("convert", "tiny_ladeda", "--no-verify", "--output", path)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """The golden's input, normalised."""
    import numpy as np

    from modelparity.fixtures.goldens.weights import golden_image
    from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD

    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    path = tmp_path_factory.mktemp("images") / "in.npz"
    np.savez(path, image=(golden_image((2, 3, 256, 256)) - mean) / std)
    return path
