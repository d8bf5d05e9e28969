"""A kernel that is a Constant node behind DynamicQuantizeLinear is read as the integers of a runtime."""

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
