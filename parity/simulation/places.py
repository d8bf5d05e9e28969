"""Finds the places of a file's rounded layers, and of its float16 constants, in the exported program.

Converters rename and fold, so that a layer is known by its weights: its own, or with the batch norm behind it
or the scale of the layer norm before it multiplied in. Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import HALF_STEP, Constant
from modelparity.parity.simulation.layers import Layer

_ATEN = torch.ops.aten
LINEAR = _ATEN.linear.default
_LAYERS = (LINEAR, _ATEN.conv1d.default, _ATEN.conv2d.default)
HARDSIGMOID = _ATEN.hardsigmoid.default
PRELU = _ATEN.prelu.default
_ACTIVATIONS = {
    "relu": (_ATEN.relu.default, _ATEN.relu_.default),
    "relu6": (HARDSIGMOID, _ATEN.hardtanh.default, _ATEN.hardtanh_.default, _ATEN.relu6.default),
}
_SAMPLES = 1024
_ALIKE = 0.1  # rms of what differs, relative: int8 takes about 0.02, another layer's weights are above 1


@dataclass(frozen=True, eq=False)
class Fold:
    """A layer of the program as a file may have it, identified by a sample of its weight.

    The weight is its own, or has the batch norm `behind` it or the scale of the layer norm `before` it
    multiplied in.
    """

    node: fx.Node
    weight: Array
    behind: fx.Node | None = None
    before: fx.Node | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """A file's layer and its place in the program; `end` is the node that gives the layer's result."""

    layer: Layer
    fold: Fold
    end: fx.Node


def planned(module: torch.nn.Module, layers: Sequence[Layer]) -> tuple[list[Place], list[str]]:
    """The places of layers, matched by weights, and the names of layers without one.

    Layers that share weights are in the same order in both.
    """
    free = [fold for node in module.graph.nodes for fold in _folds(module, node)]  # type: ignore[union-attr]
    places, unmatched = [], []
    for layer in layers:
        weight = _sample(layer.weight)
        apart = [(_apart(weight, fold.weight), order) for order, fold in enumerate(free)]
        distance, order = min(apart, default=(math.inf, 0))
        if not distance <= _ALIKE:
            unmatched.append(layer.name)
            continue
        fold = free[order]
        free = [other for other in free if other.node is not fold.node]
        places.append(Place(layer, fold, _end(fold, layer)))
    return places, unmatched


def _sample(weight: Array) -> Array:
    """[out, size, values...]: identifies a weight."""
    flat = np.ascontiguousarray(weight).reshape(-1)
    return np.concatenate([[len(weight), flat.size], flat[:: max(1, flat.size // _SAMPLES)]])


def _apart(one: Array, other: Array) -> float:
    """Relative rms of the difference; infinite for weights of another shape."""
    if not np.array_equal(one[:2], other[:2]):
        return math.inf
    scale = float(np.sqrt(np.mean(other[2:] ** 2)))
    return float(np.sqrt(np.mean((one[2:] - other[2:]) ** 2))) / scale if scale else math.inf


def parameter(module: torch.nn.Module, node: Any) -> Tensor | None:
    """The parameter or buffer that a node reads, in float64."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value.detach().double() if isinstance(value, Tensor) else None


def _folds(module: torch.nn.Module, node: fx.Node) -> Iterator[Fold]:
    """Forms with a norm come first, because a norm that multiplies by 1 is folded, too."""
    weight = parameter(module, node.args[1]) if node.target in _LAYERS else None
    if weight is None:
        return
    users = list(node.users)
    if len(users) == 1 and users[0].target == _ATEN.batch_norm.default:
        factor = norm_of(module, users[0])[0]
        folded = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
        yield Fold(node, _sample(folded.numpy()), behind=users[0])
    read = node.args[0]
    if isinstance(read, fx.Node) and read.target == _ATEN.layer_norm.default and node.target == LINEAR:
        gamma = parameter(module, read.args[2])
        if gamma is not None:
            yield Fold(node, _sample((weight * gamma).numpy()), before=read)
    yield Fold(node, _sample(weight.numpy()))


def _end(fold: Fold, layer: Layer) -> fx.Node:
    end = fold.behind or fold.node
    users = list(end.users)
    if layer.negative is not None and len(users) == 1 and users[0].target == PRELU:
        return users[0]
    fused = layer.activation and len(users) == 1 and users[0].target in _ACTIVATIONS[layer.activation]
    return users[0] if fused else end


def misrounded(module: torch.nn.Module, place: Place) -> tuple[str, int, float]:
    """A layer's name, how many of its numbers are not the network's, rounded, and the farthest in steps.

    A weight or bias that the network has, or that a norm was folded into, is off by half a step at most, or
    by half an ULP of float16, and by what float32 loses in folding. A bias that the file keeps in float is
    none of the simulation's numbers.
    """
    layer = place.layer
    apart = _steps(layer.weight, folded(module, place.fold).numpy(), layer.step)
    if layer.bias is not None:
        bias = folded_bias(module, place.fold)
        own = np.zeros_like(layer.bias) if bias is None else bias.numpy()
        if place.end.target == HARDSIGMOID:
            own = own + 3  # relu6(x + 3) / 6
        apart = np.concatenate([apart, _steps(layer.bias, own, layer.bias_step)])
    return layer.name, int(np.count_nonzero(apart > HALF_STEP)), float(apart.max())


def _steps(stored: Array, own: Array, step: Array | None) -> Array:
    """Distances in steps, flat; of float16 numbers in ULPs."""
    stored, own = stored.reshape(-1), own.reshape(-1).astype(np.float64)
    if step is None:
        step = np.spacing(np.abs(own).astype(np.float16)).astype(np.float64)
    slack = 4 * np.spacing(np.abs(own).max(initial=0.0).astype(np.float32))
    return np.maximum(np.abs(stored - own) - slack, 0) / step.reshape(-1)


def folded_bias(module: torch.nn.Module, fold: Fold) -> Tensor | None:
    """The layer's bias in float64, with the norm that the file multiplied in; None without one."""
    own, bias = (parameter(module, node) for node in [*fold.node.args, None][1:3])
    assert own is not None
    if fold.behind is not None:
        factor, offset, mean = norm_of(module, fold.behind)
        return offset + ((0 if bias is None else bias) - mean) * factor
    shift = None if fold.before is None else parameter(module, fold.before.args[3])
    return bias if shift is None else own @ shift + (0 if bias is None else bias)


def folded(module: torch.nn.Module, fold: Fold) -> Tensor:
    """The layer's weight in float64, with the norm that the file multiplied in."""
    weight = parameter(module, fold.node.args[1])
    assert weight is not None
    if fold.behind is not None:
        weight = weight * norm_of(module, fold.behind)[0].reshape(-1, *[1] * (weight.dim() - 1))
    if fold.before is not None and (gamma := parameter(module, fold.before.args[2])) is not None:
        weight = weight * gamma
    return weight


def casts(module: torch.nn.Module, constants: Sequence[Constant]) -> tuple[set[fx.Node], list[str]]:
    """The nodes whose values a file holds in float16, and the names of constants that are no node's value.

    A node is matched if it depends on no input and its elements, cast, are those of the constant in any
    order: converters compute such nodes beforehand, and may transpose them.
    """
    if not constants:
        return set(), []
    found: set[fx.Node] = set()
    sizes = {math.prod(constant.shape) for constant in constants}
    values = _ConstantValues(module, sizes).found
    unknown = []
    for constant in constants:
        due = np.sort(constant.read().astype(np.float16), axis=None)
        nodes = [node for node, value in values.items() if np.array_equal(value, due)]
        found |= set(nodes)
        if not nodes:
            unknown.append(constant.name)
    return found, unknown


class _ConstantValues(fx.Interpreter):
    """`found` has the sorted values, in float16, of each node of a wanted size that depends on no input."""

    def __init__(self, module: torch.nn.Module, sizes: set[int]) -> None:
        super().__init__(module)
        self.found: dict[fx.Node, Array] = {}
        constant: set[fx.Node] = set()
        with torch.no_grad():
            for node in self.module.graph.nodes:  # type: ignore[union-attr]
                computed = node.op in ("call_function", "call_method") and node.all_input_nodes
                if node.op == "get_attr" or (computed and constant.issuperset(node.all_input_nodes)):
                    constant.add(node)
                    self.env[node] = value = self.run_node(node)
                    if isinstance(value, Tensor) and value.is_floating_point() and value.numel() in sizes:
                        self.found[node] = np.sort(value.to(torch.float16).numpy(), axis=None)


def norm_of(module: torch.nn.Module, norm: fx.Node) -> tuple[Tensor, Tensor, Tensor]:
    """Factor, offset and mean of each channel of a batch norm: factor * (x - mean) + offset."""
    gamma, offset, mean, variance = (parameter(module, argument) for argument in norm.args[1:5])
    assert gamma is not None
    assert offset is not None
    assert mean is not None
    assert variance is not None
    return gamma / torch.sqrt(variance + float(norm.args[7])), offset, mean  # type: ignore[arg-type]
