"""Files of other layers than linear ones and convolutions: right ones are near, wrong ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from meta_tests.modelfiles.lineage_editors import OnnxEditor, TfliteEditor
from meta_tests.parity.simulation.layer_files import RECIPES, files_of, onnx_files_of, quantized
from meta_tests.parity.test_simulated import Files
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.modelfiles.lineage import graph_of, layer_share
from modelparity.modelfiles.onnx.describe import describe_onnx
from modelparity.parity.claims import basic
from modelparity.parity.simulation.layers import layers_of, unsupported

# How many layers of each network a recipe rounds. Of the network whose layers share a weight, files that
# onnxruntime's recipes write do not load ("replace the existing tensor").
ROUNDED = {
    "Sequence": {
        "onnx fp16": 1,
        "onnx int8_dynamic": 1,
        "onnx int8_static": 1,
        "tflite fp16": 10,
        "tflite int8_dynamic": 10,
        "tflite int8_static": 10,
        "quantize_dynamic": 3,
        "quantize_static QDQ": 1,
        "quantize_static QOperator": 1,
        "ai_edge_quantizer dynamic": 10,
    },
    "Recurrence": {
        "onnx fp16": 5,
        "onnx int8_dynamic": 5,
        "onnx int8_static": 5,
        "tflite int8_dynamic": 4,
        "tflite int8_static": 4,
    },
    "Products": {
        "onnx fp16": 5,
        "onnx int8_dynamic": 4,
        "onnx int8_static": 4,
        "tflite fp16": 5,
        "tflite int8_dynamic": 5,
        "tflite int8_static": 5,
        "quantize_dynamic": 5,
        "quantize_static QDQ": 5,
        "quantize_static QOperator": 5,
        "ai_edge_quantizer dynamic": 6,
        "ai_edge_quantizer weights": 6,
    },
    "Upsampling": {
        "onnx fp16": 4,
        "onnx int8_dynamic": 2,
        "onnx int8_static": 2,
        "tflite fp16": 2,
        "tflite int8_dynamic": 2,
        "tflite int8_static": 2,
        "quantize_dynamic": 2,
        "quantize_static QDQ": 4,
        "quantize_static QOperator": 2,
        "ai_edge_quantizer dynamic": 5,
        "ai_edge_quantizer weights": 5,
    },
    "Tokens": {
        "onnx fp16": 2,
        "onnx int8_dynamic": 2,
        "onnx int8_static": 2,
        "tflite fp16": 2,
        "tflite int8_dynamic": 2,
        "tflite int8_static": 2,
        "quantize_dynamic": 3,
        "quantize_static QDQ": 2,
        "quantize_static QOperator": 2,
        "ai_edge_quantizer dynamic": 3,
        "ai_edge_quantizer weights": 3,
    },
}
MADE: dict[str, Files] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    MADE.clear()
    return tmp_path_factory.mktemp("layers")


def files(folder: Path, network: str) -> Files:
    if network not in MADE:
        (folder / network).mkdir()
        MADE[network] = files_of(network, folder / network)
    return MADE[network]


@pytest.mark.parametrize(
    ("network", "recipe"), [(network, recipe) for network, known in ROUNDED.items() for recipe in known]
)
def test_a_right_file_is_near(folder, network, recipe):
    own = files(folder, network)
    format, path = quantized(own, recipe)
    claim = own.judged(format, path, path)
    assert claim.passed, claim
    found = own.simulate(path)
    known = (found.unmatched, found.elsewhere, found.not_simulated, found.wrong)
    assert (found.layers, *known) == (ROUNDED[network][recipe], (), "", (), ())


def test_every_network_and_recipe_is_tried():
    from meta_tests.parity.simulation.layer_networks import NETWORKS

    assert ROUNDED.keys() == NETWORKS.keys()
    assert {recipe for known in ROUNDED.values() for recipe in known} == RECIPES.keys()


# --- wrong files ----------------------------------------------------------------------------------


def changed(own: Files, recipe: str, key: object, change) -> Path:
    _, path = quantized(own, recipe)
    editor = (OnnxEditor if path.suffix == ".onnx" else TfliteEditor)(path)
    key = key(editor)
    editor.put(key, change(editor.values(key)))
    return editor.save(own.folder / f"{change.__name__}-{path.name}")


def by_shape(shape, dtypes=("int8", "uint8", "INT8")):
    return lambda editor: editor._one(shape, *dtypes)


def rows_swapped(values):
    return values[[3, *range(1, 3), 0, *range(4, len(values))]]


def gates_swapped(values):
    """The forget gate in the place of the output gate, of [.., in, 4 width]."""
    entry, output, forget, cell = np.split(values, 4, axis=-1)
    return np.concatenate([entry, forget, output, cell], axis=-1)


def row_halved(values):
    values[2] = values[2] // 2
    return values


@pytest.mark.parametrize(
    ("network", "recipe", "shape", "fault"),
    [
        ("Sequence", "quantize_dynamic", (1, 24, 40), gates_swapped),
        ("Sequence", "quantize_dynamic", (1, 10, 40), gates_swapped),
        ("Sequence", "tflite int8_dynamic", (40, 10), row_halved),
        ("Products", "quantize_dynamic", (4, 12, 10), row_halved),
        ("Products", "ai_edge_quantizer dynamic", (18, 14), rows_swapped),
        ("Upsampling", "quantize_static QDQ", (8, 6, 4, 4), row_halved),
        ("Upsampling", "ai_edge_quantizer dynamic", (6, 4, 4, 8), row_halved),
        ("Tokens", "quantize_dynamic", (64, 24), rows_swapped),
        ("Tokens", "ai_edge_quantizer dynamic", (64, 24), rows_swapped),
    ],
)
def test_weights_that_are_not_the_networks_are_named(folder, network, recipe, shape, fault):
    own = files(folder, network)
    found = own.simulate(changed(own, recipe, by_shape(shape), fault))
    assert found.unmatched == found.not_simulated == ()
    assert found.wrong
    assert all(count > 5 for _, count, _ in found.wrong)


def test_gates_of_float16_in_another_order_are_far(folder):
    """Their numbers are those of the network, in whatever order: the outputs show it."""
    own = files(folder, "Sequence")
    format, path = quantized(own, "onnx fp16")

    def gates_swapped(values):
        entry, output, forget, cell = np.split(values, 4, axis=1)
        return np.concatenate([entry, forget, output, cell], axis=1)

    wrong = changed(own, "onnx fp16", by_shape((1, 40, 24), ("float16",)), gates_swapped)
    assert own.judged(format, wrong, meant=wrong).status == "failed"
    assert own.judged(format, path, meant=path).passed


def test_each_use_of_a_shared_weight_has_its_own_scale(folder):
    """What runs has another scale at one step of the recurrence than the file that it is held against."""
    own = files(folder, "Recurrence")
    format, path = quantized(own, "tflite int8_static")
    editor = TfliteEditor(path)
    steps = [
        o
        for o in editor._operators("FULLY_CONNECTED")
        if tuple(editor.graph.tensors[o.inputs[1]].shape) == (10, 10)
    ]
    assert len(steps) == 2
    read = steps[1].inputs[0]
    editor.put_scale(read, editor.scale(read) * np.float32(1.1))
    ran = editor.save(own.folder / "another_scale.tflite")
    assert own.judged(format, ran, meant=path).status == "failed"


def test_ranges_that_depend_on_the_number_of_threads_are_not_decided(tmp_path):
    """onnxruntime's LSTM takes a range of the rows that a thread computes."""
    from meta_tests.parity.simulation.layer_networks import Columns

    own = onnx_files_of(Columns, tmp_path)
    _, path = quantized(own, "quantize_dynamic")
    found = own.simulate(path)
    assert found.outputs == ()
    assert len(found.not_simulated) == 1
    assert "depends on the number of threads" in own.reference(path)


