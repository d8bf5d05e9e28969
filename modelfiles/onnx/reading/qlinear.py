"""Reads onnxruntime's operators of integers other than layers as the float operators that they stand for.

Each tensor comes with its scale and zero point:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Edge, Operator, QuantizationParams
from modelparity.modelfiles.onnx.reading.edges import (
    is_one,
    read_as,
    rounding,
    scalars,
    stored,
    with_scale,
)

_Known = Callable[[int], tuple[Array, Array] | None]  # of an input: the scale and zero point that it has


@dataclass(frozen=True)
class Form:
    """A float operator; its tensors start at the places `read`, and its result's scale is at `gives`.

    Attributes `left_out` are of the quantized operator alone.
    """

    kind: str
    read: tuple[int, ...]
    gives: int
    left_out: tuple[str, ...] = ()


FORMS: Mapping[str, Form] = {
    "QLinearSoftmax": Form("Softmax", (0,), 3, ("opset",)),
    "QLinearSigmoid": Form("Sigmoid", (0,), 3),
    "QLinearLeakyRelu": Form("LeakyRelu", (0,), 3),
    "QLinearGlobalAveragePool": Form("GlobalAveragePool", (0,), 3, ("channels_last",)),
    "QLinearAveragePool": Form("AveragePool", (0,), 3, ("channels_last",)),
    "QLinearAdd": Form("Add", (0, 3), 6),
    "QLinearMul": Form("Mul", (0, 3), 6),
}
CONCAT = "QLinearConcat"


def float_operator(
    op_type: str,
    attributes: Mapping[str, Any],
    inputs: Sequence[Edge | None],
    output: str,
    *,
    known: _Known,
) -> tuple[Operator, tuple[Array, Array], QuantizationParams] | None:
    """The float operator, the scale and zero point of its result, and its rounding.

    None where a scale or zero point is not known from the file.
    """
    form = FORMS.get(op_type) or Form("Concat", tuple(range(2, len(inputs), 3)), 0)
    if attributes.get("channels_last"):
        return None
    edges: list[Edge | None] = []
    for place in form.read:
        step, constant = scalars(inputs[place : place + 3]), stored(inputs[place])
        if step is None:
            return None
        if constant is not None:
            edges.append(_constant(constant, step))
        else:
            edges.append(read_as(inputs[place:], known(place), f"{output}, input {place}"))
    if None in edges:
        return None
    given = scalars([None, *inputs[form.gives : form.gives + 2]])
    if given is None or not is_one(*given):
        return None
    kept = {name: value for name, value in attributes.items() if name not in form.left_out}
    return Operator(form.kind, kept, tuple(edges), (output,)), given, rounding(*given)


def _constant(constant: Constant, step: tuple[Array, Array]) -> Edge:
    return Edge(with_scale(constant, *step, axis=0))
