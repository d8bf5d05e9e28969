"""Reads the layers with rounded weights from a quantized file's graph, as the simulation needs them.

The graph is the same for every format (`modelparity.modelfiles.graph`). A layer has its weights in PyTorch's
layout, the roundings of its inputs and results, and the activation that the file fused into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant, real
from modelparity.modelfiles.graph import Edge, Graph, Operator, QuantizationParams
from modelparity.parity.simulation.file_layers import (
    DYNAMIC_LSTM,
    SUM,
    TRANSPOSED,
    in_pytorchs_layout,
    is_narrow,
    is_rounded,
    kind_of,
    lstm_weights,
    not_simulated,
)

_FUSED = {0: "", 1: "relu", 3: "relu6"}  # of TFLite's ActivationFunctionType


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer with rounded weights.

    Attributes:
        name: That of the operator's first output.
        kind: The operator's, in the file's format.
        family: SUM, TRANSPOSED or TABLE (`modelparity.parity.simulation.file_layers`).
        weight: In that family's layout, the real values of the file's integers.
        step: The distance of two neighbouring values, in the shape of `weight`; None for float16.
        bias: [out], the real values of the file's integers; None without one, or where it is float32.
        biased: It adds a bias, of whatever type.
        float_bias: [out], where it is float32.
        bias_step: The distance of two neighbouring values of the bias, [out]; None for float16.
        reads: Roundings of the layer's input, in order.
        gives: Roundings of its result, in order, after `activation`.
        unbiased: Roundings of its result before the bias is added.
        activation: "", "relu" or "relu6".
        dynamic: It rounds its input by the range that this has at run time.
        blocks: It rounds its input by the peaks of blocks of so many numbers; 0 if it does not.
        repeated: It stands for every product of the network by this weight: the steps of a recurrent layer.
        negative: Roundings of the result of a second copy of the layer with the other sign; None without one.
            A converter may write a PReLU behind a matrix as relu(x) - slope relu(-x), and fold the sign into
            the copy.
    """

    name: str
    kind: str
    family: str
    weight: Array
    step: Array | None
    bias: Array | None
    bias_step: Array | None
    reads: tuple[QuantizationParams, ...]
    gives: tuple[QuantizationParams, ...]
    activation: str
    dynamic: bool
    biased: bool = False
    repeated: bool = False
    unbiased: tuple[QuantizationParams, ...] = ()
    negative: tuple[QuantizationParams, ...] | None = None
    float_bias: Array | None = None
    blocks: int = 0

    @property
    def rows(self) -> bool:
        """In TFLite: whether a range at run time covers one row of a matrix, instead of one image."""
        return self.kind in ("FULLY_CONNECTED", "BATCH_MATMUL") or (
            self.kind == "CONV_2D" and self.weight.shape[2:] == (1, 1)
        )


@dataclass(frozen=True)
class Simulated:
    """Outputs of the simulation by name, one dictionary for each feed.

    Attributes:
        perturbed: The same of a run over some of the feeds, in which 64 times as many ties fall to the other
            side; none of a file that rounds no activation.
        layers: How many layers of the file have rounded weights; of a file without any, how many float16
            constants it has.
        wrong: For each of them whose weights are not the network's own, rounded: its name, how many are off
            by more than half a step, and the greatest distance in steps.
        unmatched: Names of layers, and of float16 or integer constants, that match none of the network's.
        elsewhere: What of a file that rounds activations outside such layers cannot be simulated, and why.
        not_simulated: Operators of the file that read or make rounded numbers otherwise, with the reason.
        unrounded: Of a file that rounds activations elsewhere, what its graph computes without rounding over
            the first feeds, and what the network computes with the file's constants.
        steps: Of each output that the file itself rounds, the distance of two neighbouring values.
        shared_by_threads: Its ranges at run time depend on how threads share a batch.
    """

    outputs: tuple[dict[str, Array], ...]
    perturbed: tuple[dict[str, Array], ...]
    layers: int
    unmatched: tuple[str, ...] = ()
    wrong: tuple[tuple[str, int, float], ...] = ()
    elsewhere: str = ""
    not_simulated: tuple[str, ...] = ()
    unrounded: tuple[tuple[dict[str, Array], ...], tuple[dict[str, Array], ...]] | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    shared_by_threads: bool = False


