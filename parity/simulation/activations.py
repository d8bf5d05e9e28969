"""Simulates files that round activations anywhere, not only what layers with rounded weights read and give.

Quantizers that round every operator round inside of what is one node of the network (a layer norm, a GELU),
so that there is no place for it in the exported program. Such a file is simulated in two steps:

1. Its graph without the rounding of activations must compute what the network computes with the file's
   weights and constants, to the network's own float32 error. So it is the network, written otherwise.
2. The graph with its rounding, each operator alone on float kernels
   (`modelparity.parity.simulation.graph_run`), is what a right runtime computes: real arithmetic on what
   integers stand for, rounded where the file rounds.

A rounding also clips, and quantizers leave out a ReLU or a clamp whose bound is the end of a rounding's
range. So the first step clips where the network does: at the network's own bounds that lie at or beyond the
end of a range. A range may also end there by chance, because the calibration saw no value beyond it. So where
the two computations differ, the graph is tried again without one such bound or another. Nothing else of the
file's ranges is in either of them, so a graph agrees with the network only if it computes the same.

Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from modelparity.converters.engine.exported_program import Exported
from modelparity.converters.formats import CONVERTERS
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.lookup import named
from modelparity.fixtures.specs import NetworkSpec
from modelparity.modelfiles.constants import HALF_STEP, Constant, real
from modelparity.modelfiles.formats import format_of
from modelparity.modelfiles.graph import Edge, Graph, QuantizationParams
from modelparity.modelfiles.lineage import graph_of
from modelparity.modelfiles.operator_traits import OperatorTraits
from modelparity.modelfiles.ports import AS_NETWORK, Ports
from modelparity.parity.reference import FLOAT
from modelparity.parity.simulation import network
from modelparity.parity.simulation.graph_run import OperatorRunner, as_flipped, as_half, run_graph
from modelparity.parity.simulation.layers import (
    Simulated,
    cast_elsewhere,
    layers_of,
    rounded_constants,
    rounded_elsewhere,
    unrounded,
)
from modelparity.parity.simulation.places import (
    Place,
    misrounded,
    planned,
)
from modelparity.parity.simulation.rounding import Moves
from modelparity.parity.simulation.stored_constants import (
    cast_numbers,
    casts,
    constant_values,
    moved_biases,
)

_IMAGES = 3  # on which the graph without rounding is held to the network
_OUTSIDE = "it rounds activations outside the layers of rounded weights, and cannot be simulated: "  # and why
_ATEN = torch.ops.aten
# What a network clips by, and at which bounds where its arguments do not say so.
_CLIPS: Mapping[Any, tuple[float, ...]] = {
    **dict.fromkeys((_ATEN.relu6.default, _ATEN.hardswish.default, _ATEN.hardsigmoid.default), (0.0, 6.0)),
    **dict.fromkeys((_ATEN.relu6_.default, _ATEN.hardswish_.default, _ATEN.hardsigmoid_.default), (0.0, 6.0)),
    **dict.fromkeys((_ATEN.hardtanh.default, _ATEN.hardtanh_.default), (-1.0, 1.0)),
    **dict.fromkeys((_ATEN.clamp.default, _ATEN.clamp_.default, _ATEN.clamp_min.default), ()),
    **dict.fromkeys((_ATEN.clamp_max.default, _ATEN.clamp_min_.default, _ATEN.clamp_max_.default), ()),
}


def simulate(
    program: Path,
    spec: NetworkSpec,
    checkpoint: Path | None,
    path: Path,
    *,
    feeds: Sequence[Mapping[str, Array]],
    perturbed: Sequence[int],
    ports: Ports = AS_NETWORK,
    corrected: bool = True,
) -> Simulated:
    """What a right runtime computes from a file, over all feeds, and perturbed over those at `perturbed`.

    `network.simulate` does files that round no activation outside of layers with rounded weights.

    Raises:
        NotAModelError, BrokenModelError: By the file.
    """
    graph, exported = replace(graph_of(path), ports=ports), Exported(program, spec, checkpoint)
    if not (elsewhere := rounded_elsewhere(graph)):
        simulated = network.simulate(exported, graph, feeds=feeds, perturbed=perturbed, corrected=corrected)
        halves = _has_halves(graph)
        return _in_half(simulated, graph, path, feeds, perturbed=perturbed) if halves else simulated
    layers = layers_of(graph)
    if ranged := [layer.name for layer in layers if layer.dynamic]:
        why = f"{_OUTSIDE}{ranged[0]} rounds by a range at run time, and {elsewhere[0]} by a calibrated one"
        return Simulated((), (), len(layers), elsewhere=why)
    module = network.program_of(exported)
    places, unmatched = planned(module, [unrounded(layer) for layer in layers])
    numbers, others = cast_numbers(module, cast_elsewhere(graph))
    cast, unknown = casts(module, others)
    stored, unknown_constants = _replaced(module, rounded_constants(graph))
    if missing := (*unmatched, *unknown, *unknown_constants):
        return Simulated((), (), len(layers), missing)
    if corrected and (moved_bias := moved_biases(module, places)):
        return Simulated((), (), len(layers), elsewhere=moved_bias)
    signature = spec.signature()
    names = signature.output_names

    def run(exact: bool) -> tuple[dict[str, Array], ...]:
        simulation = _Network(module, places, cast=cast, numbers=numbers, exact=exact)
        simulation.stored = stored
        runs = network.run_all(simulation, feeds[:_IMAGES], signature)
        return tuple({n: v.numpy().copy() for n, v in zip(names, o, strict=True)} for o in runs)

    due = run(exact=True)
    near = FLOAT.most * apart(run(exact=False), due)  # as a right float file
    try:
        format = format_of(path)
        runner: OperatorRunner = CONVERTERS[format.name].call("operator_runner", path)
        traits = named(format.operators)
        plain = _unrounded(graph, runner, feeds[:_IMAGES], due, bounds=_bounds(module), near=near)
        outputs = tuple(run_graph(graph, runner, feed) for feed in feeds)
        moved = tuple(_moved(graph, runner, [feeds[i] for i in perturbed], traits))
    except NotImplementedError as error:
        return Simulated((), (), len(layers), elsewhere=f"{_OUTSIDE}{error}")
    wrong = tuple(found for place in places if (found := misrounded(module, place))[1])
    steps = {
        name: edge.roundings[-1].scale for name, edge in graph.ports.renamed(graph.outputs) if edge.roundings
    }
    return Simulated(outputs, moved, len(layers), wrong=wrong, unrounded=(plain, due), steps=steps)


def _has_halves(graph: Graph) -> bool:
    edges = [edge for operator in graph.operators() for edge in operator.inputs if edge is not None]
    return any(edge.half for edge in (*edges, *(edge for _, edge in graph.outputs)))


def _in_half(
    found: Simulated,
    graph: Graph,
    path: Path,
    feeds: Sequence[Mapping[str, Array]],
    *,
    perturbed: Sequence[int],
) -> Simulated:
    """Of a file that has activations in float16, `found` with how far rounding them moves the outputs.

    A runtime without kernels of float16 computes them in float32, and rounds between two operators or not:
    ONNX Runtime leaves out pairs of casts. So a right file is anywhere between `found`, the network with the
    file's weights, and its graph with each result rounded. The graph must be the network's without that.
    """
    if found.unmatched or found.not_simulated or not found.outputs:
        return found
    if found.perturbed:
        return replace(found, elsewhere="it rounds activations to integers, and has others in float16")
    runner: OperatorRunner = CONVERTERS[format_of(path).name].call("operator_runner", path)
    try:
        plain = tuple(run_graph(graph, runner, feed, _as_it_is) for feed in feeds[:_IMAGES])
        moved = tuple(run_graph(graph, runner, feeds[i], as_half) for i in perturbed)
    except NotImplementedError as error:
        return replace(found, elsewhere=f"it computes in float16, and cannot be simulated: {error}")
    if lost := next((n for each in moved for n, v in each.items() if not np.isfinite(v).all()), ""):
        where = f"{lost} overflows where a runtime rounds every result to float16, as the file says"
        return replace(found, elsewhere=where)
    unrounded_runs = plain, found.outputs[: len(plain)]
    return replace(found, perturbed=moved, unrounded=unrounded_runs)


def _as_it_is(value: Array, _: Edge) -> Array:
    return value


def _moved(
    graph: Graph,
    runner: OperatorRunner,
    feeds: Sequence[Mapping[str, Array]],
    traits: Mapping[str, OperatorTraits],
) -> list[dict[str, Array]]:
    moves = Moves()
    return [
        run_graph(graph, runner, feed, as_flipped, moves=moves, flat=network.is_flat(feed), traits=traits)
        for feed in feeds
    ]


# --- the network with the file's constants --------------------------------------------------------


class _Network(network.Simulation):
    """The network with the file's weights and constants.

    `stored` has a constant's numbers, in the order of their size, by its node and by the node that reads it.
    """

    stored: Mapping[tuple[fx.Node, fx.Node], Array] = {}

    def _layer(self, places: Sequence[Place], n: fx.Node) -> Tensor:
        """With a bias that the file adds behind the layer, rounded there."""
        node = places[0].fold.product.bias_node()
        numbers = None if node is None else self.stored.get((node, n))
        own = {place: self._numbers[place] for place in places}
        if numbers is not None and node is not None:
            whole = _in_order_of(self.env[node].reshape(-1), numbers)
            for place, (weight, bias) in own.items():
                if bias is not None and place.layer.bias is None and place.layer.float_bias is None:
                    part = place.fold.part
                    self._numbers[place] = weight, whole if part is None else whole.chunk(part[1])[part[0]]
        result = super()._layer(places, n)
        self._numbers |= own
        return result

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        own = {each: self.env[each] for each in n.all_input_nodes if (each, n) in self.stored}
        self.env |= {each: _in_order_of(value, self.stored[each, n]) for each, value in own.items()}
        try:
            fetched: tuple[Any, Any] = super().fetch_args_kwargs_from_env(n)
            return fetched
        finally:
            self.env |= own


def _in_order_of(value: Tensor, numbers: Array) -> Tensor:
    """`numbers`, which are sorted, each where the value has the one of the same rank."""
    flat = torch.empty(value.numel(), dtype=value.dtype)
    flat[value.reshape(-1).argsort()] = torch.from_numpy(numbers).to(value.dtype)
    return flat.reshape(value.shape)


def _replaced(
    module: torch.nn.Module, constants: Sequence[Constant]
) -> tuple[dict[tuple[fx.Node, fx.Node], Array], list[str]]:
    """The sorted numbers that stand in the file for what a node of the network gives to another one.

    Also the names of constants that stand for none.

    Rounding keeps the order, so that a constant is a node's value if each of its numbers in order of size is
    within half a step of it. With scales along an axis that does not hold; such a constant is unknown. A
    single number is exact, for it is the end of its own range.
    """
    several = [constant for constant in constants if np.prod(constant.shape) > 1]
    sizes = {int(np.prod(constant.shape)) for constant in several}
    values = constant_values(module, sizes) if several else {}
    found: dict[fx.Node, list[Array]] = {}
    unknown = []
    for constant in several:
        numbers = np.sort(real(constant, np.float32), axis=None)
        assert constant.scale is not None
        step = float(constant.scale.flat[0]) if constant.scale.size == 1 else 0.0
        alike = [node for node, value in values.items() if step and _near(numbers, value, step)]
        for node in alike:
            found.setdefault(node, []).append(numbers)
        if not alike:
            unknown.append(constant.name)
    for node, roundings in found.items():
        if len(roundings) not in (1, len(node.users)):
            unknown.append(f"{node.name}, of {len(roundings)} roundings for {len(node.users)} uses")
    return _by_user(found), unknown


def _by_user(found: Mapping[fx.Node, Sequence[Array]]) -> dict[tuple[fx.Node, fx.Node], Array]:
    """Several roundings of a node are those of its users, in order.

    Two layers that share a bias have it in steps of what each reads.
    """
    pairs: dict[tuple[fx.Node, fx.Node], Array] = {}
    for node, roundings in found.items():
        of_each = roundings if len(roundings) > 1 else [*roundings] * len(node.users)
        pairs |= {(node, user): numbers for user, numbers in zip(node.users, of_each, strict=False)}
    return pairs


def _near(numbers: Array, value: Array, step: float) -> bool:
    """Whether each number is within half a step of its counterpart."""
    if numbers.size != value.size:
        return False
    slack = 4 * np.spacing(np.abs(value).max().astype(np.float32))
    return bool(np.abs(numbers - value.astype(np.float64)).max() <= HALF_STEP * step + slack)


# --- the file's graph without its rounding --------------------------------------------------------


def _bounds(module: torch.nn.Module) -> list[float]:
    """What the network clips at, sorted: 0, as ReLU does, and the bounds of its clamps."""
    bounds = {0.0}
    for node in module.graph.nodes:  # type: ignore[union-attr]
        if node.target in _CLIPS:
            given = [float(a) for a in node.args[1:] if isinstance(a, int | float)]
            bounds |= {*(given or _CLIPS[node.target])}
    return sorted(bounds)


_End = tuple[QuantizationParams, int]  # of a range: 0 its low end, 1 its high end


class _Clip:
    """Clips an activation at the network's bounds at or beyond the ends of its range.

    Attributes:
        free: Ends at which nothing is clipped.
        cut: How many numbers each end cut off, or would have.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.free: set[_End] = set()
        self.cut: dict[_End, int] = {}

    def __call__(self, value: Array, edge: Edge) -> Array:
        for rounding in edge.roundings:
            slack = HALF_STEP * rounding.scale * (1 + 1e-6)
            low, high = (
                (end - rounding.zero_point) * rounding.scale for end in (rounding.low, rounding.high)
            )
            if below := [bound for bound in self._bounds if bound <= low + slack]:
                value = self._clipped((rounding, 0), value, np.maximum(value, np.float32(below[-1])))
            if above := [bound for bound in self._bounds if bound >= high - slack]:
                value = self._clipped((rounding, 1), value, np.minimum(value, np.float32(above[0])))
        return value

    def _clipped(self, end: _End, value: Array, clipped: Array) -> Array:
        self.cut[end] = self.cut.get(end, 0) + int(np.count_nonzero(clipped != value))
        return value if end in self.free else clipped


