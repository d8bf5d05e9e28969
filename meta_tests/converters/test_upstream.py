"""Faults of other people's tools that this project gets past: each test fails once upstream has mended it."""

from __future__ import annotations

import pytest

from modelparity.converters.engine.exported_program import FloatFile
from modelparity.converters.onnx2tf import convert, workarounds
from modelparity.converters.onnx2tf import graph as second_route_graph

needs_second_route = pytest.mark.skipif(
    bool(convert.missing()), reason="the extra `tensorflow` is not installed: `tox -e routes` runs this"
)


@pytest.mark.xfail(
    strict=True, raises=ValueError, reason="litert-torch 0.10.0: values-only top-k becomes STABLEHLO_SORT"
)
def test_litert_torch_runs_a_top_k_whose_indices_are_unused(tmp_path):
    """When this passes, delete converters/tflite_topk.py and its call."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    class Largest(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.topk(x, 3, dim=1).values.mean(dim=1)

    path = tmp_path / "largest.tflite"
    litert_torch.convert(Largest().eval(), (torch.zeros(1, 10),)).export(str(path))
    Interpreter(str(path)).allocate_tensors()


@pytest.mark.xfail(
    strict=True, raises=ValueError, reason="ai-edge-quantizer 0.10.0: 4-D scales over 2-D data above 32 MiB"
)
def test_ai_edge_quantizer_quantizes_a_large_kernel():
    """When this passes, delete `by_channel` in converters/workaround_large_weights.py and its call."""
    import numpy as np

    _quantize(np.ones((4, 8, 2, (33 << 20) // 4 // 64), np.float32))


def test_large_kernels_are_quantized_by_channel_meanwhile(monkeypatch):
    """The same integers as upstream's own way gives where it works."""
    import numpy as np

    from modelparity.converters.tflite import workaround_large_weights

    weight = np.random.default_rng(0).normal(size=(6, 3, 3, 4)).astype(np.float32)
    expected = _quantize(weight)
    monkeypatch.setattr(workaround_large_weights, "CHUNKED_BYTES", 0)
    with workaround_large_weights.by_channel():
        found = _quantize(weight)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert np.unique(found).size > 100


def _quantize(weight):
    import numpy as np
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    zero_point = np.zeros(scale.shape, np.int32)
    params = qtyping.UniformQuantParams(8, 0, scale, zero_point, symmetric=True)
    return uniform_quantize_tensor.uniform_quantize(weight, params)


@pytest.mark.xfail(strict=True, reason="litert-torch 0.10.0 clamps every weight in place, infinite or not")
def test_litert_torch_leaves_finite_weights_untouched():
    """When this passes, delete `untouched` in converters/workaround_large_weights.py and its call."""
    import torch
    from litert_torch.backend import inline_consts

    weight = torch.ones(4)
    before = weight._version
    inline_consts._clamp_inf_values(weight)
    assert weight._version == before


def _resized(folder, mode, coordinates, size):
    """A map [1, 3, 4, 5] resized by ONNX Runtime, and by the second route's file."""
    import numpy as np
    from onnx import helper, numpy_helper

    sizes = numpy_helper.from_array(np.array([1, 3, *size]), "sizes")
    places = {"coordinate_transformation_mode": coordinates, "mode": mode, "nearest_mode": "floor"}
    node = helper.make_node("Resize", ["image", "", "", "sizes"], ["map"], **places)
    return _both_ways(folder, [node], [sizes], (1, 3, *size))


def _both_ways(folder, nodes, constants, shape):
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    from modelparity.converters.tflite.convert import TfliteRunner

    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)
        for name, sides in (("image", (1, 3, 4, 5)), ("map", shape))
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    path, target = folder / "map.onnx", folder / "map.tflite"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    source = FloatFile(path, {"image": (1, 3, 4, 5)}, {"map": shape})
    convert.convert_float(source, target, ["image"], ["map"])
    feeds = {"image": np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)}
    with TfliteRunner(target) as runner:
        return onnxruntime.InferenceSession(path).run(None, feeds)[0], runner.run(feeds)["map"]


@needs_second_route
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="onnx2tf 1.28.8: behind opset 17 every Resize is half-pixel"
)
def test_onnx2tf_resizes_corner_on_corner(tmp_path, monkeypatch):
    """When this passes, delete `coordinates_heeded` in converters/workarounds.py."""
    import numpy as np

    monkeypatch.delitem(workarounds.MENDED, "Resize")
    expected, found = _resized(tmp_path, "linear", "align_corners", (7, 9))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_second_route
@pytest.mark.parametrize(
    ("mode", "coordinates"),
    [("linear", "align_corners"), ("linear", "half_pixel"), ("nearest", "asymmetric")],
)
def test_samples_of_a_resize_are_where_it_says_meanwhile(tmp_path, mode, coordinates):
    import numpy as np

    expected, found = _resized(tmp_path, mode, coordinates, (7, 9))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_second_route
@pytest.mark.xfail(
    strict=True, raises=convert.SecondRouteError, reason="onnx2tf 1.28.8: int() of an array of one"
)
def test_onnx2tf_takes_a_constant_count(tmp_path, monkeypatch):
    """When this passes, delete `pass_on_counts` in converters/workarounds.py and its call."""
    import numpy as np
    from onnx import helper, numpy_helper

    monkeypatch.setattr(second_route_graph, "pass_on_counts", lambda model: None)
    constants = {"flat": np.array([1, 60]), "k": np.array([3])}
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["row"]),
        helper.make_node("TopK", ["row", "k"], ["map", "places"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    expected, found = _both_ways(tmp_path, nodes, tensors, (1, 3))
    np.testing.assert_array_equal(found, expected)


def _product(folder, monkeypatch):
    """A lower triangle, scaled by the image, times the image; onnx2tf's trial has its rows and columns
    swapped, as a decision before it that rounding took the other way would leave them.
    """
    import numpy as np
    from onnx import helper, numpy_helper
    from onnx2tf.ops import MatMul

    tried = MatMul.acquisition_of_validation_data

    def swapped(**arguments):
        infos, first, second = tried(**arguments)
        return infos, np.swapaxes(first, -1, -2), second

    monkeypatch.setattr(MatMul, "acquisition_of_validation_data", swapped)
    triangle = np.tril(np.random.default_rng(0).normal(size=(1, 60, 60))).astype(np.float32)
    constants = {"column": np.array([1, 60, 1]), "triangle": triangle}
    nodes = [
        helper.make_node("Reshape", ["image", "column"], ["pixels"]),
        helper.make_node("Mul", ["triangle", "pixels"], ["rows"]),
        helper.make_node("MatMul", ["rows", "pixels"], ["map"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _both_ways(folder, nodes, tensors, (1, 60, 1))


@needs_second_route
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="onnx2tf 1.28.8: permutes factors though strict mode is off"
)
def test_onnx2tf_leaves_the_factors_of_a_product_alone(tmp_path, monkeypatch):
    """When this passes, delete `factors_as_they_stand` in converters/workarounds.py."""
    import numpy as np

    monkeypatch.delitem(workarounds.MENDED, "MatMul")
    expected, found = _product(tmp_path, monkeypatch)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@needs_second_route
def test_the_factors_of_a_product_are_left_alone_meanwhile(tmp_path, monkeypatch):
    import numpy as np

    expected, found = _product(tmp_path, monkeypatch)
    np.testing.assert_allclose(found, expected, atol=1e-4)
