"""Simulates a quantized file: runs the network in PyTorch, rounding as the file does.

The exported program runs node by node. A layer whose weights the file rounded takes the file's numbers, and
its activations are rounded where the file rounds them: by calibrated scales and zero points, or by the range
that they have at run time. Everything else is the network's own, so the runtime's kernels, fusions and
packing have no part in it, nor does a converter's graph.

Rounding is not continuous: a value on the edge between two steps falls to either side by one ULP of float32,
and later layers then round differently, too. Hence the perturbed run: the same simulation again, with each
layer's sums of n terms moved by up to 64 times the sqrt(n) half ULPs of their float32 error (Higham and Mary,
"A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019). In it, values fall
to the other side 64 times as often as between two right implementations, so its distance bounds theirs.

Ranges at run time: ONNX has one for each tensor, in uint8 (`DynamicQuantizeLinear`,
https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html). TFLite has int8 with the zero point of
XNNPACK's `qd8` operators (github.com/google/XNNPACK, src/xnnpack/quantization.h): one range for each row of a
matrix, a kernel of one pixel being a matrix, and one for each image for other kernels.

Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from modelparity.converters.engine.exported_program import Exported
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.graph import QuantizationParams
from modelparity.modelfiles.lineage import graph_of
from modelparity.parity.simulation.layers import Layer, Simulated, layers_of, rounded_elsewhere

_ATEN = torch.ops.aten
_LINEAR = _ATEN.linear.default
_LAYERS = (_LINEAR, _ATEN.conv1d.default, _ATEN.conv2d.default)
_HARDSIGMOID = _ATEN.hardsigmoid.default
_ACTIVATIONS = {
    "relu": (_ATEN.relu.default, _ATEN.relu_.default),
    "relu6": (_HARDSIGMOID, _ATEN.hardtanh.default, _ATEN.hardtanh_.default, _ATEN.relu6.default),
}
_SAMPLES = 1024
_ALIKE = 0.1  # rms of what differs, relative: int8 takes about 0.02, another layer's weights are above 1
_PERTURBATION = 64 * 2.0**-24  # 64 half ULPs of float32, relative


def simulate(
    program: Path,
    spec: ModelSpec,
    checkpoint: Path | None,
    path: Path,
    *,
    feeds: Sequence[Mapping[str, Array]],
) -> Simulated:
    """Runs the simulation twice: as it is, and perturbed.

    Nothing runs if a layer matches none of the network's, or if the file rounds activations elsewhere.

    Raises:
        NotAModelError, BrokenModelError: By the file.
    """
    graph = graph_of(path)
    layers = layers_of(graph)
    if elsewhere := rounded_elsewhere(graph):
        return Simulated((), (), len(layers), elsewhere=tuple(elsewhere))
    module = Exported(program, spec, checkpoint).load().module()
    places, unmatched = planned(module, layers)
    if unmatched:
        return Simulated((), (), len(layers), tuple(unmatched))
    names = spec.signature().output_names
    runs = []
    for perturbed in (False, True):
        outputs = _run(Simulation(module, places, perturbed), feeds)
        runs.append(tuple({n: v.numpy().copy() for n, v in zip(names, o, strict=True)} for o in outputs))
    return Simulated(runs[0], runs[1], len(layers))


def _run(simulation: Simulation, feeds: Sequence[Mapping[str, Array]]) -> list[Any]:
    """Runs on one thread, because other toolchains run beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return [simulation.run(torch.from_numpy(np.ascontiguousarray(feed["image"]))) for feed in feeds]
    finally:
        torch.set_num_threads(before)


def coarsest(
    program: Path, spec: ModelSpec, checkpoint: Path | None, path: Path, *, feed: Mapping[str, Array]
) -> str:
    """Names the layer whose own rounding, of weights and input, has the lowest SQNR at its output."""
    module = Exported(program, spec, checkpoint).load().module()
    places, _ = planned(module, layers_of(graph_of(path)))
    simulation = Simulation(module, places)
    simulation.own = {}
    _run(simulation, [feed])
    name = min(simulation.own, key=lambda layer: simulation.own[layer])  # type: ignore[index]
    return f"at {name} ({simulation.own[name]:.1f} dB of its own output, worst of {len(places)} layers)"


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


