"""Reads an ONNX file as a `Graph` of float operators, whatever of them it computes in integers.

What is recognised stands in `modelparity.modelfiles.onnx.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, inliner, numpy_helper

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import OF_INTEGERS, Edge, Graph, Operator, QuantizationParams
from modelparity.modelfiles.onnx import lazy_model
from modelparity.modelfiles.onnx.macs import dtype_word
from modelparity.modelfiles.onnx.nodes import attributes_of, ordered
from modelparity.modelfiles.onnx.operators import traits
from modelparity.modelfiles.onnx.ranges import observed_ranges
from modelparity.modelfiles.onnx.reading import qlinear
from modelparity.modelfiles.onnx.reading.blocks import by_blocks, repeated, rounding_reader
from modelparity.modelfiles.onnx.reading.edges import (
    BIAS,
    LIMITS,
    as_constant,
    is_one,
    made_by,
    of_layer,
    quantized_by_range,
    read_as,
    rounding,
    scalars,
    scaled_bias,
    stored,
    unbiased,
    with_scale,
)
from modelparity.modelfiles.onnx.reading.types import of_one_type

__all__ = ["graph_of", "observed_ranges"]

# With an input, a weight and a bias as those of a layer; the bias stays in the operator.
_WITH_BIAS = ("ConvTranspose", "LayerNormalization", "InstanceNormalization")


def graph_of(path: Path) -> Graph:
    model, reading = lazy_model.load(path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    reader = _Reader({each.domain: each.version for each in model.opset_import})
    for tensor in model.graph.initializer:
        shape, dtype = tuple(tensor.dims), dtype_word(tensor.data_type)
        reader.add(tensor.name, Constant(tensor.name, dtype, shape, reading[tensor.name]))
    for value in model.graph.input:
        reader.fed(value.name, dtype_word(value.type.tensor_type.elem_type))
    for node in ordered(model.graph):
        reader.read(node)
    return Graph(tuple((value.name, reader.edges[value.name]) for value in model.graph.output))


class _Reader:
    """`edges` are what each name stands for, in floats."""

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self._opsets = opsets
        self._half: set[str] = set()  # names of what is float16
        self._floating: set[str] = set()  # of what is known to be float16 or float32
        self._blocks: dict[Constant, int] = {}  # sizes
        self._from_integers: set[str] = set()  # names of what DequantizeLinear makes
        self.edges: dict[str, Edge] = {}
        self._integers: dict[str, tuple[Array, Array]] = {}  # made by QuantizeLinear: scale and zero point
        self._tables: dict[tuple[Operator, float, int], Edge] = {}  # rows of tables of integers, in floats
        self._special: dict[str, Callable[[NodeProto, Sequence[Edge | None]], Edge | None]] = {
            "Constant": self._constant,
            "Cast": self._cast,
            "Transpose": self._transpose,
            "QuantizeLinear": self._quantize,
            "DequantizeLinear": self._dequantize,
            "DynamicQuantizeLinear": self._quantized_constant,
            "Mul": self._integer_product,
            "MatMul": self._product,
            "Conv": self._convolution,
            "Gemm": self._gemm,
        }
        # Of integers, in the standard's domain or onnxruntime's.
        self._of_integers: dict[str, Callable[[NodeProto, Sequence[Edge | None]], Edge | None]] = {
            "QLinearConv": self._qlinear_convolution,
            "QLinearMatMul": self._qlinear_matmul,
            "QGemm": self._qgemm,
            "DynamicQuantizeMatMul": self._dynamic_matmul,
            "MatMulIntegerToFloat": self._matmul_to_float,
            "MatMulNBits": self._matmul_by_blocks,
            **dict.fromkeys((*qlinear.FORMS, qlinear.CONCAT), self._qlinear_operator),
        }

    def add(self, name: str, constant: Constant) -> Edge:
        """A constant of the file."""
        self._typed(name, constant.dtype)
        self.edges[name] = Edge(constant)
        return self.edges[name]

    def _typed(self, name: str, dtype: str) -> None:
        if dtype in ("float16", "float32"):
            self._floating.add(name)
        if dtype == "float16":
            self._half.add(name)

    def fed(self, name: str, dtype: str) -> None:
        """An input of the file."""
        if name not in self.edges:
            self._typed(name, dtype)
            made = Operator("input", {"name": name}, (), (name,))
            self.edges[name] = Edge(made, half=dtype == "float16")

    def read(self, node: NodeProto) -> None:
        self._read(node)
        self._floating.update(of_one_type(node, self._floating, self._opsets))
        for name in of_one_type(node, self._half, self._opsets):
            self._half.add(name)
            if isinstance(self.edges[name].source, Operator):
                self.edges[name] = replace(self.edges[name], half=True)

    def _read(self, node: NodeProto) -> None:
        inputs = [self.edges[name] if name else None for name in node.input]
        while inputs and inputs[-1] is None:
            inputs.pop()  # optional, left out
        special = self._of_integers.get(node.op_type)
        if special is None and not node.domain:
            special = self._special.get(node.op_type)
        if special is not None and (edge := special(node, inputs)) is not None:
            self.edges[node.output[0]] = edge
            return
        if not node.domain and node.op_type in _WITH_BIAS and len(inputs) > BIAS:
            inputs = [*inputs[:BIAS], scaled_bias(inputs), *inputs[BIAS + 1 :]]
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        moved: tuple[QuantizationParams, ...] = ()
        if node.input and node.input[0] in self._integers and not node.domain and traits(kind).moves:
            self._integers[node.output[0]] = scale, zero_point = self._integers[node.input[0]]
            moved = (rounding(scale, zero_point),)
        elif not self._integers.keys().isdisjoint(node.input):
            kind += OF_INTEGERS
        made = Operator(kind, attributes_of(node), tuple(inputs), tuple(node.output))
        self.edges.update((name, Edge(made, place, moved)) for place, name in enumerate(node.output) if name)

    def _constant(self, node: NodeProto, _: Sequence[Edge | None]) -> Edge | None:
        (value,) = (helper.get_attribute_value(attribute) for attribute in node.attribute)
        array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
        constant = stored(as_constant(node.output[0], array))
        return None if constant is None else self.add(node.output[0], constant)

    def _cast(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        edge, to = inputs[0], attributes_of(node)["to"]
        if to not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            return None
        self._typed(node.output[0], dtype_word(to))
        if edge is None or node.input[0] not in (self._half if to == TensorProto.FLOAT else self._floating):
            return None
        if to == TensorProto.FLOAT:
            return edge
        return None if isinstance(edge.source, Constant) else replace(edge, half=True)

    def _transpose(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        constant, axes = stored(inputs[0]), attributes_of(node).get("perm")
        return Edge(constant.turned(axes)) if constant and axes else None

    def _quantize(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        edge, step = inputs[0], scalars(inputs)
        if edge is None or isinstance(edge.source, Constant) or step is None:
            return None
        if not is_one(*step):
            return None
        self._integers[node.output[0]] = step
        return replace(edge, roundings=(*edge.roundings, rounding(*step)))

    def _dequantize(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        step, constant = scalars(inputs), stored(inputs[0])
        self._from_integers.add(node.output[0])
        self._floating.add(node.output[0])
        if step is None:
            return None
        if (gathered := self._gathered(inputs[0], *step)) is not None:
            return gathered
        if node.input[0] in self._integers:
            known = zip(self._integers[node.input[0]], step, strict=True)
            return inputs[0] if all(np.array_equal(*pair) for pair in known) else None
        if constant is None or constant.scale is not None:
            return None
        attributes = attributes_of(node)
        axis, size = attributes.get("axis", 1), attributes.get("block_size", 0)
        if size and step[0].ndim == len(constant.shape):
            scale, zero_point = (repeated(part, constant.shape, axis, size) for part in step)
            constant = replace(constant, scale=scale, zero_point=zero_point)
            self._blocks[constant] = size
            return Edge(constant)
        return Edge(with_scale(constant, *step, axis=axis if step[0].size > 1 else 0))

    def _gathered(self, edge: Edge | None, scale: Array, zero_point: Array) -> Edge | None:
        """Rows of a table of integers that have this scale and zero point, moved or not."""
        made = edge.source if edge is not None and isinstance(edge.source, Operator) else None
        if made is None or edge is None or edge.roundings or scale.size != 1:
            return None
        key = (made, float(scale.item()), int(zero_point.item()))
        if key in self._tables:
            return self._tables[key]
        if made.kind == "Gather":
            table = stored(made.inputs[0])
            if table is None or table.dtype not in LIMITS or table.scale is not None:
                return None
            read: Edge | None = Edge(with_scale(table, scale, zero_point, axis=0))
        else:
            read = self._gathered(made.inputs[0], scale, zero_point) if traits(made.kind).moves else None
        if read is not None:
            moved = Operator(made.kind, made.attributes, (read, *made.inputs[1:]), made.names)
            self._tables[key] = Edge(moved)
        return self._tables.get(key)

    def _quantized_constant(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        """The integers, scale and zero point of a constant.

        onnxruntime's `quantize_dynamic` leaves a kernel that is a Constant node to this operator.

        https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
        """
        constant = stored(inputs[0])
        if constant is None or constant.scale is not None:
            return None
        for name, array in zip(node.output, quantized_by_range(constant.read()), strict=True):
            self.edges[name] = as_constant(name, array)
        return self.edges[node.output[0]]

    def _integer_product(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        """`Cast(MatMulInteger(q, w, zero points)) * (scale of q * scale of w)`, factors in any order."""
        for product, factor in (inputs, inputs[::-1]):
            cast, rescale = made_by(product, "Cast"), made_by(factor, "Mul")
            if cast is None or rescale is None:
                continue
            integer = made_by(cast.inputs[0], "MatMulInteger", "ConvInteger")
            for running, weights in (rescale.inputs, rescale.inputs[::-1]):
                if integer is not None and (edge := self._layer(node, integer, running, weights)):
                    return edge
        return None

    def _layer(
        self, node: NodeProto, integer: Operator, running: Edge | None, weights: Edge | None
    ) -> Edge | None:
        numbers, weight, zero, *rest = (*integer.inputs, None, None)
        constant, scale = stored(weight), stored(weights)
        if constant is None or scale is None or constant.scale is not None:
            return None
        read = self._read_integers(numbers, running, zero)
        if read is None:
            return None
        convolution = integer.kind == "ConvInteger"
        behind, rank = len(constant.shape) - 2 if convolution else 0, len(constant.shape)
        axis = 0 if convolution else rank - 1
        step, shift = scale.read(), stored(rest[0])
        if step.size > 1 and step.shape != (constant.shape[axis], *[1] * behind):
            return None
        zeros = np.zeros(1, np.int32) if shift is None else shift.read()
        quantized = with_scale(constant, step.reshape(-1), zeros.reshape(-1), axis)
        kind = "Conv" if convolution else "MatMul"
        return Edge(Operator(kind, integer.attributes, (read, Edge(quantized)), (node.output[0],)))

    def _read_integers(self, numbers: Edge | None, scale: Edge | None, zero: Edge | None) -> Edge | None:
        """The floats that integers stand for, which must be those of this scale and zero point."""
        if (dynamic := made_by(numbers, "DynamicQuantizeLinear")) is not None:
            places = [(edge.source, edge.place) for edge in (numbers, scale, zero) if edge]
            if places != [(dynamic, place) for place in range(3)] or dynamic.inputs[0] is None:
                return None  # scale and zero point are another activation's
            return replace(dynamic.inputs[0], ranged=True)
        step, shift = stored(scale), stored(zero)
        if step is None or shift is None:
            return None
        return self._gathered(numbers, step.read(), shift.read())

    def _qlinear_convolution(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        return self._qlinear(node, inputs, "Conv", inputs[8] if len(inputs) > 8 else None, axis=0)

    def _qlinear_matmul(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        return self._qlinear(node, inputs, "MatMul", None, axis=-1)

    def _qgemm(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        """https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.QGemm"""
        attributes = {"alpha": 1.0, "transA": 0, "transB": 0, **attributes_of(node)}
        matrix = stored(inputs[3])
        if matrix is None or attributes["alpha"] != 1.0 or attributes["transA"]:
            return None
        if attributes["transB"]:
            inputs = [*inputs[:3], Edge(matrix.turned((1, 0))), *inputs[4:]]
        rest = [*inputs[6:], None, None, None]
        return self._qlinear(node, [*inputs[:6], *rest[1:3]], "MatMul", rest[0], axis=-1)

    def _qlinear(
        self, node: NodeProto, inputs: Sequence[Edge | None], kind: str, bias: Edge | None, *, axis: int
    ) -> Edge | None:
        """The float layer of a quantized one.

        Its inputs are x, w and, without the numbers, the result, each with its scale and zero point. A
        `QGemm` without those of a result gives floats.
        """
        weight, step, given = stored(inputs[3]), scalars(inputs[3:6]), scalars([None, *inputs[6:8]])
        told, read = scalars(inputs[:3]), read_as(inputs, self._integers.get(node.input[0]), node.input[0])
        if weight is None or step is None or weight.scale is not None or read is None or told is None:
            return None
        weight = with_scale(weight, *step, axis=axis)
        attributes = attributes_of(node) if kind == "Conv" else {}
        edge = unbiased(node, kind, read, weight, attributes=attributes)
        if bias is not None and isinstance(bias.source, Constant):
            product = np.float32(told[0]) * step[0].astype(np.float32)
            shape = (-1, *[1] * (len(weight.shape) - 2 if kind == "Conv" else 0))
            added = with_scale(bias.source, product.reshape(-1), np.zeros(product.size, np.int32), axis=0)
            added = of_layer(added, inputs[0], weight).spread(len(shape) - 1)
            edge = self._add(node, edge, Edge(added))
        if given is None and node.op_type == "QGemm":
            return edge
        if given is None or not is_one(*given):
            return None
        self._integers[node.output[0]] = given
        return replace(edge, roundings=(rounding(*given),))

    def _qlinear_operator(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        attributes, name = attributes_of(node), node.output[0]
        found = qlinear.float_operator(
            node.op_type, attributes, inputs, name, known=lambda place: self._integers.get(node.input[place])
        )
        if found is None:
            return None
        made, self._integers[name], given = found
        return Edge(made, roundings=(given,))

    def _dynamic_matmul(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        """Reads floats, and quantizes them as it runs."""
        read, weight, scale, zero_point, bias = (*inputs, *[None] * 5)[:5]
        return self._matmul(node, read and replace(read, ranged=True), [weight, scale, zero_point], bias)

    def _matmul_to_float(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        numbers, weight, scale, step, zero, zero_point, bias = (*inputs, *[None] * 7)[:7]
        read = self._read_integers(numbers, scale, zero)
        return self._matmul(node, read, [weight, step, zero_point], bias)

    def _matmul(
        self, node: NodeProto, read: Edge | None, weight: Sequence[Edge | None], bias: Edge | None
    ) -> Edge | None:
        matrix, step = stored(weight[0]), stored(weight[1])
        if read is None or matrix is None or step is None or matrix.scale is not None:
            return None
        scale, shift = step.read(), stored(weight[2])
        zeros = np.zeros(1, np.int32) if shift is None else shift.read()
        quantized = with_scale(matrix, scale, zeros, axis=-1)
        edge = unbiased(node, "MatMul", read, quantized, attributes={})
        return edge if bias is None else self._add(node, edge, bias)

    def _matmul_by_blocks(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        found, bias = by_blocks(attributes_of(node), inputs), inputs[5] if len(inputs) > 5 else None
        edge = None if found is None else unbiased(node, "MatMul", *found, attributes={})
        return edge if edge is None or bias is None else self._add(node, edge, bias)

    def _product(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        matrix = stored(inputs[1])
        read = self._read_by_blocks(node, inputs[0], matrix)
        return (
            None if matrix is None or read is None else unbiased(node, "MatMul", read, matrix, attributes={})
        )

    def _read_by_blocks(self, node: NodeProto, edge: Edge | None, matrix: Constant | None) -> Edge | None:
        if matrix is None or node.input[0] in self._from_integers:
            return None
        return rounding_reader(edge, matrix, self._blocks.get(matrix, 0))

    def _convolution(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        weight, bias = stored(inputs[1]), stored(inputs[2]) if len(inputs) > 2 else None
        if bias is None or weight is None:
            return None
        made = unbiased(node, "Conv", inputs[0], weight, attributes=attributes_of(node))
        bias = of_layer(bias, inputs[0], weight)
        return self._add(node, made, Edge(bias.spread(len(weight.shape) - 2)))

    def _gemm(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **attributes_of(node)}
        turned, weight = attributes.pop("transB"), stored(inputs[1])
        if weight is None or attributes != {"alpha": 1.0, "beta": 1.0, "transA": 0}:
            return None
        matrix = weight.turned((1, 0)) if turned else weight
        read = None if turned else self._read_by_blocks(node, inputs[0], matrix)
        made = unbiased(node, "MatMul", read or inputs[0], matrix, attributes={})
        bias = inputs[2] if len(inputs) > 2 else None
        if bias is None:
            return made
        if isinstance(bias.source, Constant):
            bias = Edge(of_layer(bias.source, inputs[0], weight))
        return self._add(node, made, bias)

    def _add(self, node: NodeProto, edge: Edge, bias: Edge) -> Edge:
        return Edge(Operator("Add", {}, (edge, bias), (node.output[0],)))
