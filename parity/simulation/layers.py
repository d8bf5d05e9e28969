"""The layers of a quantized file that own rounded weights, as a simulation in PyTorch needs them.

Read from the file's `lineage.Graph`, so for every format alike: weights in PyTorch's own layout, the
roundings of what a layer reads and gives, and the activation that the file fused into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelparity.modelfiles.constants import Array, Constant
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
    """`weight` [out, in, ...] and `bias` [out] are the numbers that the file's integers stand for; `bias` is
    None where the file keeps it in float. `reads` and `gives` are roundings of activations, in order.
    A layer of int8 weights that reads no rounded activation rounds it as it runs (`dynamic`), one range a
    row of its input (`rows`) or one for all. `activation` is computed before `gives`: "", "relu", "relu6".
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
        return self.kind == "FULLY_CONNECTED" or (self.kind == "CONV_2D" and self.weight.shape[2:] == (1, 1))


@dataclass(frozen=True)
class Simulated:
    """Outputs by name, one dictionary a feed, of the simulation and of its twin. `layers` is how many layers
    of the file have rounded weights, `unmatched` names those that no layer of the network corresponds to,
    `elsewhere` activations that are rounded where no such layer reads or gives them."""

    outputs: tuple[dict[str, Array], ...]
    twin: tuple[dict[str, Array], ...]
    layers: int
    unmatched: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


Readers = Mapping[Operator, Sequence[tuple[Operator | None, Edge]]]


def layers_of(graph: Graph) -> list[Layer]:
    """In computing order."""
    readers = _readers(graph)
    return [_layer(operator, readers) for operator in _ordered(graph) if _is_rounded(operator)]


def rounded_elsewhere(graph: Graph) -> list[str]:
    """Names of activations that are rounded where no layer of rounded weights reads or gives them."""
    readers = _readers(graph)
    followed = set()
    for operator in filter(_is_rounded, _ordered(graph)):
        read, end = operator.inputs[0], _end(operator, readers).operator
        assert read is not None
        followed |= {(read.name, rounding) for rounding in read.roundings}
        given = [wire for _, wire in readers.get(end, ())]
        followed |= {(given[0].name, rounding) for rounding in _common(given)}
    wires = [wire for of_one in readers.values() for _, wire in of_one]
    left = [w.name for w in wires if any((w.name, rounding) not in followed for rounding in w.roundings)]
    return list(dict.fromkeys(left))


def _readers(graph: Graph) -> Readers:
    """What reads each operator, in computing order; None reads for the file's outputs."""
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
    """The operator whose result a layer gives: its own, or that of a bias or a relu behind it."""

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
    """The rounding that all readers read through: it belongs to what they read."""
    first = {wire.roundings[:1] for wire in wires}
    return first.pop() if len(first) == 1 else ()


def _real(constant: Constant) -> Array:
    """(q - zero point) x scale."""
    values = constant.read().astype(np.float64)
    if constant.zero_point is not None and not constant.symmetric:
        values = values - constant.zero_point
    return values if constant.scale is None else values * constant.scale


def _ordered(graph: Graph) -> Iterator[Operator]:
    """Each operator behind all that it reads."""
    done: set[Operator] = set()
    left: list[tuple[Operator, bool]] = [
        (w.source, False) for _, w in reversed(graph.outputs) if isinstance(w.source, Operator)
    ]
    while left:
        operator, ready = left.pop()
        if operator in done:
            continue
        if ready:
            done.add(operator)
            yield operator
            continue
        left.append((operator, True))
        sources = [wire.source for wire in operator.inputs if wire is not None]
        left += [(s, False) for s in reversed(sources) if isinstance(s, Operator)]