def test_a_batch_of_a_recurrent_layer_depends_on_the_number_of_threads(folder):
    own = files(folder, "Sequence")
    sizes, reason = own.reference(quantized(own, "quantize_dynamic")[1]).batches([3])
    assert (sizes, reason[-20:]) == ([], "the number of threads"[-20:])
    assert own.reference(quantized(own, "onnx int8_dynamic")[1]).batches([3]) == ([3], "")


def test_a_weight_alone_that_is_integers_is_multiplied_by_blocks(folder):
    """ONNX computes such a product in float; onnxruntime rounds what it multiplies, by blocks of 32."""
    own = files(folder, "Tokens")
    model = onnx.load(own.folder / "network.onnx")
    weight = next(t for t in model.graph.initializer if tuple(t.dims) == (24, 24))
    values = numpy_helper.to_array(weight)
    scale = np.abs(values).max(axis=0).astype(np.float32) / np.float32(127)
    named = {
        "integers": np.rint(values / scale).astype(np.int8),
        "steps": scale,
        "zeros": np.zeros(24, np.int8),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in named.items())
    name = weight.name
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", [*named], [name], axis=1))
    onnx.save(model, path := own.folder / "weight_alone.onnx")
    graph = graph_of(path)
    (layer,) = layers_of(graph)
    assert (layer.dynamic, layer.blocks) == (False, 32)
    assert unsupported(graph) == []
    assert own.judged("onnx", path, path).passed


