"""Runs a float file's graph with substitutes for its non-linear functions, operator by operator.

What an operator's own kernel computes is linear, or has no substitute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant, real
from modelparity.modelfiles.graph import Graph, Operator
from modelparity.parity.simulation.graph_run import OperatorRunner
from modelparity.parity.structure import substitutes as by
from modelparity.parity.structure.file_rules import (
    DISCRETE,
    INDEXES,
    ORDERS,
    ORT,
    PASSES,
    RULES,
    Parts,
    hard,
    parts,
    tensor,
)

# What gives the shape of its input, which depends on no value of it.
_SHAPES = ("Shape", "Size", "SHAPE", "RANK", "ZEROS_LIKE")


def following(graph: Graph) -> set[Operator]:
    """The operators whose results depend on the values of an input."""
    found: set[Operator] = set()
    for operator in graph.operators():
        sources = [edge.source for edge in operator.inputs if edge is not None]
        if operator.kind == "input" or (operator.kind not in _SHAPES and not found.isdisjoint(sources)):
            found.add(operator)
    return found


def behind(graph: Graph) -> set[Operator]:
    """The operators that depend on one that orders or selects numbers."""
    found: set[Operator] = set()
    for operator in graph.operators():
        sources = [edge.source for edge in operator.inputs if edge is not None]
        if operator.kind in ORDERS or not found.isdisjoint(sources):
            found.add(operator)
    return found


class Substituted:
    """Runs operators alone; `masks` and `whole` as `program.Substituted` has them.

    Attributes:
        follows: The operators whose results depend on the values of an input.
        values: Each operator's results, if asked for.
    """

    def __init__(self, graph: Graph, runner: OperatorRunner, *, masks: bool, whole: bool) -> None:
        self._runner = runner
        self.follows = following(graph)
        self._linear: dict[Operator, Operator] = {}  # kept, because runners keep what they need by operator
        self.image_channels = runner.image_channels
        self.masks = masks
        self._whole = whole
        self._behind_order = set() if whole else behind(graph)
        self.values: dict[Operator, list[Array]] | None = None

    def run(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        results = self._run(operator, inputs)
        if self.values is not None:
            self.values[operator] = results
        return results

    def _run(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        if operator not in self.follows:
            return self._runner.run(operator, inputs)
        rule = RULES.get(operator.kind)
        if rule is not None and self._is_replaced(operator):
            values = [_value(operator, place, each) for place, each in enumerate(inputs)]
            result = rule(self, operator, values)
            if result is not None:
                return [result]
        results = self._plain(operator, inputs)
        if operator in self._behind_order:
            return results
        return [self._activated(operator, value) for value in results]

    def plainly(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        """What the operator's own kernel gives."""
        return self._runner.run(operator, inputs)

    def _is_replaced(self, operator: Operator) -> bool:
        return operator not in self._behind_order and (self._whole or operator.kind not in DISCRETE)

    def _plain(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        if operator not in self._behind_order:
            operator = self._linear.setdefault(operator, linear(operator))
        of_parts = [each for each in inputs if isinstance(each, Parts)]
        if not of_parts:
            return self._runner.run(operator, inputs)
        if operator.kind in INDEXES:
            fed = [inputs[0], *(None if each is None else hard(each) for each in inputs[1:])]
            if not isinstance(inputs[0], Parts):
                return self._runner.run(operator, fed)
        elif operator.kind in PASSES:
            fed = [_as_numbers(operator, place, each) for place, each in enumerate(inputs)]
        else:
            return self._runner.run(operator, [None if each is None else hard(each) for each in inputs])
        plain = [None if each is None else np.asarray(each) for each in fed]
        meant = of_parts[0].meant
        return [parts(tensor(value), meant) for value in self._runner.run(operator, plain)]

    def _activated(self, operator: Operator, value: Array) -> Array:
        """With the activation that the file fused, which the runner leaves out."""
        function = _activation(operator)
        return value if function is None else function(tensor(value)).numpy()


def linear(operator: Operator) -> Operator:
    """The operator without the activation that is fused into it."""
    if _activation(operator) is None:
        return operator
    without = {
        name: value for name, value in operator.attributes.items() if not name.startswith("activation")
    }
    if "fusedActivationFunction" in without:
        without["fusedActivationFunction"] = 0
    return replace(operator, attributes=without)


def _activation(operator: Operator) -> Callable[[Tensor], Tensor] | None:
    # `activation` is ONNX Runtime's, of several operators.
    code, name = (operator.attributes.get(each) for each in ("fusedActivationFunction", "activation"))
    if isinstance(name, str | bytes) and name and operator.kind.startswith(ORT):
        params = [float(each) for each in operator.attributes.get("activation_params", ())]
        function = _FUSED_BY_NAME[name if isinstance(name, str) else name.decode()]
        return lambda value: function(value, *params)
    return None if code is None else _FUSED.get(code)


def _value(operator: Operator, place: int, value: Array | None) -> Array | None:
    """An input's value; a constant's, if the input is one."""
    edge = operator.inputs[place]
    if value is not None or edge is None or not isinstance(edge.source, Constant):
        return value
    found: Array = np.asarray(real(edge.source, np.float32))
    return found


def _as_numbers(operator: Operator, place: int, value: Array | None) -> Array | None:
    """An operand beside numbers that stand for others: these, too; shapes and axes as they are."""
    value = value if value is not None or place not in (0, 1) else _value(operator, place, value)
    if value is None or isinstance(value, Parts) or value.dtype == np.float32:
        return value
    if operator.kind in _OPERANDS and (place < 2 or operator.kind in _ANY_NUMBER):
        if value.dtype == np.bool_:
            return by.truth(tensor(value), torch.float32).numpy()
        return value.astype(np.float32)
    return None if isinstance(operator.inputs[place].source, Constant) else value  # type: ignore[union-attr]


_OPERANDS = {
    *("Add", "Sub", "Mul", "MatMul", "Concat", "ADD", "SUB", "MUL", "BATCH_MATMUL", "CONCATENATION", "PACK"),
}
_ANY_NUMBER = {"Concat", "CONCATENATION", "PACK"}
_FUSED: Mapping[int, Callable[[Tensor], Tensor]] = {  # of TFLite's ActivationFunctionType
    1: by.relu,
    2: lambda value: by.clip(value, -1.0, 1.0),
    3: lambda value: by.clip(value, 0.0, 6.0),
    4: by.tanh,
}
_FUSED_BY_NAME: Mapping[str, Callable[..., Tensor]] = {  # of ONNX Runtime's FusedConv
    "Relu": by.relu,
    "Tanh": by.tanh,
    "Sigmoid": by.sigmoid,
    "LeakyRelu": by.leaky_relu,
    "Clip": by.clip,
    "HardSigmoid": by.hard_sigmoid,
}
