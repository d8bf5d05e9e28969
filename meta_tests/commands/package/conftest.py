"""One release folder of the smallest network, its store and its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_tests.commands.command_line import modelparity
from meta_tests.commands.package.release import of_checkpoint
from modelparity.parity.results import Cost


def costs(_session, cells) -> dict:
    """Known numbers in place of measured ones."""
    return {
        cell.id: Cost(
            latency_median_s=0.0125,
            latency_iqr_s=0.002,
            rounds=7,
            threads=2,
            latency_ratio=1.0,
            latency_interval=(0.98, 1.04),
            run_peak_bytes=512_000_000,
        )
        for cell in cells
    }


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    """A store of these tests' own, a short look at each cell, and a training checkpoint."""
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict
    from modelparity.fixtures.models import MODELS
    from modelparity.parity.cells import CheckBudget

    folder = tmp_path_factory.mktemp("package")
    checkpoint = folder / "ckpt_epoch_00012.pyth"
    content = {
        "epoch": 12,
        "model_state": golden_state_dict(MODELS["tiny_ladeda"]),
        "optimizer_state": {"exp_avg": torch.zeros(9000)},
        "cfg": {"MODEL": {"MODEL_NAME": "TinyLaDeDa"}, "DATASET": {"DATASET_NAME": "WildRF"}},
    }
    torch.save(content, checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPARITY_STORE", str(folder / "store"))
        patch.setattr(
            "modelparity.parity.session.CheckBudget",
            lambda: CheckBudget(images=6, draws=1, convert_again=False),
        )
        patch.setattr("modelparity.gate.measure", costs)
        yield folder


@pytest.fixture(scope="package")
def package(world) -> Path:
    output = world / "exports"
    result = modelparity("package", "tiny_ladeda", "--output", output, *of_checkpoint(world))
    assert result.exit_code == 0, result.output
    assert f"wrote {output}" in result.stdout
    return output


@pytest.fixture(scope="package")
def photograph() -> Path:
    from importlib.util import find_spec

    return Path(find_spec("skimage").origin).parent / "data" / "coffee.png"
