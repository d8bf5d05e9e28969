"""Runs a file's graph operator by operator in float, with the file's rounding or without.

Each operator runs alone on its format's float kernels (`Converter.operator_runner`); between them, what an
operator reads is rounded here. So nothing is fused, and no kernel of integers has a part in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Edge, Graph, Operator
from modelparity.modelfiles.lineage import CHANNEL_AXIS
from modelparity.modelfiles.operator_traits import OperatorTraits
from modelparity.parity.simulation.rounding import Moves, by_blocks_int8, perturbed, rounded, to_half

Between = Callable[[Array, Edge], Array]  # what an operator reads, given what another one made


class OperatorRunner(Protocol):
    """Runs an operator alone.

    Attributes:
        image_channels: The axis of the channels of an image.
    """

    image_channels: int

    def run(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]: ...


def as_rounded(value: Array, edge: Edge, *, flip: bool = False) -> Array:
    """Rounded to integers as the file says, or as its runtime does."""
    found = rounded(_tensor(value), edge.roundings, flip)
    return (by_blocks_int8(found, edge.blocks, flip) if edge.blocks else found).numpy()


def as_flipped(value: Array, edge: Edge) -> Array:
    """The same in a perturbed run: what is near an edge falls to its other side."""
    return as_rounded(value, edge, flip=True)


def as_half(value: Array, edge: Edge) -> Array:
    """Rounded to float16 where the file has it so."""
    return to_half(_tensor(value)).numpy() if edge.half and value.dtype == np.float32 else value


def run_graph(
    graph: Graph,
    runner: OperatorRunner,
    feed: Mapping[str, Array],
    between: Between = as_rounded,
    *,
    moves: Moves | None = None,
    flat: bool = False,
    traits: Mapping[str, OperatorTraits] | None = None,
) -> dict[str, Array]:
    """The outputs by name, of the network's feed; with `moves`, each result of an operator is moved by its
    float32 error.

    Args:
        flat: The image has one colour, so that all its places move alike.
        traits: Of the operators by kind. Where their kernels of integers are not exact, results are moved by
            that, too.

    Raises:
        NotImplementedError: An operator cannot run alone.
    """
    read_by = [edge for operator in graph.operators() for edge in operator.inputs if edge is not None]
    read_by += [edge for _, edge in graph.outputs]
    left = Counter((edge.source, edge.place) for edge in read_by)
    steps = {(edge.source, edge.place): edge.roundings[0].scale for edge in read_by if edge.roundings}
    made: dict[tuple[Any, int], Array] = {}
    feed = graph.ports.fed(feed)

    def read(edge: Edge) -> Array:
        key = edge.source, edge.place
        value = made[key]
        left[key] -= 1
        if not left[key]:
            del made[key]
        return between(value, edge) if edge.roundings or edge.blocks or edge.half else value

    for operator in graph.operators():
        if operator.kind == "input":
            made[operator, 0] = np.asarray(_fed(operator, feed))
            continue
        inputs = [
            None if edge is None or isinstance(edge.source, Constant) else read(edge)
            for edge in operator.inputs
        ]
        for place, value in enumerate(map(_widened, runner.run(operator, inputs))):
            if moves is not None and value.dtype == np.float32:
                shape = _moving(value, flat, runner)
                terms = _terms(operator, inputs, value)
                moved = perturbed(_tensor(value), terms, moves, shape)
                slack = _slack(operator, (traits or {}).get(operator.kind), steps.get((operator, place)))
                value = (moved + slack * moves(shape)).numpy()
            if left[operator, place]:
                made[operator, place] = value
    return graph.ports.given({name: read(edge) for name, edge in graph.outputs})


def _widened(value: Array) -> Array:
    """In float32, if an operator without float inputs made it in float16."""
    return value.astype(np.float32) if value.dtype == np.float16 else value


def _fed(operator: Operator, feed: Mapping[str, Array]) -> Array:
    name = operator.attributes["name"]
    names = [name] if isinstance(name, str) else name or []
    return feed[next((each for each in names if each in feed), next(iter(feed)))]


def _moving(value: Array, flat: bool, runner: OperatorRunner) -> tuple[int, ...]:
    """The shape of random moves of a value."""
    shape = value.shape
    if not flat or len(shape) < 3:
        return shape
    alike = [1] * len(shape)
    channels = runner.image_channels if len(shape) == 4 else -1
    alike[0], alike[channels] = shape[0], shape[channels]
    return tuple(alike)


def _slack(operator: Operator, traits: OperatorTraits | None, step: float | None) -> float:
    """How far a kernel of integers may be from real arithmetic before it rounds to steps of the result."""
    if traits is None or step is None:
        return 0.0
    read = [edge.roundings[-1].scale for edge in operator.inputs if edge is not None and edge.roundings]
    products = math.prod(read) if traits.whole_products and len(read) > 1 else 0.0
    return traits.approximate * step + products


def _tensor(value: Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(value, order="C"))


def _terms(operator: Operator, inputs: Sequence[Array | None], result: Array) -> float:
    """How many terms each number of the result is the sum of."""
    weight = operator.inputs[1] if len(operator.inputs) > 1 else None
    axis = CHANNEL_AXIS.get(operator.kind)
    if axis is not None and weight is not None and isinstance(weight.source, Constant):
        return math.prod(weight.source.shape) / weight.source.shape[axis]
    first = inputs[0] if inputs else None
    if first is None or not first.ndim:
        return 1
    if "matmul" in operator.kind.lower():
        return first.shape[-1]
    return max(1, first.size / max(1, result.size))
