"""Reads an ONNX file as a `Graph` of float operators, whatever of them it computes in integers.

Recognised, by structure:

- `QuantizeLinear` and the `DequantizeLinear` of the same scale and zero point behind it: a rounding;
- `DequantizeLinear` of a constant, `Cast` to float32 of a float16 one, `Transpose` of one: that constant;
- `DynamicQuantizeLinear` of a constant: its integers, computed here as a runtime does on loading;
- `DynamicQuantizeLinear`, `MatMulInteger` or `ConvInteger`, `Cast`, and `Mul` by the product of both
  scales: the `MatMul` or `Conv` of the floats;
- `QLinearConv`, `QLinearMatMul` and `QGemm`: the layer of the floats, its result rounded; operators that
  only move integers keep their scale and zero point;
- `DynamicQuantizeMatMul` and `MatMulIntegerToFloat`, which onnxruntime's optimizer writes: the `MatMul`;
- `Gather` of a table of integers, and `DequantizeLinear` or such a product behind it: the `Gather` of floats.

The bias of a `Conv` or a `Gemm` counts as the `Add` behind it, in both files: integer forms have it
there. Anything else that reads integers stands for nothing and shows as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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

__all__ = ["graph_of", "observed_ranges"]

# With an input, a weight and a bias as those of a layer; the bias stays in the operator.
_WITH_BIAS = ("ConvTranspose", "LayerNormalization", "InstanceNormalization")
_BIAS = 2
_LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def graph_of(path: Path) -> Graph:
    model, reading = lazy_model.load(path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    reader = _Reader()
    for tensor in model.graph.initializer:
        shape, dtype = tuple(tensor.dims), dtype_word(tensor.data_type)
        reader.edges[tensor.name] = Edge(Constant(tensor.name, dtype, shape, reading[tensor.name]))
    for value in model.graph.input:
        made = Operator("input", {"name": value.name}, (), (value.name,))
        reader.edges.setdefault(value.name, Edge(made))
    for node in ordered(model.graph):
        reader.read(node)
    return Graph(tuple((value.name, reader.edges[value.name]) for value in model.graph.output))


class _Reader:
    """`edges` are what each name stands for, in floats."""

    def __init__(self) -> None:
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
        }

    def read(self, node: NodeProto) -> None:
        inputs = [self.edges[name] if name else None for name in node.input]
        while inputs and inputs[-1] is None:
            inputs.pop()  # optional, left out
        special = self._of_integers.get(node.op_type)
        if special is None and not node.domain:
            special = self._special.get(node.op_type)
        if special is not None and (edge := special(node, inputs)) is not None:
            self.edges[node.output[0]] = edge
            return
        if not node.domain and node.op_type in _WITH_BIAS and len(inputs) > _BIAS:
            inputs = [*inputs[:_BIAS], _scaled_bias(inputs), *inputs[_BIAS + 1 :]]
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        moved: tuple[QuantizationParams, ...] = ()
        if node.input and node.input[0] in self._integers and not node.domain and traits(kind).moves:
            self._integers[node.output[0]] = scale, zero_point = self._integers[node.input[0]]
            moved = (_rounding(scale, zero_point),)
        elif not self._integers.keys().isdisjoint(node.input):
            kind += OF_INTEGERS
        made = Operator(kind, attributes_of(node), tuple(inputs), tuple(node.output))
        self.edges.update((name, Edge(made, place, moved)) for place, name in enumerate(node.output) if name)

    def _constant(self, node: NodeProto, _: Sequence[Edge | None]) -> Edge | None:
        (value,) = (helper.get_attribute_value(attribute) for attribute in node.attribute)
        array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
        return _as_constant(node.output[0], array)

    def _cast(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        constant = _stored(inputs[0])
        widens = constant and constant.dtype == "float16" and attributes_of(node)["to"] == TensorProto.FLOAT
        return inputs[0] if widens else None

    def _transpose(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        constant, axes = _stored(inputs[0]), attributes_of(node).get("perm")
        return Edge(constant.turned(axes)) if constant and axes else None

    def _quantize(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        edge, step = inputs[0], _scalars(inputs)
        if edge is None or isinstance(edge.source, Constant) or step is None:
            return None
        if not _is_one(*step):
            return None
        self._integers[node.output[0]] = step
        return replace(edge, roundings=(*edge.roundings, _rounding(*step)))

    def _dequantize(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        step, constant = _scalars(inputs), _stored(inputs[0])
        if step is None:
            return None
        if (gathered := self._gathered(inputs[0], *step)) is not None:
            return gathered
        if node.input[0] in self._integers:
            known = zip(self._integers[node.input[0]], step, strict=True)
            return inputs[0] if all(np.array_equal(*pair) for pair in known) else None
        if constant is None or constant.scale is not None:
            return None
        axis = attributes_of(node).get("axis", 1)
        return Edge(_with_scale(constant, *step, axis=axis if step[0].size > 1 else 0))

    def _gathered(self, edge: Edge | None, scale: Array, zero_point: Array) -> Edge | None:
        """Rows of a table of integers that have this scale and zero point."""
        made = _made_by(edge, "Gather")
        table = _stored(made.inputs[0]) if made is not None else None
        if made is None or table is None or table.dtype not in _LIMITS or table.scale is not None:
            return None
        if scale.size != 1:
            return None
        key = (made, float(scale.item()), int(zero_point.item()))
        if key not in self._tables:
            quantized = Edge(_with_scale(table, scale, zero_point, axis=0))
            self._tables[key] = Edge(
                Operator("Gather", made.attributes, (quantized, *made.inputs[1:]), made.names)
            )
        return self._tables[key]

    def _quantized_constant(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        """The integers, scale and zero point of a constant.

        onnxruntime's `quantize_dynamic` leaves a kernel that is a Constant node to this operator.

        https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
        """
        constant = _stored(inputs[0])
        if constant is None or constant.scale is not None:
            return None
        values = constant.read().astype(np.float32)
        low, high = np.minimum(values.min(), np.float32(0)), np.maximum(values.max(), np.float32(0))
        scale = (high - low) / np.float32(255) or np.float32(1)
        zero_point = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        integers = np.clip(np.rint(values / scale) + zero_point, 0, 255).astype(np.uint8)
        for name, array in zip(
            node.output, (integers, np.asarray(scale), np.asarray(zero_point)), strict=True
        ):
            self.edges[name] = _as_constant(name, array)
        return self.edges[node.output[0]]

    def _integer_product(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        """`Cast(MatMulInteger(q, w, zero points)) * (scale of q * scale of w)`, factors in any order."""
        for product, factor in (inputs, inputs[::-1]):
            cast, rescale = _made_by(product, "Cast"), _made_by(factor, "Mul")
            if cast is None or rescale is None:
                continue
            integer = _made_by(cast.inputs[0], "MatMulInteger", "ConvInteger")
            for running, weights in (rescale.inputs, rescale.inputs[::-1]):
                if integer is not None and (edge := self._layer(node, integer, running, weights)):
                    return edge
        return None

    def _layer(
        self, node: NodeProto, integer: Operator, running: Edge | None, weights: Edge | None
    ) -> Edge | None:
        numbers, weight, zero, *rest = (*integer.inputs, None, None)
        constant, scale = _stored(weight), _stored(weights)
        if constant is None or scale is None or constant.scale is not None:
            return None
        read = self._read_integers(numbers, running, zero)
        if read is None:
            return None
        convolution = integer.kind == "ConvInteger"
        behind, rank = len(constant.shape) - 2 if convolution else 0, len(constant.shape)
        axis = 0 if convolution else rank - 1
        step, shift = scale.read(), _stored(rest[0])
        if step.size > 1 and step.shape != (constant.shape[axis], *[1] * behind):
            return None
        zeros = np.zeros(1, np.int32) if shift is None else shift.read()
        quantized = _with_scale(constant, step.reshape(-1), zeros.reshape(-1), axis)
        kind = "Conv" if convolution else "MatMul"
        return Edge(Operator(kind, integer.attributes, (read, Edge(quantized)), (node.output[0],)))

    def _read_integers(self, numbers: Edge | None, scale: Edge | None, zero: Edge | None) -> Edge | None:
        """The floats that integers stand for, which must be those of this scale and zero point."""
        if (dynamic := _made_by(numbers, "DynamicQuantizeLinear")) is not None:
            places = [(edge.source, edge.place) for edge in (numbers, scale, zero) if edge]
            if places != [(dynamic, place) for place in range(3)] or dynamic.inputs[0] is None:
                return None  # scale and zero point are another activation's
            return replace(dynamic.inputs[0], ranged=True)
        step, shift = _stored(scale), _stored(zero)
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
        matrix = _stored(inputs[3])
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
        weight, step, given = _stored(inputs[3]), _scalars(inputs[3:6]), _scalars([None, *inputs[6:8]])
        known, told = self._integers.get(node.input[0]), _scalars(inputs[:3])
        if weight is None or step is None or weight.scale is not None or known is None or told is None:
            return None
        if not all(np.array_equal(*pair) for pair in zip(known, told, strict=True)):
            return None
        weight = _with_scale(weight, *step, axis=axis)
        attributes = attributes_of(node) if kind == "Conv" else {}
        edge = _unbiased(node, kind, inputs[0], weight, attributes=attributes)
        if bias is not None and isinstance(bias.source, Constant):
            product = np.float32(told[0]) * step[0].astype(np.float32)
            shape = (-1, *[1] * (len(weight.shape) - 2 if kind == "Conv" else 0))
            added = _with_scale(bias.source, product.reshape(-1), np.zeros(product.size, np.int32), axis=0)
            added = _of_layer(added, inputs[0], weight).spread(len(shape) - 1)
            edge = self._add(node, edge, Edge(added))
        if given is None and node.op_type == "QGemm":
            return edge
        if given is None or not _is_one(*given):
            return None
        self._integers[node.output[0]] = given
        return replace(edge, roundings=(_rounding(*given),))

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
        matrix, step = _stored(weight[0]), _stored(weight[1])
        if read is None or matrix is None or step is None or matrix.scale is not None:
            return None
        scale, shift = step.read(), _stored(weight[2])
        zeros = np.zeros(1, np.int32) if shift is None else shift.read()
        quantized = _with_scale(matrix, scale, zeros, axis=-1)
        edge = _unbiased(node, "MatMul", read, quantized, attributes={})
        return edge if bias is None else self._add(node, edge, bias)

    def _convolution(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        weight, bias = _stored(inputs[1]), _stored(inputs[2]) if len(inputs) > 2 else None
        if bias is None or weight is None:
            return None
        made = _unbiased(node, "Conv", inputs[0], weight, attributes=attributes_of(node))
        bias = _of_layer(bias, inputs[0], weight)
        return self._add(node, made, Edge(bias.spread(len(weight.shape) - 2)))

    def _gemm(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **attributes_of(node)}
        turned, weight = attributes.pop("transB"), _stored(inputs[1])
        if weight is None or attributes != {"alpha": 1.0, "beta": 1.0, "transA": 0}:
            return None
        matrix = weight.turned((1, 0)) if turned else weight
        made = _unbiased(node, "MatMul", inputs[0], matrix, attributes={})
        bias = inputs[2] if len(inputs) > 2 else None
        if bias is None:
            return made
        if isinstance(bias.source, Constant):
            bias = Edge(_of_layer(bias.source, inputs[0], weight))
        return self._add(node, made, bias)

    def _add(self, node: NodeProto, edge: Edge, bias: Edge) -> Edge:
        return Edge(Operator("Add", {}, (edge, bias), (node.output[0],)))


def _is_one(scale: Array, zero_point: Array) -> bool:
    """Whether they are those of a whole activation, in a type whose limits are known."""
    return scale.size == 1 and str(zero_point.dtype) in _LIMITS


def _rounding(scale: Array, zero_point: Array) -> QuantizationParams:
    limits = _LIMITS[str(zero_point.dtype)]
    return QuantizationParams(float(scale.item()), int(zero_point.item()), *limits)


def _unbiased(
    node: NodeProto, kind: str, edge: Edge | None, weight: Constant, *, attributes: Mapping[str, Any]
) -> Edge:
    return Edge(Operator(kind, attributes, (edge, Edge(weight)), (node.output[0],)))


def _as_constant(name: str, array: Array) -> Edge:
    return Edge(Constant(name, str(array.dtype), array.shape, lambda: array))


def _stored(edge: Edge | None) -> Constant | None:
    return edge.source if edge and isinstance(edge.source, Constant) and not edge.roundings else None


def _made_by(edge: Edge | None, *kinds: str) -> Operator | None:
    made = edge.source if edge and not edge.roundings else None
    return made if isinstance(made, Operator) and made.kind in kinds else None


def _scalars(inputs: Sequence[Edge | None]) -> tuple[Array, Array] | None:
    """Scale and zero point of a quantize or dequantize step; None if one of them is computed."""
    if len(inputs) < 2 or (scale := _stored(inputs[1])) is None:
        return None
    if len(inputs) < 3:
        return scale.read(), np.zeros(scale.shape, np.uint8)  # the type where no zero point tells it
    zero_point = _stored(inputs[2])
    return None if zero_point is None else (scale.read(), zero_point.read())


def _with_scale(constant: Constant, scale: Array, zero_point: Array, axis: int) -> Constant:
    """`scale` and `zero_point` are of one element, or of as many as the axis has."""

    def along(part: Array) -> Array:
        shape = [1] * len(constant.shape)
        if part.size > 1:
            shape[axis] = part.size
        return part.reshape(shape)

    return replace(constant, scale=along(scale), zero_point=along(zero_point), paired=True)


def _scaled_bias(inputs: Sequence[Edge | None]) -> Edge | None:
    """The bias, told the scale that it should have."""
    edge, (weight, bias) = inputs[0], map(_stored, inputs[1 : _BIAS + 1])
    if bias is None or weight is None or weight.scale is None:
        return inputs[_BIAS]
    by_channel = weight.scale.size in (1, bias.shape[0])
    return Edge(_of_layer(bias, edge, weight)) if by_channel else inputs[_BIAS]


def _of_layer(bias: Constant, edge: Edge | None, weight: Constant) -> Constant:
    """A quantized bias, told the scale that it should have."""
    if bias.scale is None or weight.scale is None or edge is None or not edge.roundings:
        return bias
    product = np.float64(edge.roundings[-1].scale) * weight.scale.astype(np.float64).reshape(-1)
    return replace(bias, product=product)
