"""Compares the structure of a float file with that of the exported program.

Both are computed on random inputs with substitutes for their non-linear functions
(`modelparity.parity.structure.substitutes`): the program in PyTorch, the file operator by operator. They have
the same structure if all outputs agree to float32's error, whatever toolchain wrote the file. If they do not,
the place is searched for (`modelparity.parity.structure.places`). In the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from modelparity.converters.engine.exported_program import Exported
from modelparity.converters.formats import CONVERTERS
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.specs import NetworkSpec
from modelparity.modelfiles.formats import format_of
from modelparity.modelfiles.graph import Graph
from modelparity.modelfiles.lineage import graph_of
from modelparity.modelfiles.ports import AS_NETWORK, Ports
from modelparity.parity.reference import FEW, multiple
from modelparity.parity.simulation import network
from modelparity.parity.simulation.graph_run import OperatorRunner, run_graph
from modelparity.parity.simulation.layers import cast_elsewhere, layers_of
from modelparity.parity.simulation.places import planned
from modelparity.parity.simulation.stored_constants import casts
from modelparity.parity.structure import file as of_file
from modelparity.parity.structure import program as of_program
from modelparity.parity.structure.places import Node, located
from modelparity.parity.structure.result import IMAGES, Difference, Structure

# Random inputs on which the outputs may agree. Where numbers are ordered, two that are nearly alike may
# change places; a difference of structure shows on every input.
_TRIES = IMAGES
_RUNS = 4  # perturbed runs, where an output has few values
_STABLE = 1e-3  # relative; a program that moves farther by float32's error alone tells nothing


@dataclass(frozen=True)
class _Due:
    """What the program computes on one feed, and its float32 error."""

    feed: Mapping[str, Array]
    outputs: tuple[Array, ...]
    errors: tuple[Array, ...]
    masks: bool
    whole: bool


_LATEST: dict[tuple[Path, Path | None], list[_Due | str]] = {}  # of one network; else why there is none


def structure(
    program: Path,
    spec: NetworkSpec,
    checkpoint: Path | None,
    path: Path,
    *,
    feeds: Sequence[Mapping[str, Array]],
    is_cast: bool,
    ports: Ports = AS_NETWORK,
) -> Structure:
    """Compares a file, whose weights are cast to float16 if `is_cast`, on random inputs like the `feeds`.

    Raises:
        NotAModelError, BrokenModelError: By the file.
    """
    key = (program, checkpoint)
    module = network.program_of(Exported(program, spec, checkpoint))
    graph = replace(graph_of(path), ports=ports)
    count = sum(1 for operator in graph.operators() if operator.kind != "input")
    plain = partial(of_program.Substituted, module)
    if key not in _LATEST:
        _LATEST.clear()
        _LATEST[key] = [_due(plain, _random(feeds[0], 0))]
    if isinstance(unfit := _LATEST[key][0], str):
        return Structure(not_asked=unfit)
    make, known = plain, _LATEST[key]
    if is_cast:  # the weights are the file's
        layers = layers_of(graph)
        places, unmatched = planned(module, layers)
        cast, unknown = casts(module, cast_elsewhere(graph, unmatched))
        if unknown:
            return Structure(reason=f"{unknown[0]} is a constant that matches none of the network's")
        make, known = partial(of_program.Substituted, module, places, cast=cast), []
    runner: OperatorRunner = CONVERTERS[format_of(path).name].call("operator_runner", path)
    first: tuple[_Due, of_file.Substituted, Structure] | None = None
    for place in range(_TRIES):
        if place == len(known):
            known.append(_due(make, _random(feeds[place % len(feeds)], place)))
        due = known[place]
        if isinstance(due, str):
            return Structure(operators=count, reason=due)
        run = of_file.Substituted(graph, runner, masks=due.masks, whole=due.whole)
        found = _compared(graph, run, due, count)
        if found.reason or found.ratio <= found.bound:
            return found
        first = first or (due, run, found)
    assert first is not None
    due, run, found = first
    return replace(found, difference=_explained(make, graph, run, due))


def _explained(
    make: Callable[..., of_program.Substituted], graph: Graph, run: of_file.Substituted, due: _Due
) -> Difference | None:
    still, moved = make(whole=due.whole), make(whole=due.whole, perturbed=True)
    for each in (still, moved):
        each.values = {}
        each.computed(due.feed)
    assert still.values is not None
    assert moved.values is not None
    nodes = [
        Node(node, _array(value), noise_of(_array(value), _array(moved.values[node]) - _array(value)))
        for node, value in still.values.items()
        if node in still.follows and value.is_floating_point() and value.numel()
    ]
    return located(nodes, graph, run, due.feed)


def _random(feed: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Inputs of the same shapes: floats anywhere in the same range, the others in another order."""
    draw = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, value in feed.items():
        if np.issubdtype(value.dtype, np.floating):
            low, high = float(value.min(initial=0.0)), float(value.max(initial=1.0))
            made[name] = np.asarray(draw.uniform(low, high, value.shape), value.dtype)
        else:
            made[name] = draw.permutation(value.reshape(-1)).reshape(value.shape)
    return made