def test_what_is_not_simulated_is_named(tmp_path):
    """A constant of integers that is added, and a table that is read along its second axis."""
    constants = [
        numpy_helper.from_array(np.arange(-4, 4, dtype=np.int8).reshape(2, 4), "integers"),
        numpy_helper.from_array(np.float32(0.5), "step"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["integers", "step", "zero"], ["table"]),
        helper.make_node("Add", ["image", "table"], ["sum"]),
        helper.make_node("Gather", ["table", "places"], ["columns"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [2, 4]),
        helper.make_tensor_value_info("places", TensorProto.INT64, [3]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("sum", "columns")]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    onnx.save(helper.make_model(graph), path := tmp_path / "others.onnx")
    added, gathered = unsupported(graph_of(path))
    assert added == "Add sum, which reads the quantized constant integers"
    assert gathered == "Gather columns, which reads the quantized constant integers"


# --- the share of weights that a recipe promises --------------------------------------------------


@pytest.mark.parametrize(("network", "least"), [("Sequence", 0.02), ("Upsampling", 0.2), ("Tokens", 0.5)])
def test_what_a_recipe_leaves_in_float_is_not_promised(folder, network, least):
    """Recurrent layers, transposed convolutions and tables stay float32, which is not the file's fault."""
    own = files(folder, network)
    source = own.folder / "network.onnx"
    recipe = QUANTIZATIONS["int8_dynamic"]
    _, path = quantized(own, "onnx int8_dynamic")
    (claim,) = basic.weight_share(describe_onnx(path), recipe, lambda: layer_share(source))
    assert claim.passed, claim
    assert least < claim.bound < 0.9
    (float_file,) = basic.weight_share(describe_onnx(source), recipe, lambda: layer_share(source))
    assert float_file.status == "failed"
    (nothing_to_quantize,) = basic.weight_share(describe_onnx(source), recipe, lambda: 0.0)
    assert (nothing_to_quantize.status, nothing_to_quantize.bound) == ("failed", 0.9)


@pytest.mark.parametrize("recipe", ["tflite int8_static", "tflite int8_dynamic", "onnx int8_static"])
def test_a_step_from_zeros_has_both_biases_in_one(tmp_path, recipe):
    from meta_tests.parity.simulation.layer_networks import Cells
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.tflite import convert as tflite_format

    own = onnx_files_of(Cells, tmp_path)
    tflite_format.convert_float(Exported(own.program), tmp_path / "network.tflite", ["image"], ["head"])
    format, path = quantized(own, recipe)
    found = own.simulate(path)
    assert (found.unmatched, found.elsewhere, found.not_simulated, found.wrong) == ((), "", (), ())
    assert own.judged(format, path, path).passed
