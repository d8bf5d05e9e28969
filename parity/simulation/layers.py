"""Reads the layers with rounded weights from a quantized file's graph, as the simulation needs them.

The graph is the same for every format (`modelparity.modelfiles.graph`). A layer has its weights in PyTorch's
layout, the roundings of its inputs and results, and the activation that the file fused into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Edge, Graph, Operator, QuantizationParams

# From a format's layout to [out, in, height, width] or [out, in].
_TO_TORCH = {
    "Conv": None,
    "MatMul": (1, 0),
    "CONV_2D": (0, 3, 1, 2),
    "DEPTHWISE_CONV_2D": (3, 0, 1, 2),
    "FULLY_CONNECTED": None,
}
_FUSED = {0: "", 1: "relu", 3: "relu6"}  # of TFLite's ActivationFunctionType


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer with rounded weights.

    Attributes:
        weight: [out, in, ...], the real values of the file's integers.
        bias: [out], likewise; None where the file keeps it in float.
        reads: Roundings of the layer's input, in order.
        gives: Roundings of its result, in order, after `activation`.
        activation: "", "relu" or "relu6".
        dynamic: It rounds its input at run time, because it reads no rounded activation.
    """

    name: str
    kind: str
    weight: Array
    bias: Array | None
    reads: tuple[QuantizationParams, ...]
    gives: tuple[QuantizationParams, ...]
    activation: str
    dynamic: bool

    @property
    def rows(self) -> bool:
        """Whether a dynamic range covers one row of the input, instead of all of it."""
        return self.kind == "FULLY_CONNECTED" or (self.kind == "CONV_2D" and self.weight.shape[2:] == (1, 1))


@dataclass(frozen=True)
class Simulated:
    """Outputs of the simulation by name, one dictionary for each feed.

    Attributes:
        perturbed: The same of a run in which 64 times as many ties fall to the other side.
        layers: How many layers of the file have rounded weights.
        unmatched: Names of those that match no layer of the network.
        elsewhere: Names of activations that are rounded outside such layers.
    """

    outputs: tuple[dict[str, Array], ...]
    perturbed: tuple[dict[str, Array], ...]
    layers: int
    unmatched: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


Readers = Mapping[Operator, Sequence[tuple[Operator | None, Edge]]]


def layers_of(graph: Graph) -> list[Layer]:
    """The layers, in computing order."""
    readers = _readers(graph)
    return [_layer(operator, readers) for operator in _ordered(graph) if _is_rounded(operator)]


def rounded_elsewhere(graph: Graph) -> list[str]:
    """Names of activations that are rounded outside the inputs and results of layers with rounded weights."""
    readers = _readers(graph)
    followed = set()
    for operator in filter(_is_rounded, _ordered(graph)):
        read, end = operator.inputs[0], _end(operator, readers).operator
        assert read is not None
        followed |= {(read.name, rounding) for rounding in read.roundings}
        given = [wire for _, wire in readers.get(end, ())]
        followed |= {(given[0].name, rounding) for rounding in _common(given)}
    wires = [wire for of_one in readers.values() for _, wire in of_one]
    elsewhere = [w.name for w in wires if any((w.name, r) not in followed for r in w.roundings)]
    return list(dict.fromkeys(elsewhere))


def _readers(graph: Graph) -> Readers:
    """The readers of each operator, in computing order; None stands for an output of the file."""
    readers: dict[Operator, list[tuple[Operator | None, Edge]]] = {}
    for operator in _ordered(graph):
        for wire in operator.inputs:
            if wire is not None and isinstance(wire.source, Operator):
                readers.setdefault(wire.source, []).append((operator, wire))
    for _, wire in graph.outputs:
        if isinstance(wire.source, Operator):
            readers.setdefault(wire.source, []).append((None, wire))
    return readers


def _is_rounded(operator: Operator) -> bool:
    wire = operator.inputs[1] if operator.kind in _TO_TORCH and len(operator.inputs) > 1 else None
    if wire is None or not isinstance(wire.source, Constant):
        return False
    if operator.kind == "MatMul" and len(wire.source.shape) != 2:
        return False
    return wire.source.scale is not None or wire.source.dtype == "float16"


@dataclass(frozen=True, eq=False)
class _End:
    """The operator whose result is the layer's: its own, or the bias or ReLU after it."""

    operator: Operator
    bias: Edge | None
    activation: str


def _end(operator: Operator, readers: Readers) -> _End:
    bias = operator.inputs[2] if len(operator.inputs) > 2 else None
    end = operator
    after = readers.get(end, ())
    if bias is None and len(after) == 1 and (add := after[0][0]) is not None and add.kind == "Add":
        bias, end = next((w for w in add.inputs if w and isinstance(w.source, Constant)), None), add
        end = operator if bias is None else end
    fused = _FUSED[operator.attributes.get("fusedActivationFunction", 0)]
    after = readers.get(end, ())
    if (
        len(after) == 1
        and (relu := after[0][0]) is not None
        and relu.kind == "Relu"
        and not after[0][1].roundings
    ):
        end, fused = relu, "relu"
    return _End(end, bias, fused)


def _layer(operator: Operator, readers: Readers) -> Layer:
    read, stored = operator.inputs[0], operator.inputs[1]
    assert read is not None
    assert stored is not None
    assert isinstance(stored.source, Constant)
    weight, order = _real(stored.source), _TO_TORCH[operator.kind]
    weight = weight.transpose(order) if order else weight
    end = _end(operator, readers)
    constant = end.bias.source if end.bias is not None and isinstance(end.bias.source, Constant) else None
    return Layer(
        operator.names[0],
        operator.kind,
        weight,
        None if constant is None or constant.scale is None else _real(constant).reshape(-1),
        read.roundings,
        _common([wire for _, wire in readers.get(end.operator, ())]),
        end.activation,
        stored.source.scale is not None and not read.roundings,
    )


def _common(wires: Sequence[Edge]) -> tuple[QuantizationParams, ...]:
    """The rounding that all readers share: it belongs to the value that they read."""
    first = {wire.roundings[:1] for wire in wires}
    return first.pop() if len(first) == 1 else ()


def _real(constant: Constant) -> Array:
    """(q - zero point) x scale."""
    values = constant.read().astype(np.float64)
    if constant.zero_point is not None and not constant.symmetric:
        values = values - constant.zero_point
    return values if constant.scale is None else values * constant.scale


def _ordered(graph: Graph) -> Iterator[Operator]:
    """Operators, each after those that it reads."""
    done: set[Operator] = set()
    pending: list[tuple[Operator, bool]] = [
        (w.source, False) for _, w in reversed(graph.outputs) if isinstance(w.source, Operator)
    ]
    while pending:
        operator, ready = pending.pop()
        if operator in done:
            continue
        if ready:
            done.add(operator)
            yield operator
            continue
        pending.append((operator, True))
        sources = [wire.source for wire in operator.inputs if wire is not None]
        pending += [(s, False) for s in reversed(sources) if isinstance(s, Operator)]
