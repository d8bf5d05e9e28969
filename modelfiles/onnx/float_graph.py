"""Reads an ONNX file as a `Graph` of float operators, whatever of them it computes in integers.

Recognised, by structure:

- `QuantizeLinear` and the `DequantizeLinear` of the same scale and zero point behind it: a rounding;
- `DequantizeLinear` of a constant, `Cast` to float32 of a float16 one, `Transpose` of one: that constant;
- `DynamicQuantizeLinear` of a constant: its integers, computed here as a runtime does on loading;
- `DynamicQuantizeLinear`, `MatMulInteger` or `ConvInteger`, `Cast`, and `Mul` by the product of both
  scales: the `MatMul` or `Conv` of the floats.

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
from modelparity.modelfiles.graph import Edge, Graph, Operator, QuantizationParams
from modelparity.modelfiles.onnx import lazy_model
from modelparity.modelfiles.onnx.macs import dtype_word
from modelparity.modelfiles.onnx.ranges import observed_ranges

__all__ = ["graph_of", "observed_ranges"]

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
    for node in model.graph.node:
        reader.read(node)
    return Graph(tuple((value.name, reader.edges[value.name]) for value in model.graph.output))


class _Reader:
    """`edges` are what each name stands for, in floats."""

    def __init__(self) -> None:
        self.edges: dict[str, Edge] = {}
        self._integers: dict[str, tuple[Array, Array]] = {}  # made by QuantizeLinear: scale and zero point
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

    def read(self, node: NodeProto) -> None:
        inputs = [self.edges[name] if name else None for name in node.input]
        while inputs and inputs[-1] is None:
            inputs.pop()  # optional, left out
        special = self._special.get(node.op_type) if not node.domain else None
        if special is not None and (edge := special(node, inputs)) is not None:
            self.edges[node.output[0]] = edge
            return
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if not self._integers.keys().isdisjoint(node.input):
            kind += " of integers"
        made = Operator(kind, _attributes(node), tuple(inputs), tuple(node.output))
        self.edges.update((name, Edge(made, place)) for place, name in enumerate(node.output) if name)

    def _constant(self, node: NodeProto, _: Sequence[Edge | None]) -> Edge | None:
        (value,) = (helper.get_attribute_value(attribute) for attribute in node.attribute)
        array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
        return _as_constant(node.output[0], array)

    def _cast(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        constant = _stored(inputs[0])
        widens = constant and constant.dtype == "float16" and _attributes(node)["to"] == TensorProto.FLOAT
        return inputs[0] if widens else None

    def _transpose(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        constant, axes = _stored(inputs[0]), _attributes(node).get("perm")
        return Edge(constant.turned(axes)) if constant and axes else None

    def _quantize(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        edge, step = inputs[0], _scalars(inputs)
        if edge is None or isinstance(edge.source, Constant) or step is None:
            return None
        scale, zero_point = step
        limits = _LIMITS.get(str(zero_point.dtype))
        if scale.size != 1 or limits is None:
            return None
        self._integers[node.output[0]] = step
        rounding = QuantizationParams(float(scale.item()), int(zero_point.item()), *limits)
        return replace(edge, roundings=(*edge.roundings, rounding))

    def _dequantize(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        step, constant = _scalars(inputs), _stored(inputs[0])
        if step is None:
            return None
        if node.input[0] in self._integers:
            known = zip(self._integers[node.input[0]], step, strict=True)
            return inputs[0] if all(np.array_equal(*pair) for pair in known) else None
        if constant is None or constant.scale is not None:
            return None
        axis = _attributes(node).get("axis", 1)
        scaled = _with_scale(constant, *step, axis=axis if step[0].size > 1 else 0)
        return Edge(replace(scaled, dequantized=True))

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
        dynamic, constant, scale = (
            _made_by(numbers, "DynamicQuantizeLinear"),
            _stored(weight),
            _stored(weights),
        )
        if dynamic is None or constant is None or scale is None or constant.scale is not None:
            return None
        places = [(edge.source, edge.place) for edge in (numbers, running, zero) if edge]
        if places != [(dynamic, place) for place in range(3)]:
            return None  # scale and zero point are another activation's
        convolution = integer.kind == "ConvInteger"
        behind, rank = len(constant.shape) - 2 if convolution else 0, len(constant.shape)
        axis = 0 if convolution else rank - 1
        step, shift = scale.read(), _stored(rest[0])
        if step.size > 1 and step.shape != (constant.shape[axis], *[1] * behind):
            return None
        zeros = np.zeros(1, np.int32) if shift is None else shift.read()
        quantized = _with_scale(constant, step.reshape(-1), zeros.reshape(-1), axis)
        kind = "Conv" if convolution else "MatMul"
        made = Operator(kind, integer.attributes, (dynamic.inputs[0], Edge(quantized)), (node.output[0],))
        return Edge(made)

    def _convolution(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        weight, bias = _stored(inputs[1]), _stored(inputs[2]) if len(inputs) > 2 else None
        if bias is None or weight is None:
            return None
        made = _unbiased(node, "Conv", inputs[0], weight, attributes=_attributes(node))
        bias = _of_layer(bias, inputs[0], weight)
        return self._add(node, made, Edge(bias.spread(len(weight.shape) - 2)))

    def _gemm(self, node: NodeProto, inputs: Sequence[Edge | None]) -> Edge | None:
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **_attributes(node)}
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


def _unbiased(
    node: NodeProto, kind: str, edge: Edge | None, weight: Constant, *, attributes: Mapping[str, Any]
) -> Edge:
    return Edge(Operator(kind, attributes, (edge, Edge(weight)), (node.output[0],)))


def _as_constant(name: str, array: Array) -> Edge:
    return Edge(Constant(name, str(array.dtype), array.shape, lambda: array))


def _attributes(node: NodeProto) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {
        name: value.SerializeToString() if hasattr(value, "SerializeToString") else value
        for name, value in values.items()
    }


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


def _of_layer(bias: Constant, edge: Edge | None, weight: Constant) -> Constant:
    """A quantized bias, told the scale that it should have."""
    if bias.scale is None or weight.scale is None or edge is None or not edge.roundings:
        return bias
    product = np.float64(edge.roundings[-1].scale) * weight.scale.astype(np.float64).reshape(-1)
    return replace(bias, product=product)