def _due(make: Callable[..., of_program.Substituted], feed: Mapping[str, Array]) -> _Due | str:
    for whole in (True, False):
        still = make(whole=whole)
        try:
            outputs = [_array(value) for value in still.computed(feed)]
            if not all(np.isfinite(value).all() for value in outputs):
                reason = "an output of it is not finite"
                continue
            few = min(value.size for value in outputs) < FEW
            runs = [
                make(whole=whole, perturbed=True, seed=run).computed(feed)
                for run in range(_RUNS if few else 1)
            ]
        except (RuntimeError, IndexError) as error:
            reason = str(error).strip().splitlines()[0]
            continue
        moved = [np.stack([_array(value) for value in of_one]) for of_one in zip(*runs, strict=True)]
        errors = [of_one - value for of_one, value in zip(moved, outputs, strict=True)]
        worst = max(_relative(error, value) for error, value in zip(errors, outputs, strict=True))
        if worst <= _STABLE:
            return _Due(feed, tuple(outputs), tuple(errors), still.masks, whole)
        reason = f"float32's error alone moves an output of it by {worst:.1g}"
    return f"the network itself cannot be computed with other functions: {reason}"


def _array(value: Tensor) -> Array:
    return value.detach().numpy().astype(np.float64)


def _rms(value: Array) -> float:
    return float(np.sqrt(np.mean(np.square(value)))) if value.size else 0.0


def _relative(error: Array, value: Array) -> float:
    found = _rms(error) / (_rms(value) or 1.0)
    return found if math.isfinite(found) else math.inf


def noise_of(value: Array, error: Array) -> float:
    """The error of float32: as measured, but no less than half the last place of the greatest number."""
    last = float(np.spacing(np.float32(np.abs(value).max(initial=0.0)))) / 2
    return max(_rms(error), last)


def _compared(graph: Graph, run: of_file.Substituted, due: _Due, count: int) -> Structure:
    try:
        outputs = run_graph(graph, run, due.feed)
    except (NotImplementedError, RuntimeError) as error:
        return Structure(operators=count, whole=due.whole, reason=str(error).strip().splitlines()[0][:200])
    worst, most = 0.0, 1.0
    for got, right, noise in zip(outputs.values(), due.outputs, due.errors, strict=True):
        allowed = multiple(max(1, right.size), max(1, noise.size), 1)
        if got.shape != right.shape:
            return Structure(math.inf, allowed, count, whole=due.whole)
        ratio = _rms(np.asarray(got, np.float64) - right) / noise_of(right, noise)
        if most == 1.0 or not ratio / allowed <= worst / most:
            worst, most = ratio if math.isfinite(ratio) else math.inf, allowed
    return Structure(worst, most, count, whole=due.whole)
