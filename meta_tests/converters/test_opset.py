"""Older opsets: what is written anew computes the same, and what has no equal there is refused."""

from __future__ import annotations

import pytest

OPSETS = range(12, 21)


@pytest.fixture(scope="module", autouse=True)
def _libraries():
    global np, onnx, helper, numpy_helper, TensorProto, OpsetError, lower, opset_of
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from modelparity.converters.onnx.opset import OpsetError, lower, opset_of


def saved(path, nodes, constants=(), opset=20, kind=None, shape=("batch", 4, 6)):
    """A graph from `x` to `y`, both float32, shapes inferred as the exporter writes them."""
    kind = kind or TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def outputs(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def cases():
    node = helper.make_node
    ints = lambda *values: np.array(values, np.int64)  # noqa: E731
    rng = np.random.default_rng(0)
    scale, bias = rng.random(6, np.float32), rng.random(6, np.float32)
    return {
        "gelu": ([node("Gelu", ["x"], ["y"], "n")], []),
        "gelu by tanh": ([node("Gelu", ["x"], ["y"], "n", approximate="tanh")], []),
        "layer norm": (
            [node("LayerNormalization", ["x", "s", "b"], ["y"], "n", axis=-1)],
            [("s", scale), ("b", bias)],
        ),
        "layer norm without bias": ([node("LayerNormalization", ["x", "s"], ["y"], "n")], [("s", scale)]),
        "layer norm of two axes": (
            [node("LayerNormalization", ["x", "s"], ["y"], "n", axis=1)],
            [("s", rng.random((4, 6), np.float32))],
        ),
        "hard swish": ([node("HardSwish", ["x"], ["y"], "n")], []),
        "mean": ([node("ReduceMean", ["x", "a"], ["y"], "n", keepdims=0)], [("a", ints(1))]),
        "sum": ([node("ReduceSum", ["x", "a"], ["y"], "n")], [("a", ints(-1))]),
        "unsqueeze": ([node("Unsqueeze", ["x", "a"], ["y"], "n")], [("a", ints(1))]),
        "softmax": ([node("Softmax", ["x"], ["y"], "n", axis=-1)], []),
        "part of a shape": (
            [
                node("Shape", ["x"], ["n"], "shape", start=1, end=2),
                node("Cast", ["n"], ["f"], "cast", to=TensorProto.FLOAT),
                node("Add", ["x", "f"], ["y"], "add"),
            ],
            [],
        ),
        "reshape": ([node("Reshape", ["x", "s"], ["y"], "n", allowzero=1)], [("s", ints(-1, 24))]),
        "resize": ([node("Resize", ["x", "", "r"], ["y"], "n", mode="linear")],
                   [("r", np.array([1, 1, 2], np.float32))]),
    }  # fmt: skip


def test_each_operator_computes_the_same(tmp_path):
    x = np.random.default_rng(1).standard_normal((3, 4, 6), np.float32)
    for name, (nodes, constants) in cases().items():
        source = saved(tmp_path / "source.onnx", nodes, constants)
        truth = outputs(source, x)
        for opset in OPSETS:
            lower(source, tmp_path / "older.onnx", opset)
            assert opset_of(onnx.load(tmp_path / "older.onnx")) == opset
            got = outputs(tmp_path / "older.onnx", x)
            assert got.shape == truth.shape, (name, opset)
            np.testing.assert_allclose(got, truth, atol=2e-6, err_msg=f"{name}, opset {opset}")


def test_what_has_no_equal_is_refused(tmp_path):
    node = helper.make_node
    refused = {
        "no GridSample": [node("GridSample", ["i", "g"], ["y"], "n")],
        "axis is 1 of 3, but should be the last": [node("Softmax", ["x"], ["y"], "n", axis=1)],
        "axes are computed": [
            node("Shape", ["x"], ["s"], "shape", start=0, end=1),
            node("ReduceMean", ["x", "s"], ["y"], "n"),
        ],
    }
    for words, nodes in refused.items():
        shape = ("batch", 4, 6)
        constants = []
        if "GridSample" in words:
            nodes = [node("Reshape", ["x", "t"], ["i"], "r"), *nodes]
            constants = [("t", np.array([1, 1, -1, 6])), ("g", np.zeros((1, 2, 2, 2), np.float32))]
        source = saved(tmp_path / "source.onnx", nodes, constants, shape=shape)
        with pytest.raises(OpsetError, match=words):
            lower(source, tmp_path / "older.onnx", 12)
        assert not (tmp_path / "older.onnx").exists()


def test_scales_a_channel_need_13(tmp_path):
    weight = [("w", np.ones((4, 6), np.int8)), ("s", np.ones(4, np.float32))]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], "n", axis=0),
        helper.make_node("Mul", ["x", "d"], ["y"], "m"),
    ]
    source = saved(tmp_path / "source.onnx", nodes, weight)
    lower(source, tmp_path / "older.onnx", 13)
    with pytest.raises(OpsetError, match="a scale a channel"):
        lower(source, tmp_path / "older.onnx", 12)


def test_bounds_are_the_exporters_and_ours(tmp_path):
    from modelparity.converters.formats import CONVERTERS
    from modelparity.converters.onnx.convert import OPSET
    from modelparity.converters.onnx.opset import OLDEST

    offered = CONVERTERS["onnx"].opsets
    assert (offered[0], offered[-1]) == (OPSETS[0], OPSETS[-1]) == (OLDEST, OPSET)
    source = saved(tmp_path / "source.onnx", [helper.make_node("Relu", ["x"], ["y"], "n")], opset=18)
    for opset in (11, 19):
        with pytest.raises(OpsetError, match=f"opset {opset}, but should be 12 to 18"):
            lower(source, tmp_path / "older.onnx", opset)
