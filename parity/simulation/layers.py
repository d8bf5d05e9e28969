"""Reads the layers with rounded weights from a quantized file's graph, as the simulation needs them.

The graph is the same for every format (`modelparity.modelfiles.graph`). A layer has its weights in PyTorch's
layout, the roundings of its inputs and results, and the activation that the file fused into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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
        step: The distance of two neighbouring values, in the shape of `weight`; None for float16.
        bias: [out], the real values of the file's integers; None without one, or where it is float32.
        bias_step: The distance of two neighbouring values of the bias, [out]; None for float16.
        reads: Roundings of the layer's input, in order.
        gives: Roundings of its result, in order, after `activation`.
        activation: "", "relu" or "relu6".
        dynamic: It rounds its input at run time: it multiplies integers, but reads no rounded activation.
        negative: Roundings of the result of a second copy of the layer with the other sign; None without one.
            A converter may write a PReLU behind a matrix as relu(x) - slope relu(-x), and fold the sign into
            the copy.
    """

    name: str
    kind: str
    weight: Array
    step: Array | None
    bias: Array | None
    bias_step: Array | None
    reads: tuple[QuantizationParams, ...]
    gives: tuple[QuantizationParams, ...]
    activation: str
    dynamic: bool
    negative: tuple[QuantizationParams, ...] | None = None

    @property
    def rows(self) -> bool:
        """In TFLite: whether a range at run time covers one row of a matrix, instead of one image."""
        return self.kind == "FULLY_CONNECTED" or (self.kind == "CONV_2D" and self.weight.shape[2:] == (1, 1))


@dataclass(frozen=True)
class Simulated:
    """Outputs of the simulation by name, one dictionary for each feed.

    Attributes:
        perturbed: The same of a run over some of the feeds, in which 64 times as many ties fall to the other
            side; none of a file that rounds no activation.
        layers: How many layers of the file have rounded weights.
        wrong: For each of them whose weights are not the network's own, rounded: its name, how many are off
            by more than half a step, and the greatest distance in steps.
        unmatched: Names of those that match no layer of the network, and of float16 constants that match none
            of its tensors.
        elsewhere: Names of activations that are rounded outside such layers.
    """

    outputs: tuple[dict[str, Array], ...]
    perturbed: tuple[dict[str, Array], ...]
    layers: int
    unmatched: tuple[str, ...] = ()
    wrong: tuple[tuple[str, int, float], ...] = ()
    elsewhere: tuple[str, ...] = ()


Readers = Mapping[Operator, Sequence[tuple[Operator | None, Edge]]]


def layers_of(graph: Graph) -> list[Layer]:
    """The layers, in computing order."""
    readers = _readers(graph)
    found: list[tuple[Operator, Layer]] = []
    for operator in filter(_is_rounded, _ordered(graph)):
        layer = _layer(operator, readers)
        for place, (other, known) in enumerate(found):
            if sign := _copied(operator, layer, other, known):
                if sign < 0:
                    found[place] = (other, replace(known, negative=layer.gives))
                break
        else:
            found.append((operator, layer))
    return [layer for _, layer in found]


def _copied(operator: Operator, layer: Layer, other: Operator, known: Layer) -> int:
    """1 if a layer computes again what another one does from the same input, -1 if its negative, else 0."""
    one, two = operator.inputs[0], other.inputs[0]
    if one is None or two is None or (one.source, one.place) != (two.source, two.place):
        return 0
    if layer.weight.shape != known.weight.shape:
        return 0
    if np.array_equal(layer.weight, known.weight):
        return 1
    return -1 if np.array_equal(layer.weight, -known.weight) else 0


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
    return _is_narrow(wire.source)


def _is_narrow(constant: Constant) -> bool:
    """Whether it is stored in fewer bits than float32."""
    return constant.scale is not None or constant.dtype == "float16"


def cast_elsewhere(graph: Graph) -> list[Constant]:
    """Float16 constants that are not the weight or bias of a layer with rounded weights."""
    readers = _readers(graph)
    found: dict[str, Constant] = {}
    known = set()
    for operator in _ordered(graph):
        if _is_rounded(operator):
            end = _end(operator, readers)
            known |= {wire.name for wire in (operator.inputs[1], end.bias) if wire is not None}
        for wire in operator.inputs:
            if wire is not None and isinstance(wire.source, Constant) and wire.source.dtype == "float16":
                found[wire.name] = wire.source
    return [constant for name, constant in found.items() if name not in known]


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
    step = stored.source.scale
    if step is not None:
        step = np.broadcast_to(step, stored.source.shape)
        step = step.transpose(order) if order else step
    end = _end(operator, readers)
    constant = end.bias.source if end.bias is not None and isinstance(end.bias.source, Constant) else None
    if constant is not None and not _is_narrow(constant):
        constant = None
    bias_step = None if constant is None else constant.scale
    return Layer(
        operator.names[0],
        operator.kind,
        weight,
        step,
        None if constant is None else _real(constant).reshape(-1),
        None
        if bias_step is None or constant is None
        else np.broadcast_to(bias_step, constant.shape).reshape(-1),
        read.roundings,
        _common([wire for _, wire in readers.get(end.operator, ())]),
        end.activation,
        stored.source.scale is not None and not stored.source.dequantized and not read.roundings,
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
