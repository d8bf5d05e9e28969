"""Large networks: programs without their weights, folds done by hand, weights beside an ONNX file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from modelparity.fixtures.goldens.weights import golden_image
from modelparity.fixtures.models import MODELS

SPEC = MODELS["chunkyseal"].configured({"bits": 3})
IMAGE = golden_image((1, 3, 256, 256))


@pytest.fixture(scope="module")
def network():
    from modelparity.fixtures.checkpoints.load import weighted

    return weighted(SPEC)


@pytest.fixture
def large(monkeypatch):
    """Everything counts as large."""
    from modelparity.converters.engine import exported_program
    from modelparity.converters.onnx import convert as onnx
    from modelparity.converters.tflite import convert as tflite

    for module in (exported_program, onnx, tflite):
        monkeypatch.setattr(module, "APART_BYTES", 0)


@pytest.fixture(scope="module")
def program(network):
    import torch

    axes = {"image": {0: torch.export.Dim("batch", min=1)}}
    with torch.no_grad():
        return torch.export.export(network, (torch.zeros(2, 3, 256, 256),), dynamic_shapes=axes)


def stored_apart(program, path):
    """The program stored without weights, where everything counts as large."""
    from copy import copy

    from modelparity.converters.engine.exported_program import Exported, save

    apart = copy(program)
    apart._state_dict = dict(program.state_dict)
    save(apart, path)
    return Exported(path, SPEC)


@pytest.fixture
def exported(large, program, tmp_path):
    return stored_apart(program, tmp_path / "program.pt2")


def output_of(module):
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(IMAGE))[0].numpy()


def test_a_program_without_weights_is_small_and_comes_back_whole(network, exported):
    weights = sum(parameter.nbytes for parameter in network.parameters())
    assert exported.path.stat().st_size < weights / 2
    assert np.array_equal(output_of(exported.load().module()), output_of(network))


def test_folding_keeps_the_outputs(network, exported, monkeypatch):
    from modelparity.converters.tflite import workaround_large_weights

    monkeypatch.setattr(workaround_large_weights, "_FOLDED_BYTES", 0)
    module = exported.load().module()
    # 36 norms with a linear layer behind them; 4 kernels between stages, 36 by channel, 1 of the decoder.
    assert workaround_large_weights.fold_constants(module) == 36 + 4 + 36 + 1
    expected = output_of(network)
    assert np.abs(output_of(module) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def float_files(program, tmp_path_factory):
    """The folders of a float file that holds all, and of one with external data."""
    import torch

    from modelparity.converters.engine import exported_program
    from modelparity.converters.onnx import convert as onnx

    whole, apart = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("apart")
    torch.export.save(program, whole / "program.pt2")
    source = exported_program.Exported(whole / "program.pt2")
    onnx.convert_float(source, whole / "fp32.onnx", ["image"], ["preds"])
    with pytest.MonkeyPatch.context() as patch:
        for module in (exported_program, onnx):
            patch.setattr(module, "APART_BYTES", 0)
        source = stored_apart(program, apart / "program.pt2")
        onnx.convert_float(source, apart / "fp32.onnx", ["image"], ["preds"])
    return whole, apart


@pytest.mark.parametrize("recipe", ["fp32", "fp16", "int8_dynamic", "int8_static"])
def test_onnx_weights_beside_the_file_give_the_same_numbers(float_files, recipe):
    """A float file with external data, and what is quantized from it, against the file that holds all."""
    from modelparity.converters.onnx import convert as onnx

    whole, apart = float_files
    assert not (whole / "fp32.onnx.data").exists()
    assert (apart / "fp32.onnx.data").stat().st_size > 10 * (apart / "fp32.onnx").stat().st_size
    for folder in float_files if recipe != "fp32" else ():
        onnx.quantize(
            folder / "fp32.onnx",
            folder / f"{recipe}.onnx",
            recipe,
            keep_float=(),
            calibration=[{"image": IMAGE}],
        )
    outputs = [run(folder / f"{recipe}.onnx") for folder in float_files]
    assert np.array_equal(*outputs)


def run(path: Path) -> np.ndarray:
    from modelparity.converters.onnx.convert import OnnxRunner

    with OnnxRunner(path) as opened:
        return opened.run({"image": IMAGE})["preds"]


def test_several_files_are_identified_together():
    from modelparity.modelfiles.description import whole

    one = {"a.onnx": ("1" * 64, 10)}
    two = {**one, "a.onnx.data": ("2" * 64, 100)}
    assert whole(one) == ("1" * 64, 10)
    assert whole(two)[1] == 110
    assert whole(two)[0] not in ("1" * 64, "2" * 64)
    assert whole(two) != whole({**one, "a.onnx.data": ("3" * 64, 100)})


def test_the_checkpoint_is_where_weights_come_from(exported, network, tmp_path):
    """Not the goldens' weights, where a checkpoint is named."""
    import torch

    state = {key: 2 * tensor for key, tensor in network.network.state_dict().items()}
    torch.save(state, tmp_path / "doubled.pth")
    doubled = dataclasses.replace(exported, checkpoint=tmp_path / "doubled.pth").load().state_dict
    key = "network.pixel_decoder.linear.bias"
    assert torch.equal(doubled[key], 2 * network.network.state_dict()["pixel_decoder.linear.bias"])