def _unrounded(
    graph: Graph,
    runner: OperatorRunner,
    feeds: Sequence[Mapping[str, Array]],
    due: Sequence[Mapping[str, Array]],
    *,
    bounds: Sequence[float],
    near: float = 0.0,
) -> tuple[dict[str, Array], ...]:
    """What the graph computes without rounding, as near to `due` as bounds that are left out bring it.

    A bound at which a range ends by chance cuts off few numbers. So bounds are left out one after the other,
    those that cut off least first; then each alone; then one more, or one less, than the best. All this is on
    the first feed, until the graph is `near`.
    """
    clip = _Clip(bounds)

    def run(free: AbstractSet[_End], feeds: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Array], ...]:
        clip.free = {*free}
        return tuple(run_graph(graph, runner, feed, clip) for feed in feeds)

    def error(free: AbstractSet[_End]) -> float:
        return apart(run(free, feeds[:1]), due[:1])

    outputs = run(frozenset(), feeds)
    if not apart(outputs, due) > near:
        return outputs
    ends = {*clip.cut}
    clip.cut = {}
    run(ends, feeds[:1])  # where nothing is clipped, nothing hides what an end would cut off
    order = sorted((end for end in ends if clip.cut[end]), key=lambda end: clip.cut[end])
    best: frozenset[_End] = frozenset()
    least = math.inf
    for start in (frozenset(order[:count]) for count in range(len(order) + 1)):
        if least > near and (found := error(start)) < least:
            best, least = start, found
    for free in (frozenset(), best):  # a bound alone, which cuts off much: of an input, say
        for end in order:
            if least > near and (found := error(free ^ {end})) < least:
                best, least = free ^ {end}, found
    return run(best, feeds)


def apart(outputs: Sequence[Mapping[str, Array]], due: Sequence[Mapping[str, Array]]) -> float:
    """The greatest relative rms over outputs; infinite for other shapes or values that are not finite."""
    worst = 0.0
    for name in due[0]:
        pairs = [(one[name], other[name]) for one, other in zip(outputs, due, strict=True)]
        if any(one.shape != other.shape for one, other in pairs):
            return math.inf
        errors = np.concatenate([(one.astype(np.float64) - other).reshape(-1) for one, other in pairs])
        spread = np.std(np.concatenate([other.reshape(-1) for _, other in pairs]))
        error = float(np.sqrt(np.mean(errors**2)) / (spread or 1.0))
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst
