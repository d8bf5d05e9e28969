"""What the census counts in ONNX files, against counts on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from meta_tests.miniatures.model_files import described, floats, node, onnx_file
from modelparity.modelfiles.describe import describe
from modelparity.modelfiles.description import BrokenModelError, Port

X = ["N", 3, 8, 8]


def test_a_float_network(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),  # 4·64 outputs × 3·9
        node("Conv", "c d -", "e", group=4, pads=[1, 1, 1, 1]),  # 4·64 outputs × 9
        node("ConvTranspose", "e t", "u", strides=[2, 2]),  # 4·64 inputs × 2·4
        node("Reshape", "u s", "f"),
        node("Gemm", "f g", "h", transB=1),  # 5 outputs × 512
        node("Constant", "", "k", value=numpy_helper.from_array(floats(5, 7))),
        node("MatMul", "h k", "y"),  # 7 outputs × 5
    ]
    constants = {
        **{"w": floats(4, 3, 3, 3), "b": floats(4), "d": floats(4, 1, 3, 3), "t": floats(4, 2, 2, 2)},
        **{"s": np.array([0, -1]), "g": floats(5, 512), "unread": floats(1000)},
    }
    found = described(tmp_path, nodes, constants, X)
    assert found.macs == {"float32": 256 * 27 + 256 * 9 + 256 * 8 + 5 * 512 + 35}
    assert found.weights == {"float32": 108 + 4 + 36 + 32 + 5 * 512 + 35}
    assert found.operators == {
        "Conv": 2,
        "ConvTranspose": 1,
        "Reshape": 1,
        "Gemm": 1,
        "Constant": 1,
        "MatMul": 1,
    }
    assert (found.format, found.quantization, found.producer) == ("onnx", "fp32", "hand 1")
    assert found.inputs == (Port("x", ("N", 3, 8, 8), "float32"),)


@pytest.mark.parametrize("batch", ["N", None, 1, 6])
def test_multiply_accumulates_are_those_of_one_image(tmp_path: Path, batch: int | str | None) -> None:
    nodes = [node("Conv", "x w", "c"), node("Reshape", "c s", "f"), node("MatMul", "f m", "y")]
    constants = {"w": floats(4, 3, 3, 3), "s": np.array([0, -1]), "m": floats(144, 5)}
    assert described(tmp_path, nodes, constants, [batch, 3, 8, 8]).macs == {"float32": 4 * 36 * 27 + 5 * 144}


def test_gemm_sums_over_the_first_axis_of_a_transposed_operand(tmp_path: Path) -> None:
    nodes = [node("Transpose", "x", "t"), node("Gemm", "t w", "y", transA=1)]
    assert described(tmp_path, nodes, {"w": floats(3, 4)}, ["N", 3]).macs == {"float32": 12}


def test_an_unknown_shape_is_recorded_not_guessed(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "p"), node("Conv", "p v", "y")]
    found = described(tmp_path, nodes, {"w": floats(4, 3, 3, 3), "v": floats(2, 4, 1, 1)}, ["N", 3, "H", "W"])
    assert found.macs == {"float32": 8, "unknown": 1}
    found = described(
        tmp_path, [node("Einsum", "x w", "y", equation="ab,bc->ac")], {"w": floats(3, 4)}, ["N", 3]
    )
    assert found.macs == {"unknown": 1}


def test_a_shape_that_only_the_file_knows(tmp_path: Path) -> None:
    path = onnx_file(
        tmp_path / "m",
        [node("Mine", "x", "c", domain="my.own"), node("MatMul", "c w", "y")],
        {"w": floats(3, 4)},
        ["N", 9],
    )
    model = onnx.load_from_string(path.read_bytes())
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, ["N", 3]))
    path.write_bytes(model.SerializeToString())
    assert describe(path).macs == {"float32": 12, "unknown": 1}  # Mine itself is not known


def test_an_axis_that_only_the_file_knows(tmp_path: Path) -> None:
    nodes = [node("NonZero", "x", "n"), node("Cast", "n", "f", to=1), node("MatMul", "f w", "y")]
    path = onnx_file(tmp_path / "m", nodes, {"w": floats(6, 4)}, [1, 9])
    assert describe(path).macs == {"unknown": 1}
    model = onnx.load_from_string(path.read_bytes())
    model.graph.value_info.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, [2, 6]))
    path.write_bytes(model.SerializeToString())
    assert describe(path).macs == {"float32": 2 * 4 * 6}


def test_stale_declared_shapes_do_not_count(tmp_path: Path) -> None:
    path = onnx_file(
        tmp_path / "m", [node("Relu", "x", "c"), node("MatMul", "c w", "y")], {"w": floats(3, 4)}, ["N", 3]
    )
    model = onnx.load_from_string(path.read_bytes())
    model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, ["7*N", 5, 3]))
    path.write_bytes(model.SerializeToString())
    assert describe(path).macs == {"float32": 12}


def test_sizes_and_scales_of_resize_are_no_weights(tmp_path: Path) -> None:
    nodes = [node("Resize", "x - s", "r"), node("Conv", "r w", "y")]
    found = described(tmp_path, nodes, {"s": np.array([1, 1, 2, 2], np.float32), "w": floats(1, 3, 1, 1)}, X)
    assert (found.weights, found.macs) == ({"float32": 3}, {"float32": 256 * 3})


def test_bodies_and_functions(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("MatMul", "x w", "o")],
        "then",
        [],
        [helper.make_tensor_value_info("o", 1, None)],
        [numpy_helper.from_array(floats(3, 4), "w")],
    )
    other = helper.make_graph(
        [node("Identity", "x", "p")], "else", [], [helper.make_tensor_value_info("p", 1, None)]
    )
    branch = node("If", "c", "y", then_branch=body, else_branch=other)
    found = described(tmp_path, [branch], {"c": np.array(True)}, ["N", 3])
    assert (found.macs, found.weights) == ({"unknown": 1}, {"float32": 12})
    assert found.operators == {"If": 1, "MatMul": 1, "Identity": 1}

    opsets = [helper.make_opsetid("", 20)]
    double = helper.make_function(
        "my.own", "Twice", ["a", "b"], ["e"], [node("MatMul", "a b", "d"), node("Add", "d d", "e")], opsets
    )
    nodes = [node("Twice", "x w", "h", domain="my.own"), node("Twice", "h v", "y", domain="my.own")]
    path = onnx_file(
        tmp_path / "f", nodes, {"w": floats(3, 4), "v": floats(4, 2)}, ["N", 3], functions=[double]
    )
    model = onnx.load_from_string(path.read_bytes())
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    path.write_bytes(model.SerializeToString())
    assert describe(path).macs == {"float32": 12 + 8}
    assert describe(path).operators == {"MatMul": 2, "Add": 2}


def test_old_files_list_initializers_as_inputs(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "m", [node("MatMul", "x w", "y")], {"w": floats(3, 4)}, ["N", 3])
    model = onnx.load_from_string(path.read_bytes())
    model.graph.input.insert(0, helper.make_tensor_value_info("w", 1, [3, 4]))
    path.write_bytes(model.SerializeToString())
    assert [port.name for port in describe(path).inputs] == ["x"]
    assert describe(path).macs == {"float32": 12}


def beside(tmp_path: Path, stored: int | None, location: str = "big.data") -> Path:
    """A model with 3 GB of weights in a file beside it, `stored` bytes of them there (a sparse file)."""
    path = onnx_file(tmp_path / "m.onnx", [node("MatMul", "x w", "y")], {"w": floats(1, 1)}, ["N", 30_000])
    model = onnx.load_from_string(path.read_bytes())
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.dims[:] = [30_000, 25_000]
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    if stored is not None:
        with (tmp_path / "big.data").open("wb") as data:
            data.truncate(stored)
    return path


def test_data_beside_the_file_are_measured_not_loaded(tmp_path: Path) -> None:
    found = describe(beside(tmp_path, 3_000_000_000))
    assert found.weights == found.macs == {"float32": 750_000_000}


@pytest.mark.parametrize("stored", [None, 0, 2_999_999_999])
def test_data_that_are_not_there(tmp_path: Path, stored: int | None) -> None:
    with pytest.raises(
        BrokenModelError, match="missing" if stored is None else r"needs 3000000000 bytes, but has"
    ):
        describe(beside(tmp_path, stored))


def test_damage_that_protobuf_lets_pass(tmp_path: Path) -> None:
    def damaged(change: Any, match: str) -> None:
        path = onnx_file(tmp_path / "m", [node("MatMul", "x w", "y")], {"w": floats(3, 4)}, ["N", 3])
        model = onnx.load_from_string(path.read_bytes())
        change(model)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(BrokenModelError, match=match):
            describe(path)

    damaged(lambda m: m.graph.initializer[0].dims.__setitem__(0, 4), "needs 64 bytes, but has 48")
    damaged(lambda m: m.graph.initializer[0].dims.__setitem__(0, -3), r"shape \(-3, 4\)")
    damaged(lambda m: setattr(m.graph.initializer[0], "data_type", 99), "99")
    damaged(lambda m: m.graph.initializer[0].ClearField("raw_data"), "but has 0")
    damaged(lambda m: m.graph.node[0].input.__setitem__(1, "v"), "reads 'v', which nothing makes")
    damaged(lambda m: setattr(m.graph.output[0], "name", "z"), "nothing makes the output 'z'")
    damaged(lambda m: m.ClearField("opset_import"), "names no opset")
    damaged(lambda m: m.graph.ClearField("output"), "no graph with outputs")
    damaged(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 0), "no type")

    path = onnx_file(tmp_path / "m", [node("Mine", "x", "y", domain="my.own")], {}, [1])
    with pytest.raises(BrokenModelError, match=r"No opset import for domain my\.own"):
        describe(path)
    path = onnx_file(tmp_path / "m", [node("Relu", "x", "café")], {}, [1], y="café")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(BrokenModelError, match="bytes found"):
        describe(path)