def _parameter(module: torch.nn.Module, node: Any) -> Tensor | None:
    """The parameter or buffer that a node reads, in float64."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value.detach().double() if isinstance(value, Tensor) else None


def _folds(module: torch.nn.Module, node: fx.Node) -> Iterator[Fold]:
    """Forms with a norm come first, because a norm that multiplies by 1 is folded, too."""
    weight = _parameter(module, node.args[1]) if node.target in _LAYERS else None
    if weight is None:
        return
    users = list(node.users)
    if len(users) == 1 and users[0].target == _ATEN.batch_norm.default:
        factor = _norm(module, users[0])[0]
        folded = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
        yield Fold(node, _sample(folded.numpy()), behind=users[0])
    read = node.args[0]
    if isinstance(read, fx.Node) and read.target == _ATEN.layer_norm.default and node.target == _LINEAR:
        gamma = _parameter(module, read.args[2])
        if gamma is not None:
            yield Fold(node, _sample((weight * gamma).numpy()), before=read)
    yield Fold(node, _sample(weight.numpy()))


def _end(fold: Fold, layer: Layer) -> fx.Node:
    end = fold.behind or fold.node
    users = list(end.users)
    fused = layer.activation and len(users) == 1 and users[0].target in _ACTIVATIONS[layer.activation]
    return users[0] if fused else end


class Simulation(fx.Interpreter):
    """Runs the program with each place's layer rounded; `perturbed` moves its sums at random."""

    def __init__(self, module: torch.nn.Module, places: Sequence[Place], perturbed: bool = False) -> None:
        super().__init__(module)
        self._layers = {place.fold.node: place for place in places}
        self._behind = {place.fold.behind for place in places}
        self._ends = {place.end: place.layer for place in places if place.layer.gives}
        self._numbers = {place.fold.node: self._weight_and_bias(place) for place in places}
        self._generator = torch.Generator().manual_seed(0) if perturbed else None
        self.own: dict[str, float] | None = None  # SQNR in dB by layer, where asked for

    def _weight_and_bias(self, place: Place) -> tuple[Tensor, Tensor | None]:
        fold, layer = place.fold, place.layer
        own, bias = (_parameter(self.module, node) for node in [*fold.node.args, None][1:3])
        assert own is not None
        weight = torch.from_numpy(np.ascontiguousarray(layer.weight)).reshape(own.shape)
        if layer.bias is not None:
            bias = torch.from_numpy(layer.bias)
        elif fold.behind is not None:
            factor, offset, mean = _norm(self.module, fold.behind)
            bias = offset + ((0 if bias is None else bias) - mean) * factor
        elif (
            fold.before is not None
            and (offset_before := _parameter(self.module, fold.before.args[3])) is not None
        ):
            bias = own @ offset_before + (0 if bias is None else bias)
        return weight.float(), None if bias is None else bias.float()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module":
            return None  # the exported program's guards
        if n in self._layers:
            value = self._layer(self._layers[n], n)
        elif n in self._behind:
            value = self.fetch_args_kwargs_from_env(n)[0][0]
        elif n in self._ends and n.target == _HARDSIGMOID:
            # TFLite: relu6(x + 3) / 6, of which the file fused all but the quotient into the layer.
            value, layer = self.fetch_args_kwargs_from_env(n)[0][0], self._ends[n]
            value = torch.clamp(value + (0 if layer.bias is not None else 3), 0, 6)
            return rounded(value, layer.gives) / 6
        else:
            value = super().run_node(n)
        return rounded(value, self._ends[n].gives) if n in self._ends else value

    def _layer(self, place: Place, n: fx.Node) -> Tensor:
        (value, _, *rest), kwargs = self.fetch_args_kwargs_from_env(n)
        if (norm := place.fold.before) is not None:
            gamma, offset = (_parameter(self.module, argument) for argument in norm.args[2:4])
            assert gamma is not None
            value = ((value - (0 if offset is None else offset)) / gamma).float()
        read = _as_read(self._perturbed(value, 1), place.layer, channels=-1 if n.target == _LINEAR else 1)
        weight, bias = self._numbers[n]
        result: Tensor = n.target(read, weight, bias, *rest[1:], **kwargs)  # type: ignore[operator]
        if self.own is not None:
            unrounded = n.target(value, self._unrounded(place), bias, *rest[1:], **kwargs)  # type: ignore[operator]
            self._note(place, result - unrounded, result)
        return self._perturbed(result, weight[0].numel())

    def _unrounded(self, place: Place) -> Tensor:
        """The layer's weight in float, with the norm that the file multiplied in."""
        fold = place.fold
        weight = _parameter(self.module, fold.node.args[1])
        assert weight is not None
        if fold.behind is not None:
            weight = weight * _norm(self.module, fold.behind)[0].reshape(-1, *[1] * (weight.dim() - 1))
        if fold.before is not None and (gamma := _parameter(self.module, fold.before.args[2])) is not None:
            weight = weight * gamma
        return weight.float()

    def _note(self, place: Place, noise: Tensor, result: Tensor) -> None:
        assert self.own is not None
        name = str(place.fold.node.args[1].target).removeprefix("network.").removesuffix(".weight")  # type: ignore[union-attr]
        power = float(noise.double().square().mean())
        self.own[name] = 10 * math.log10(float(result.double().var()) / power) if power else math.inf

    def _perturbed(self, value: Tensor, terms: int) -> Tensor:
        if self._generator is None:
            return value
        moves = torch.rand(value.shape, generator=self._generator) * 2 - 1
        return value + value * moves * (math.sqrt(terms) * _PERTURBATION)


