"""A float file has the network's operators and weights, also those that no photograph wakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meta_tests.parity.simulation.layer_files import onnx_files_of
from meta_tests.parity.test_simulated import FEEDS
from modelparity.modelfiles.editor import BRANCHES
from modelparity.modelfiles.mutations.plant import editor, plant
from modelparity.parity.structure.claim import structure as claim_of
from modelparity.parity.structure.compare import structure
from modelparity.parity.structure.result import Difference, Structure

FORMATS = ("onnx", "tflite")
DEAD = 1  # a unit of the hidden layer whose ReLU opens for no image


def network() -> Any:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.two = nn.Linear(4, 5)
            self.head = nn.Linear(5, 2)
            with torch.no_grad():
                self.one.bias[DEAD] -= 15

        def forward(self, image: Any) -> Any:
            hidden = torch.relu(self.norm(self.one(image))).mean((2, 3))
            return (torch.softmax(self.head(nn.functional.gelu(self.two(hidden))), -1),)

    return Net()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.tflite import convert as tflite_format

    made = onnx_files_of(network, tmp_path_factory.mktemp("structure"))
    tflite_format.convert_float(Exported(made.program), made.folder / "network.tflite", ["image"], ["head"])
    return made


def compared(files: Any, path: Path, *, is_cast: bool = False) -> Structure:
    return structure(files.program, files.spec, None, path, feeds=FEEDS, is_cast=is_cast)


def outputs(format: str, path: Path) -> list[np.ndarray[Any, Any]]:
    from modelparity.converters.formats import CONVERTERS

    runner = CONVERTERS[format].call("runner", path, 1)
    return [runner.run(feed)["head"] for feed in FEEDS]


@pytest.mark.parametrize("format", FORMATS)
def test_a_right_file_has_the_network_s_structure(files, format):
    found = compared(files, files.folder / f"network.{format}")
    assert found.whole
    claim, _ = claim_of(found)
    assert claim is not None
    assert claim.passed, claim
    assert found.ratio < 4


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
def test_what_the_runtime_s_optimizer_writes_is_right(files, tmp_path, level):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(tmp_path / "network.onnx")
    onnxruntime.InferenceSession(files.folder / "network.onnx", options, providers=["CPUExecutionProvider"])
    claim, _ = claim_of(compared(files, tmp_path / "network.onnx"))
    assert claim is not None
    assert claim.status != "failed", claim
    if level == "BASIC":
        assert claim.passed, claim


def test_the_older_exporter_s_file_is_right(files, tmp_path):
    import torch

    torch.manual_seed(1)
    own, target = network().eval(), tmp_path / "network.onnx"
    torch.onnx.export(own, (torch.zeros(1, 3, 32, 32),), target, dynamo=False, opset_version=17)
    claim, _ = claim_of(compared(files, target))
    assert claim is not None
    assert claim.passed, claim


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("format", FORMATS)
def test_a_branch_that_is_asleep_is_named(files, tmp_path, format, branch):
    right, wrong = files.folder / f"network.{format}", tmp_path / f"wrong.{format}"
    options = {"name": "head", "kind": branch, "bound": 50.0, "strength": 1.0}
    plant(format, right, wrong, "branch_added", options=options)
    for one, other in zip(outputs(format, wrong), outputs(format, right), strict=True):
        assert np.array_equal(one, other)
    claim, _ = claim_of(compared(files, wrong))
    assert claim is not None
    assert claim.status == "failed"
    assert "is not of the network" in claim.detail


@pytest.mark.parametrize("format", FORMATS)
def test_a_weight_behind_a_dead_unit_is_named(files, tmp_path, format):
    right, wrong = files.folder / f"network.{format}", tmp_path / f"wrong.{format}"
    file = editor(format, right)
    layer = next(layer for layer in file.layers() if len(layer.shape) == 4)
    weight = file.array(layer.weight)
    weight[layer.channel(DEAD)] *= 1.02
    file.store(layer.weight, weight)
    file.save(wrong)
    for one, other in zip(outputs(format, wrong), outputs(format, right), strict=True):
        assert np.array_equal(one, other)
    claim, _ = claim_of(compared(files, wrong))
    assert claim is not None
    assert claim.status == "failed"
    assert "in 1 of its 4 channels" in claim.detail


def test_what_is_not_proven_is_not_asked_and_the_reason_says_where():
    claim, reason = claim_of(Structure(50.0, 8.0, 7, Difference("from Add x on", proven=False)))
    assert claim is None
    assert "from Add x on" in reason
    assert claim_of(Structure(not_asked="too large")) == (None, "too large")
