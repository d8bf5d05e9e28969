"""Small steps of reading an ONNX graph: what an edge holds, and which scale belongs to which constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import NodeProto

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import OF_INTEGERS, Edge, Operator, QuantizationParams

BIAS = 2  # the input of a layer that is its bias
LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def is_one(scale: Array, zero_point: Array) -> bool:
    """Whether they are those of a whole activation, in a type whose limits are known."""
    return scale.size == 1 and str(zero_point.dtype) in LIMITS


def rounding(scale: Array, zero_point: Array) -> QuantizationParams:
    limits = LIMITS[str(zero_point.dtype)]
    return QuantizationParams(float(scale.item()), int(zero_point.item()), *limits)


def unbiased(
    node: NodeProto, kind: str, edge: Edge | None, weight: Constant, *, attributes: Mapping[str, Any]
) -> Edge:
    return Edge(Operator(kind, attributes, (edge, Edge(weight)), (node.output[0],)))


def as_constant(name: str, array: Array) -> Edge:
    return Edge(Constant(name, str(array.dtype), array.shape, lambda: array))


def stored(edge: Edge | None) -> Constant | None:
    return edge.source if edge and isinstance(edge.source, Constant) and not edge.roundings else None


def made_by(edge: Edge | None, *kinds: str) -> Operator | None:
    made = edge.source if edge and not edge.roundings else None
    return made if isinstance(made, Operator) and made.kind in kinds else None


def scalars(inputs: Sequence[Edge | None]) -> tuple[Array, Array] | None:
    """Scale and zero point of a quantize or dequantize step; None if one of them is computed."""
    if len(inputs) < 2 or (scale := stored(inputs[1])) is None:
        return None
    if len(inputs) < 3:
        return scale.read(), np.zeros(scale.shape, np.uint8)  # the type where no zero point tells it
    zero_point = stored(inputs[2])
    return None if zero_point is None else (scale.read(), zero_point.read())


def with_scale(constant: Constant, scale: Array, zero_point: Array, axis: int) -> Constant:
    """`scale` and `zero_point` are of one element, or of as many as the axis has."""

    def along(part: Array) -> Array:
        shape = [1] * len(constant.shape)
        if part.size > 1:
            shape[axis] = part.size
        return part.reshape(shape)

    return replace(constant, scale=along(scale), zero_point=along(zero_point), paired=True)


def scaled_bias(inputs: Sequence[Edge | None]) -> Edge | None:
    """The bias, told the scale that it should have."""
    edge, (weight, bias) = inputs[0], map(stored, inputs[1 : BIAS + 1])
    if bias is None or weight is None or weight.scale is None:
        return inputs[BIAS]
    by_channel = weight.scale.size in (1, bias.shape[0])
    return Edge(of_layer(bias, edge, weight)) if by_channel else inputs[BIAS]


def of_layer(bias: Constant, edge: Edge | None, weight: Constant) -> Constant:
    """A quantized bias, told the scale that it should have."""
    if bias.scale is None or weight.scale is None or edge is None or not edge.roundings:
        return bias
    product = np.float64(edge.roundings[-1].scale) * weight.scale.astype(np.float64).reshape(-1)
    return replace(bias, product=product)


def quantized_by_range(values: Array) -> tuple[Array, Array, Array]:
    """What DynamicQuantizeLinear makes: integers, their scale and their zero point."""
    values = values.astype(np.float32)
    low, high = np.minimum(values.min(), np.float32(0)), np.maximum(values.max(), np.float32(0))
    scale = (high - low) / np.float32(255) or np.float32(1)
    zero_point = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    integers = np.clip(np.rint(values / scale) + zero_point, 0, 255).astype(np.uint8)
    return integers, np.asarray(scale), np.asarray(zero_point)


def read_as(inputs: Sequence[Edge | None], known: tuple[Array, Array] | None, name: str) -> Edge | None:
    """Integers as floats, by the scale and zero point behind them among the inputs.

    `known` are those by which they were made: where these are others, the floats are others, too. `name` is
    for what stands for that step, which the file does not have by itself. None if it is not known.
    """
    told = scalars(inputs)
    if known is None or told is None or inputs[0] is None:
        return None
    if all(map(np.array_equal, known, told)):
        return inputs[0]
    return Edge(Operator(f"DequantizeLinear{OF_INTEGERS}", {}, tuple(inputs[:3]), (f"{name} as it is read",)))