def _as_read(value: Tensor, layer: Layer, channels: int) -> Tensor:
    if not layer.dynamic:
        return rounded(value, layer.reads)
    if layer.kind in ("Conv", "MatMul"):
        return by_range_uint8(value)
    return by_range_int8(value, (channels,) if layer.rows else tuple(range(1, value.dim())))


def rounded(value: Tensor, roundings: Sequence[QuantizationParams]) -> Tensor:
    """Rounded to the nearest step, ties to even, within the integers' limits; one rounding after another."""
    for r in roundings:
        steps = torch.clamp(torch.round(value / r.scale) + r.zero_point, r.low, r.high)
        value = (steps - r.zero_point) * r.scale
    return value


def by_range_uint8(value: Tensor) -> Tensor:
    """Quantized by `DynamicQuantizeLinear`, and dequantized."""
    low = value.amin().clamp(max=0)
    scale = (value.amax().clamp(min=0) - low) / 255
    scale = torch.where(scale > 0, scale, 1)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return (torch.clamp(torch.round(value / scale) + zero, 0, 255) - zero) * scale


def by_range_int8(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Quantized by XNNPACK's qd8 and dequantized, one range over `axes`.

    The zero point is computed from the end of the range at which its error is smaller.
    """
    low, high = value.amin(axes, keepdim=True).clamp(max=0), value.amax(axes, keepdim=True).clamp(min=0)
    inverse = torch.where(high > low, 255 / (high - low), 1)
    zero = torch.where((low + high) * inverse > 1, -128 - low * inverse, 127 - high * inverse)
    zero = torch.round(torch.clamp(zero, -128, 127))
    return (torch.clamp(torch.round(value * inverse) + zero, -128, 127) - zero) / inverse


def _norm(module: torch.nn.Module, norm: fx.Node) -> tuple[Tensor, Tensor, Tensor]:
    """Factor, offset and mean a channel of a batch norm: factor * (x - mean) + offset."""
    gamma, offset, mean, variance = (_parameter(module, argument) for argument in norm.args[1:5])
    assert gamma is not None
    assert offset is not None
    assert mean is not None
    assert variance is not None
    return gamma / torch.sqrt(variance + float(norm.args[7])), offset, mean  # type: ignore[arg-type]