def unrounded(layer: Layer) -> Layer:
    """The layer with its rounded weights, which rounds no activation."""
    negative = None if layer.negative is None else ()
    return replace(layer, reads=(), gives=(), unbiased=(), negative=negative, dynamic=False, blocks=0)


Readers = Mapping[Operator, Sequence[tuple[Operator | None, Edge]]]


def layers_of(graph: Graph) -> list[Layer]:
    """The layers, in computing order."""
    readers = _readers(graph)
    found: list[tuple[Operator, Layer]] = []
    for operator in graph.operators():
        if operator.kind == DYNAMIC_LSTM:
            found += [(operator, layer) for layer in _of_lstm(operator)]
        if not is_rounded(operator):
            continue
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
    if known.repeated or layer.family != known.family:
        return 0
    one, two = _read(operator), _read(other)
    if (one.source, one.place) != (two.source, two.place):
        return 0
    if layer.weight.shape != known.weight.shape:
        return 0
    if np.array_equal(layer.weight, known.weight):
        return int(_alike(layer.bias, known.bias) and _alike(layer.float_bias, known.float_bias))
    return -1 if np.array_equal(layer.weight, -known.weight) else 0


def _alike(one: Array | None, other: Array | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _of_lstm(operator: Operator) -> list[Layer]:
    """The products of an LSTM that rounds all of its inputs at once, and the hidden state at each step."""
    return [
        Layer(name, "MatMul", SUM, weight, step, None, None, (), (), "", dynamic=True, repeated=True)
        for name, weight, step in lstm_weights(operator) or ()
    ]


def unsupported(graph: Graph) -> list[str]:
    """Operators that read or make rounded numbers as the simulation does not, with the reason."""
    readers = _readers(graph)
    layers = [operator for operator in graph.operators() if is_rounded(operator)]
    added = {end.bias for end in (_end(layer, readers) for layer in layers) if end.bias is not None}
    return not_simulated(graph.operators(), added)


def rounded_elsewhere(graph: Graph) -> list[str]:
    """Names of activations that are rounded outside the inputs and results of layers with rounded weights."""
    readers = _readers(graph)
    followed = set()
    for operator in filter(is_rounded, graph.operators()):
        read, end = _read(operator), _end(operator, readers)
        followed |= {(read.name, rounding) for rounding in read.roundings}
        followed |= {(operator.names[0], rounding) for rounding in end.unbiased}
        given = [wire for _, wire in readers.get(end.operator, ())]
        followed |= {(given[0].name, rounding) for rounding in _common(given)}
    wires = [wire for of_one in readers.values() for _, wire in of_one]
    elsewhere = [w.name for w in wires if any((w.name, r) not in followed for r in w.roundings)]
    return list(dict.fromkeys(elsewhere))


def _readers(graph: Graph) -> Readers:
    """The readers of each operator, in computing order; None stands for an output of the file."""
    readers: dict[Operator, list[tuple[Operator | None, Edge]]] = {}
    for operator in graph.operators():
        for wire in operator.inputs:
            if wire is not None and isinstance(wire.source, Operator):
                readers.setdefault(wire.source, []).append((operator, wire))
    for _, wire in graph.outputs:
        if isinstance(wire.source, Operator):
            readers.setdefault(wire.source, []).append((None, wire))
    return readers


def _read(operator: Operator) -> Edge:
    """What a layer multiplies by its weight."""
    read = operator.inputs[kind_of(operator).read]
    assert read is not None
    return read


def cast_elsewhere(graph: Graph, but: Collection[str] = ()) -> list[Constant]:
    """Float16 constants other than weights and biases of layers with rounded weights, apart from `but`."""
    return _elsewhere(graph, lambda constant: constant.dtype == "float16", but)


def rounded_constants(graph: Graph) -> list[Constant]:
    """Constants of integers that are not the weight or bias of a layer with rounded weights."""
    return _elsewhere(graph, lambda constant: constant.scale is not None)


def _elsewhere(graph: Graph, wanted: Callable[[Constant], bool], but: Collection[str] = ()) -> list[Constant]:
    readers = _readers(graph)
    found: dict[str, Constant] = {}
    weights, biases, others = set(), set(), set()
    for operator in graph.operators():
        layer = is_rounded(operator) and operator.names[0] not in but
        if layer:
            bias = _end(operator, readers).bias
            weights |= {
                wire.name for wire in (operator.inputs[kind_of(operator).weight],) if wire is not None
            }
            biases |= {bias.name} if bias is not None else set()
        for wire in operator.inputs:
            if wire is not None and isinstance(wire.source, Constant) and wanted(wire.source):
                found[wire.name] = wire.source
                others |= set() if layer else {wire.name}
    known = biases | (weights - others)  # a matrix may be a table, too
    return [constant for name, constant in found.items() if name not in known]


@dataclass(frozen=True, eq=False)
class _End:
    """The operator whose result is the layer's: its own, or the bias or ReLU after it."""

    operator: Operator
    bias: Edge | None
    activation: str
    unbiased: tuple[QuantizationParams, ...]


def _end(operator: Operator, readers: Readers) -> _End:
    kind, end = kind_of(operator), operator
    bias = operator.inputs[kind.bias] if kind.bias is not None and len(operator.inputs) > kind.bias else None
    after = readers.get(end, ())
    unbiased: tuple[QuantizationParams, ...] = ()
    if bias is None and len(after) == 1 and (add := after[0][0]) is not None and add.kind == "Add":
        bias, end = next((w for w in add.inputs if w and isinstance(w.source, Constant)), None), add
        end = operator if bias is None else end
        unbiased = () if bias is None else after[0][1].roundings
    fused = _FUSED[operator.attributes.get("fusedActivationFunction", 0)]
    after = readers.get(end, ())
    if (
        len(after) == 1
        and (relu := after[0][0]) is not None
        and relu.kind == "Relu"
        and not after[0][1].roundings
    ):
        end, fused = relu, "relu"
    return _End(end, bias, fused, unbiased)


def _layer(operator: Operator, readers: Readers) -> Layer:
    kind, read = kind_of(operator), _read(operator)
    stored = operator.inputs[kind.weight]
    assert stored is not None
    assert isinstance(stored.source, Constant)
    step = stored.source.scale
    if step is not None:
        step = in_pytorchs_layout(operator, np.broadcast_to(step, stored.source.shape))
    end = _end(operator, readers)
    constant = end.bias.source if end.bias is not None and isinstance(end.bias.source, Constant) else None
    kept, biased = None, end.bias is not None
    if constant is not None and not is_narrow(constant):
        kept, constant = real(constant).reshape(-1), None
    elif constant is not None and kind.family == TRANSPOSED and not constant.read().any():
        # One group of several: the file adds the bias of all of them behind.
        constant, biased = None, False
    bias_step = None if constant is None else constant.scale
    return Layer(
        operator.names[0],
        operator.kind,
        kind.family,
        in_pytorchs_layout(operator, real(stored.source)),
        step,
        None if constant is None else real(constant).reshape(-1),
        None
        if bias_step is None or constant is None
        else np.broadcast_to(bias_step, constant.shape).reshape(-1),
        read.roundings,
        _common([wire for _, wire in readers.get(end.operator, ())]),
        end.activation,
        dynamic=read.ranged,
        biased=biased,
        unbiased=end.unbiased,
        float_bias=kept,
        blocks=read.blocks,
    )


def _common(wires: Sequence[Edge]) -> tuple[QuantizationParams, ...]:
    """The rounding that all readers share: it belongs to the value that they read."""
    first = {wire.roundings[:1] for wire in wires}
    return first.pop() if len(first) == 1 else ()
