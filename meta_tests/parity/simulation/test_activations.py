"""Files that round every activation: right ones are near to the simulation, others are not the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from meta_tests.parity.test_simulated import FEEDS, IMAGE, Files, exact_reference, outputs_of
from modelparity.fixtures.lookup import named
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.parity.claims import simulated

RIGHT = ("per_channel.onnx", "signed.onnx", "integers.tflite")


def network():
    """A sum, a concatenation, a gate and attention; ReLUs that the end of a range replaces."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, stride=4, padding=1)
            self.second, self.third = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
            self.gate = nn.Conv2d(16, 16, 1)
            self.places = nn.Parameter(torch.randn(1, 16, 16))
            self.tokens = nn.LayerNorm(16)
            self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
            self.head = nn.Linear(16, 10)
            nn.init.uniform_(self.tokens.weight, 0.5, 2)
            nn.init.uniform_(self.tokens.bias)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            x = torch.relu(self.first(image))
            y = torch.relu(x + self.second(x))
            x = torch.cat([functional.relu6(3 * self.third(y)), x], dim=1)
            x = functional.max_pool2d(x * torch.sigmoid(self.gate(x.mean(dim=(2, 3), keepdim=True))), 2)
            x = self.tokens(x.flatten(2).transpose(1, 2) + self.places)
            query = 2 * self.query(x).reshape(-1, 16, 2, 8).transpose(1, 2)
            key, value = (f(x).reshape(-1, 16, 2, 8).transpose(1, 2) for f in (self.key, self.value))
            x = torch.softmax(query @ key.transpose(2, 3), dim=-1) @ value
            return (self.head(functional.gelu(x.transpose(1, 2).flatten(2))),)

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    import torch
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx_format
    from modelparity.converters.tflite import convert as tflite_format

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(FEEDS)

        def get_next(self):
            return next(self._left, None)

    folder = tmp_path_factory.mktemp("files")
    batch = {"image": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(network(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch)
    torch.export.save(exported, program := folder / "network.pt2")
    head = TensorSpec("head", ("batch", 16, 10), "logits")
    ports = Signature((IMAGE,), (head,))
    spec = SimpleNamespace(signature=lambda: ports, task="map", outputs=(head,))
    for module, name in ((onnx_format, "float.onnx"), (tflite_format, "float.tflite")):
        module.convert_float(Exported(program), folder / name, ["image"], ["head"])
    quantize_static(folder / "float.onnx", folder / "per_channel.onnx", Reader(), per_channel=True)
    signed = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    quantize_static(folder / "float.onnx", folder / "signed.onnx", Reader(), **signed)
    recipe = recipe_manager.RecipeManager()
    kinds = qtyping.TFLOperationName
    recipe.add_static_config(".*", kinds.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for kind in (kinds.INPUT, kinds.OUTPUT):
        recipe.add_quantization_config(".*", kind, algorithm_key=AlgorithmName.NO_QUANTIZE)
    engine = quantizer.Quantizer(str(folder / "float.tflite"), recipe.get_quantization_recipe())
    ranges = engine.calibrate({"serving_default": [dict(feed) for feed in FEEDS]})
    (folder / "integers.tflite").write_bytes(engine.quantize(ranges).quantized_model)
    return Files(folder, program, spec, exact_reference(spec, network))


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_file_computes_the_network_and_is_near_to_the_simulation(files, name):
    path = files.folder / name
    right = files.reference(path)
    assert not isinstance(right, str), right
    assert (right.layers, right.wrong) == (8, ())
    (claim,) = simulated.unrounded(right)
    assert (claim.name, claim.status, claim.unit) == ("unrounded", "passed", "floors")
    assert claim.observed < 3
    (claim,) = simulated.agree(right.reference, right.reference.paired(outputs_of(path.suffix[1:], path)))
    assert claim.passed, claim
    assert claim.bound > 15


def test_rounding_costs_far_more_than_the_graph_may_be_off(files):
    """The first step is as tight as for a float file: nothing of the rounding is in it."""
    right = files.reference(files.folder / "per_channel.onnx")
    exact = right.reference.unrounded["head"][0]
    assert np.abs(right.reference.outputs["head"][0] - exact).std() > 1000 * right.network.floors["head"]


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_file_that_rounds_only_what_layers_read_and_give_is_simulated_as_the_network(files, format):
    """In TFLite, the number that the network multiplies its queries by is in their weights."""
    quantize = named(f"modelparity.converters.{format}.quantize:quantize")
    path = files.folder / f"layers.{format}"
    quantize(files.folder / f"float.{format}", path, "int8_static", keep_float=(), calibration=FEEDS)
    right = files.reference(path)
    assert (right.layers, right.wrong) == (8, ())
    assert (right.network, right.unrounded) == (None, ())
    assert simulated.unrounded(right) == []
    (claim,) = simulated.agree(right.reference, right.reference.paired(outputs_of(format, path)))
    assert claim.passed, claim


# --- another graph than the network's -------------------------------------------------------------


def _pairs(model: onnx.ModelProto) -> Iterator[tuple[Any, Any]]:
    """The quantize and dequantize steps of activations."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in makers:
            yield makers[node.input[0]], node


def _another(model: onnx.ModelProto, node: Any, place: int, change: Any) -> None:
    """Gives a node a constant of its own."""
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[place])
    values = numpy_helper.to_array(stored)
    changed = np.asarray(change(values)).astype(values.dtype)
    model.graph.initializer.append(numpy_helper.from_array(changed, node.input[place] + "_other"))
    node.input[place] += "_other"


def _first(model: onnx.ModelProto, kind: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == kind)


def scale_of_the_image(model):
    _another(model, next(_pairs(model))[1], 1, lambda scale: scale * 1.05)


def scale_of_a_product(model):
    product = _first(model, "MatMul").output[0]
    read = next(after for before, after in _pairs(model) if before.input[0] == product)
    _another(model, read, 1, lambda scale: scale * 1.05)


def scale_of_the_scores(model):
    total = next(n for n in model.graph.node if n.op_type == "Softmax").input[0]
    read = next(after for _, after in _pairs(model) if after.output[0] == total)
    _another(model, read, 1, lambda scale: scale * 1.01)


def zero_point_of_the_gate(model):
    gate = _first(model, "Sigmoid").output[0]
    read = next(after for before, after in _pairs(model) if before.input[0] == gate)
    _another(model, read, 2, lambda zero: zero + 1)


def operand_dropped(model):
    node = _first(model, "Add")
    node.CopyFrom(helper.make_node("Identity", [node.input[0]], list(node.output)))


def order_swapped(model):
    node = _first(model, "Concat")
    node.input[0], node.input[1] = node.input[1], node.input[0]


def relu_lost(model):
    """The range that stands for the first ReLU begins one step below 0."""
    for before, after in _pairs(model):
        if before.input[0] == "relu":
            _another(model, before, 2, lambda zero: zero + 1)
            after.input[2] = before.input[2]


@pytest.mark.parametrize(
    "fault",
    [
        *(scale_of_the_image, scale_of_a_product, scale_of_the_scores, zero_point_of_the_gate),
        *(operand_dropped, order_swapped, relu_lost),
    ],
)
def test_another_graph_is_not_the_networks(files, fault):
    model = onnx.load(files.folder / "per_channel.onnx")
    fault(model)
    path = files.folder / f"{fault.__name__}.onnx"
    onnx.save(model, path)
    right = files.reference(path)
    assert not isinstance(right, str), right
    (claim,) = simulated.unrounded(right)
    assert claim.status == "failed"
    assert claim.observed > 100


@pytest.mark.parametrize("kind", ["ADD", "CONCATENATION"])
def test_another_graph_of_tflite_is_not_the_networks(files, kind):
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(files.folder / "integers.tflite"))
    codes = [code.builtinCode for code in model.operatorCodes]
    wanted = getattr(schema.BuiltinOperator, kind)
    operator = next(o for o in model.subgraphs[0].operators if codes[o.opcodeIndex] == wanted)
    one, other = operator.inputs
    operator.inputs = [other, one if kind == "CONCATENATION" else other]
    path = files.folder / f"{kind}.tflite"
    tfl_flatbuffer_utils.write_model(model, str(path))
    (claim,) = simulated.unrounded(files.reference(path))
    assert claim.status == "failed"


def test_another_shape_is_not_the_networks(files):
    right = files.reference(files.folder / "per_channel.onnx")
    outputs = tuple({name: value[None] for name, value in each.items()} for each in right.unrounded)
    (claim,) = simulated.unrounded(replace(right, unrounded=outputs))
    assert (claim.status, claim.observed, claim.bound) == ("failed", "[1, 1, 16, 10]", "[1, 16, 10]")


# --- what is not decided --------------------------------------------------------------------------


def test_a_constant_that_the_network_has_not_is_named(files):
    model = onnx.load(files.folder / "per_channel.onnx")
    places = next(t for t in model.graph.initializer if tuple(t.dims) == (1, 16, 16))
    values = numpy_helper.to_array(places).copy()
    values.flat[7] ^= 0x55
    places.CopyFrom(numpy_helper.from_array(values, places.name))
    path = files.folder / "another_place.onnx"
    onnx.save(model, path)
    assert files.reference(path).endswith(f"match none of the network's: {places.name}")


def test_what_cannot_run_alone_in_float_is_named(files, monkeypatch):
    from modelparity.converters.onnx.operator_runner import OperatorRunner

    def refuse(self, operator, inputs):
        raise NotImplementedError(f"{operator.names[0]} is a Loop, which has a body")

    monkeypatch.setattr(OperatorRunner, "run", refuse)
    why = files.reference(files.folder / "per_channel.onnx")
    assert why.startswith("it rounds activations outside the layers of rounded weights, and ")
    assert why.endswith("is a Loop, which has a body")


# --- an output that the file rounds ---------------------------------------------------------------


def test_one_value_of_a_rounded_output_may_fall_to_the_other_side(files, monkeypatch):
    """Also where none does in the perturbed run."""
    from modelparity.parity.simulation import activations
    from modelparity.parity.simulation.graph_run import run_graph

    path = files.folder / "per_channel.onnx"
    monkeypatch.setattr(activations, "_moved", lambda graph, runner, feeds, _: [
        run_graph(graph, runner, feed) for feed in feeds
    ])  # fmt: skip
    right = files.reference(path)
    (step,) = files.simulate(path).steps.values()
    assert right.reference.noise["head"].value == pytest.approx(step)
    assert right.reference.noise["head"].rms == pytest.approx(step / 160**0.5)
