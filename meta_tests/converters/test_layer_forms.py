"""Forms of layers in which converters write a right file otherwise than a network is written."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from modelparity.converters.onnx import quantize as onnx_quantization
from modelparity.converters.tflite import quantize as tflite_quantization
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles.description import Description
from modelparity.modelfiles.onnx.describe import describe_onnx
from modelparity.modelfiles.tflite.describe import describe_tflite

QUANTIZERS = {"onnx": onnx_quantization, "tflite": tflite_quantization}
DESCRIBE = {"onnx": describe_onnx, "tflite": describe_tflite}
FEEDS = [
    {"image": np.random.default_rng(seed).standard_normal((1, 3, 32, 32), np.float32)} for seed in range(2)
]


def network():
    """A kernel with small values in one place, a bias that is carried on, a matrix that is used thrice."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sound = nn.Conv1d(32, 32, 64)
            self.embed = nn.Linear(32, 128)
            self.query, self.key = nn.Linear(128, 128), nn.Linear(128, 128)
            self.step = nn.Linear(128, 128)  # so large that an exporter leaves its transpose
            with torch.no_grad():
                self.sound.weight[..., 0] *= 1e-3
                self.embed.bias *= 20

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            embedded = self.embed(self.sound(image.reshape(-1, 32, 96)).transpose(1, 2))
            x = torch.tanh(self.query(embedded)) * torch.tanh(self.key(embedded)) + 0.1 * embedded
            for _ in range(3):
                x = torch.tanh(self.step(x))
            return (x,)

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory):
    """The program, and the quantized files by format and recipe."""
    import torch

    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx_format
    from modelparity.converters.tflite import convert as tflite_format

    folder = tmp_path_factory.mktemp("files")
    batch = {"image": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(network(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch)
    torch.export.save(exported, program := folder / "network.pt2")
    paths = {}
    for format, module in (("onnx", onnx_format), ("tflite", tflite_format)):
        source = folder / f"network.{format}"
        module.convert_float(Exported(program), source, ["image"], ["x"])
        for recipe in ("fp16", "int8_dynamic", "int8_static"):
            paths[format, recipe] = path = folder / f"{recipe}.{format}"
            QUANTIZERS[format].quantize(source, path, recipe, keep_float=(), calibration=FEEDS)
    return SimpleNamespace(program=program, paths=paths)


def simulated(files, path):
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.modelfiles.lineage import graph_of
    from modelparity.parity.simulation.network import simulate

    ports = Signature((TensorSpec("image", ("batch",), ""),), (TensorSpec("x", ("batch",), ""),))
    spec = SimpleNamespace(signature=lambda: ports)
    exported = Exported(files.program, spec)
    return simulate(exported, graph_of(path), feeds=FEEDS, perturbed=range(len(FEEDS)))


def outputs_of(format, path):
    from modelparity.converters.onnx import convert as onnx
    from modelparity.converters.tflite import convert as tflite

    with {"onnx": onnx, "tflite": tflite}[format].open_runner(path, 1) as runner:
        return [runner.run(feed)["x"] for feed in FEEDS]


def rms(one, other) -> float:
    return float(np.sqrt(np.mean((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2)))


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("recipe", ["fp16", "int8_dynamic", "int8_static"])
def test_every_form_is_simulated(files, format, recipe):
    import torch

    path = files.paths[format, recipe]
    found = simulated(files, path)
    assert (found.layers, found.unmatched, found.wrong) == (7, (), ())
    due = [each["x"] for each in found.outputs]
    if recipe == "fp16":
        with torch.no_grad():
            runs = [
                [network().to(dtype)(torch.from_numpy(feed["image"]).to(dtype))[0].numpy() for feed in FEEDS]
                for dtype in (torch.float32, torch.float64)
            ]
        bound = 8 * rms(*runs)
    else:
        bound = 2 * rms([each["x"] for each in found.perturbed], due)
    assert rms(outputs_of(format, path), due) < bound


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("recipe", ["int8_dynamic", "int8_static"])
def test_a_matrix_that_several_layers_share_is_quantized(files, format, recipe):
    path = files.paths[format, recipe]
    described: Description = DESCRIBE[format](path)
    eight = described.weights.get("int8", 0) + described.weights.get("uint8", 0)
    assert eight / sum(described.weights.values()) > 0.99
    assert np.isfinite(outputs_of(format, path)).all()


def test_a_fault_in_a_shared_matrix_is_planted_in_all_of_its_layers(files, tmp_path):
    from modelparity.modelfiles.lineage import graph_of
    from modelparity.modelfiles.mutations.plant import editor

    def zero_points(path) -> list[float]:
        edges = [operator.inputs[1] for operator in graph_of(path).operators() if operator.kind == "MatMul"]
        return [float(np.max(edge.source.zero_point)) for edge in edges]

    right = files.paths["onnx", "int8_dynamic"]
    file = editor("onnx", right)
    assert zero_points(right) == [0] * 6
    read = Counter(node.input[1] for node in file.graph.node if node.op_type == "MatMulInteger")
    ((shared, uses),) = read.most_common(1)
    assert uses == 3
    file.raise_zero_point(shared)
    file.save(tmp_path / "wrong.onnx")
    assert sorted(zero_points(tmp_path / "wrong.onnx")) == [0, 0, 0, 1, 1, 1]
