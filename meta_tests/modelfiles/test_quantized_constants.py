"""Constants of quantizers other than this project's are read, and compared with the float file's."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("low", [-1.0, 0.5])
def test_a_kernel_that_is_a_constant_node_is_a_layer_with_rounded_weights(tmp_path, low):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    from modelparity.modelfiles.onnx.float_graph import graph_of
    from modelparity.parity.simulation.layers import layers_of

    kernel = np.random.default_rng(0).uniform(low, 2, (4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(kernel)),
        helper.make_node("DynamicQuantizeLinear", ["k"], ["kq", "ks", "kz"]),
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("ConvInteger", ["xq", "kq", "xz", "kz"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "ks"], ["scale"]),
        helper.make_node("Mul", ["cast", "scale"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 8, 8]), ("y", [1, 4, 6, 6]))
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path := tmp_path / "constant.onnx")

    (layer,) = layers_of(graph_of(path))
    integers, scale, zero_point = ReferenceEvaluator(
        helper.make_model(
            helper.make_graph(
                nodes[:2],
                "kernel",
                [],
                [helper.make_tensor_value_info(name, 0, None) for name in ("kq", "ks", "kz")],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
        )
    ).run(None, {})
    assert (layer.kind, layer.dynamic) == ("Conv", True)
    assert np.array_equal(layer.weight, (integers.astype(np.float64) - zero_point) * scale)


def test_a_layer_whose_weight_is_dequantized_rounds_nothing_at_run_time(tmp_path):
    """It multiplies floats, so that a file of int8 weights alone is not simulated as a dynamic one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from modelparity.modelfiles.onnx.float_graph import graph_of
    from modelparity.parity.simulation.layers import layers_of

    stored = [("q", np.arange(12, dtype=np.int8).reshape(4, 3)), ("s", np.float32(0.1)), ("z", np.int8(0))]
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", 4), ("y", 3))
    ]
    constants = [numpy_helper.from_array(np.asarray(values), name) for name, values in stored]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path := tmp_path / "weights.onnx")
    (layer,) = layers_of(graph_of(path))
    assert (layer.kind, layer.dynamic, layer.reads) == ("MatMul", False, ())
    assert layer.weight.max() == pytest.approx(1.1)


# --- files of quantizers that round constants of every operator -----------------------------------


def _saved(path, nodes, constants, ports):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def _compared(tmp_path, float_nodes, float_constants, nodes, constants):
    from modelparity.modelfiles.lineage import lineage

    ports = (("x", [1, 4]), ("y", [1, 4]))
    source = _saved(tmp_path / "float.onnx", float_nodes, float_constants, ports)
    return lineage(_saved(tmp_path / "integers.onnx", nodes, constants, ports), source)


def test_a_quantized_scalar_is_compared_as_any_constant(tmp_path):
    from onnx import helper

    scale = np.float32(0.5) / np.float32(255)
    found = _compared(
        tmp_path,
        [helper.make_node("Mul", ["x", "half"], ["y"])],
        {"half": np.float32(0.5)},
        [
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["half"]),
            helper.make_node("Mul", ["x", "half"], ["y"]),
        ],
        {"q": np.uint8(255), "scale": scale, "zero": np.uint8(0)},
    )
    assert found.differences == []
    (constant,) = found.constants
    assert (constant.unit, constant.note) == ("steps", "")
    assert constant.off < 1e-3


@pytest.mark.parametrize(("kind", "channels"), [("LayerNormalization", 4), ("InstanceNormalization", 1)])
@pytest.mark.parametrize("factor", [1, 1.5])
def test_the_bias_of_a_norm_has_the_scale_of_its_input_times_that_of_its_factor(
    tmp_path, kind, channels, factor
):
    from onnx import helper

    gamma = np.linspace(0.5, 2, channels).astype(np.float32)
    bias = np.linspace(-1, 1, channels).astype(np.float32)
    read, weight = np.float32(0.02), np.float32(gamma.max() / 127)
    steps = np.float32(read * weight * factor)
    float_nodes = [helper.make_node(kind, ["x", "gamma", "bias"], ["y"])]
    found = _compared(
        tmp_path,
        float_nodes,
        {"gamma": gamma, "bias": bias},
        [
            helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
            helper.make_node("DequantizeLinear", ["gq", "gs", "gz"], ["gamma"]),
            helper.make_node("DequantizeLinear", ["bq", "bs", "bz"], ["bias"]),
            helper.make_node(kind, ["xd", "gamma", "bias"], ["y"]),
        ],
        {
            **{"xs": read, "xz": np.uint8(128), "gs": weight, "gz": np.int8(0), "bs": steps},
            **{"gq": np.rint(gamma / weight).astype(np.int8), "bz": np.int32(0)},
            "bq": np.rint(bias / steps).astype(np.int32),
        },
    )
    assert found.differences == []
    of_bias = next(constant for constant in found.constants if constant.dtype == "int32")
    assert of_bias.note == ""
    assert of_bias.off <= 0.5
    assert of_bias.scale_ratio == pytest.approx(factor, rel=1e-5)


def test_nodes_are_read_in_the_order_of_computing(tmp_path):
    """Converters to float16 append the cast of the input behind everything that reads it."""
    from onnx import helper

    from modelparity.modelfiles.lineage import graph_of

    nodes = [
        helper.make_node("Relu", ["cast"], ["relu"]),
        helper.make_node("Add", ["relu", "cast"], ["y"]),
        helper.make_node("Neg", ["x"], ["cast"]),
    ]
    graph = graph_of(_saved(tmp_path / "late.onnx", nodes, {}, (("x", [1, 4]), ("y", [1, 4]))))
    assert [operator.kind for operator in graph.operators()] == ["input", "Neg", "Relu", "Add"]
