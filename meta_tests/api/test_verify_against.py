"""A file from anywhere, judged against a user's own network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelparity.api.model import Model
from modelparity.api.verify import verify_against
from modelparity.verification.verify import Meant

MODEL = Model("meta_tests.api.networks_of_users:plain")


def exported(path: Path, changed: float = 1.0) -> Path:
    """The network's file by PyTorch's older exporter, one row of its matrix times `changed`."""
    import torch

    from meta_tests.api.networks_of_users import plain

    torch.manual_seed(0)  # as a target is built
    network = plain().eval()
    with torch.no_grad():
        network[3].weight[1] *= changed  # type: ignore[index]
    axes = {"input": {0: "n"}, "output": {0: "n"}}
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 64, 64),),
        path,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
    )
    return path


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPARITY_STORE", str(tmp_path_factory.getbasetemp() / "verify-store"))


def test_a_right_file_passes_and_one_row_is_enough_to_fail(tmp_path: Path) -> None:
    assert verify_against(exported(tmp_path / "right.onnx"), MODEL).verdict == "pass"
    wrong = verify_against(exported(tmp_path / "wrong.onnx", 1.02), MODEL)
    assert wrong.verdict == "fail"
    assert "float_parity" in {claim.name for claim in wrong.record.claims if claim.status == "failed"}
    assert wrong.record.reproduce == (
        f"modelparity verify {tmp_path / 'wrong.onnx'} --against {MODEL.target}",
    )


def test_it_is_judged_on_the_owner_s_samples(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).standard_normal((5, 3, 64, 64)).astype(np.float32)
    np.savez(tmp_path / "in.npz", input=samples)
    meant = Meant(feeds=tmp_path / "in.npz")
    verification = verify_against(exported(tmp_path / "right.onnx"), MODEL, meant=meant)
    assert {sample.sample.partition(" ")[0] for sample in verification.record.samples} == {"in.npz"}


def test_a_network_that_draws_random_numbers_proves_no_file(tmp_path: Path) -> None:
    import torch

    from meta_tests.api.networks_of_users import random

    torch.manual_seed(0)
    network, example = random()
    axes = {"x": {0: "n"}, "output": {0: "n"}}
    names = {"input_names": ["x"], "output_names": ["output"], "dynamic_axes": axes}
    torch.onnx.export(network.eval(), (example,), tmp_path / "r.onnx", dynamo=False, **names)
    verification = verify_against(tmp_path / "r.onnx", Model("meta_tests.api.networks_of_users:random"))
    assert verification.verdict == "fail"
    assert verification.record.claims[0].name == "captured"
    assert verification.record.claims[0].status == "failed"
