"""Which arithmetic, weights and recipe the census sees in ONNX files of each quantized form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from meta_tests.miniatures.model_files import described, floats, int8s, node

SCALE, ZERO, UZERO = np.float32(0.5), np.int8(0), np.uint8(0)
X = ["N", 3, 8, 8]

STORED: dict[str, Any] = {
    "xs": SCALE,
    "xz": UZERO,
    "w": int8s(3, 4),
    "ws": np.full(4, 0.5, np.float32),
    "wz": int8s(4),
}
QDQ = [
    node("QuantizeLinear", "x xs xz", "q"),
    node("DequantizeLinear", "q xs xz", "d"),
    node("DequantizeLinear", "w ws wz", "v", axis=1),
]
RUNNING = [
    node("DynamicQuantizeLinear", "x", "q qs qz"),
    node("MatMulInteger", "q w qz wz", "i"),
    node("Cast", "i", "f", to=TensorProto.FLOAT),
    node("Mul", "qs ws", "s"),
    node("Mul", "f s", "y"),
]
Q_ = {"xs": SCALE, "xz": UZERO, "ys": SCALE, "yz": UZERO}
HALF = {"w": np.ones((3, 4), np.float16)}
MS = {"domain": "com.microsoft"}

RECIPES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str, dict[str, int], dict[str, int]]] = {
    "QDQ": ([*QDQ, node("MatMul", "d v", "y")], STORED, "int8_static", {"int8": 12}, {"int8": 12}),
    "QDQ moved": (
        [*QDQ, node("Transpose", "d", "t"), node("Transpose", "t", "u"), node("MatMul", "u v", "y")],
        STORED,
        "int8_static",
        {"int8": 12},
        {"int8": 12},
    ),
    "QDQ bias": (
        [*QDQ, node("DequantizeLinear", "b bs", "c"), node("Gemm", "d v c", "y")],
        {**STORED, "b": np.ones(4, np.int32), "bs": SCALE},
        "int8_static",
        {"int8": 12},
        {"int8": 12, "int32": 4},
    ),
    "QDQ rounds its weight": (
        [
            *QDQ[:2],
            node("QuantizeLinear", "w ws wz", "r", axis=1),
            node("DequantizeLinear", "r ws wz", "v", axis=1),
            node("MatMul", "d v", "y"),
        ],
        {**STORED, "w": floats(3, 4)},
        "int8_static",
        {"int8": 12},
        {"float32": 12},
    ),
    "weight only": (
        [QDQ[2], node("MatMul", "x v", "y")],
        {k: STORED[k] for k in ("w", "ws", "wz")},
        "int8_weight_only",
        {"float32": 12},
        {"int8": 12},
    ),
    "weight only, rounded at run time": (
        [
            node("QuantizeLinear", "w ws wz", "r", axis=1),
            node("DequantizeLinear", "r ws wz", "v", axis=1),
            node("MatMul", "x v", "y"),
        ],
        {"w": floats(3, 4), "ws": STORED["ws"], "wz": STORED["wz"]},
        "int8_weight_only",
        {"float32": 12},
        {"float32": 12},
    ),
    "16 bits": (
        [
            node("QuantizeLinear", "x ws", "q", output_dtype=TensorProto.INT16),
            node("DequantizeLinear", "q ws", "d"),
            node("DequantizeLinear", "w ws", "v"),
            node("MatMul", "d v", "y"),
        ],
        {"w": np.ones((3, 4), np.int16), "ws": SCALE},
        "fp32",
        {"float32": 12},
        {"int16": 12},
    ),
    "activations only": (
        [*QDQ[:2], node("MatMul", "d m", "y")],
        {**STORED, "m": floats(3, 4)},
        "fp32",
        {"float32": 12},
        {"float32": 12},
    ),
    "QDQ with a scale that is made as it runs": (
        [
            node("DynamicQuantizeLinear", "x", "q qs qz"),
            node("DequantizeLinear", "q qs qz", "d"),
            QDQ[2],
            node("MatMul", "d v", "y"),
        ],
        STORED,
        "int8_dynamic",
        {"int8": 12},
        {"int8": 12},
    ),
    "running": (RUNNING, STORED, "int8_dynamic", {"int8": 12}, {"int8": 12}),
    "integer with a stored scale": (
        [
            node("QuantizeLinear", "x xs xz", "q"),
            node("MatMulInteger", "q w xz wz", "i"),
            node("Cast", "i", "y", to=1),
        ],
        STORED,
        "int8_static",
        {"int8": 12},
        {"int8": 12},
    ),
    "QLinear": (
        [
            QDQ[0],
            node("QLinearMatMul", "q xs xz w ws wz ys yz", "r"),
            node("DequantizeLinear", "r ys yz", "y"),
        ],
        {**STORED, **Q_},
        "int8_static",
        {"int8": 12},
        {"int8": 12},
    ),
    "contrib, its shape carried on": (
        [node("DynamicQuantizeMatMul", "x w ws wz b", "h", **MS), node("MatMul", "h m", "y")],
        {**STORED, "b": floats(4), "m": floats(4, 2)},
        "int8_dynamic",
        {"int8": 12, "float32": 8},
        {"int8": 12, "float32": 12},
    ),
    "fp16 behind a Cast": (
        [node("Cast", "w", "v", to=1), node("MatMul", "x v", "y")],
        HALF,
        "fp16",
        {"float32": 12},
        {"float16": 12},
    ),
    "fp16 throughout": (
        [node("Cast", "x", "h", to=10), node("MatMul", "h w", "i"), node("Cast", "i", "y", to=1)],
        HALF,
        "fp16",
        {"float16": 12},
        {"float16": 12},
    ),
    "mixed": (
        [*QDQ, node("MatMul", "d v", "h"), node("MatMul", "h m", "i"), node("MatMul", "i n", "y")],
        {**STORED, "m": floats(4, 9), "n": floats(9, 2)},
        "int8_static",
        {"int8": 12, "float32": 36 + 18},
        {"int8": 12, "float32": 54},
    ),
    "indices and axes": (
        [node("Gather", "w i", "v", axis=1), node("MatMul", "x v", "h"), node("ReduceSum", "h a", "y")],
        {"w": floats(3, 4), "i": np.arange(2, dtype=np.int32), "a": np.array([1])},
        "fp32",
        {"float32": 6},
        {"float32": 12},
    ),
}


@pytest.mark.parametrize("case", RECIPES)
def test_recipes_by_their_traces(tmp_path: Path, case: str) -> None:
    nodes, constants, quantization, macs, weights = RECIPES[case]
    found = described(tmp_path, nodes, constants, ["N", 3])
    assert (found.quantization, found.macs, found.weights) == (quantization, macs, weights)


def test_integer_convolutions(tmp_path: Path) -> None:
    constants = {**Q_, "w": int8s(4, 3, 3, 3), "ws": SCALE, "wz": ZERO, "b": np.ones(4, np.int32)}
    nodes = [
        node("QuantizeLinear", "x xs xz", "q"),
        node("QLinearConv", "q xs xz w ws wz ys yz b", "r"),
        node("DequantizeLinear", "r ys yz", "y"),
    ]
    found = described(tmp_path, nodes, constants, X)
    assert (found.quantization, found.macs) == ("int8_static", {"int8": 4 * 36 * 27})
    assert found.weights == {"int8": 108, "int32": 4}
    nodes = [
        node("DynamicQuantizeLinear", "x", "q qs qz"),
        node("ConvInteger", "q w qz wz", "i"),
        node("Cast", "i", "y", to=1),
    ]
    found = described(tmp_path, nodes, constants, X)
    assert (found.quantization, found.macs, found.weights) == (
        "int8_dynamic",
        {"int8": 4 * 36 * 27},
        {"int8": 108},
    )
