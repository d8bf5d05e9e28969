"""Finds the places of a file's rounded layers, and of its float16 constants, in the exported program.

Converters rename and fold, so that a layer is known by its weights: its own, or with the batch norm behind it
or the scale of the layer norm before it multiplied in. A file may compute the groups of a convolution one by
one, and add a bias to a product that the program adds behind it. What a file added to the bias of a layer is
known by the bias. Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import HALF_STEP
from modelparity.parity.simulation.file_layers import SUM, TRANSPOSED
from modelparity.parity.simulation.layers import Layer
from modelparity.parity.simulation.products import (
    LINEAR,
    Product,
    depends_on_input,
    of_one_image,
    parameter,
    parts,
    product,
    remembered,
    rows_alike,
)

_ATEN = torch.ops.aten
HARDSIGMOID = _ATEN.hardsigmoid.default
PRELU = _ATEN.prelu.default
_ADD = (_ATEN.add.Tensor, _ATEN.add_.Tensor)
_ACTIVATIONS = {
    "relu": (_ATEN.relu.default, _ATEN.relu_.default),
    "relu6": (HARDSIGMOID, _ATEN.hardtanh.default, _ATEN.hardtanh_.default, _ATEN.relu6.default),
}
_MULTIPLIES = (_ATEN.mul.Tensor, _ATEN.div.Tensor)
_LINEAR_OPERATORS = (
    *(_ATEN.reshape.default, _ATEN.view.default, _ATEN.transpose.int, _ATEN.permute.default),
    *(_ATEN.unsqueeze.default, _ATEN.squeeze.dim, _ATEN.contiguous.default, _ATEN.clone.default),
    *(_ATEN.flatten.using_ints, _ATEN.unflatten.int, _ATEN.matmul.default, _ATEN.bmm.default),
)
_SAMPLES = 1024
_HIDDEN = 1.01  # two forms of a layer whose distances from the file differ by less are not told apart
_ALIKE = 0.1  # rms of what differs, relative: int8 takes about 0.02, another layer's weights are above 1


@dataclass(frozen=True, eq=False)
class Fold:
    """A layer of the program as a file may have it, identified by a sample of its weight.

    The weight is its own, or has the batch norm `behind` it or the scale of the layer norm `before` it
    multiplied in, and `factor`: a number that the network multiplies the result by further on, as attention
    does with its queries. Or it is that of one `part` of its groups. The node `added` adds a bias to the
    product. What stands before it may also be a linear layer, whose bias the file carries on into this
    layer's: W2 (W1 x + b1) + b2 = W2 W1 x + (W2 b1 + b2), the bracket in float.
    """

    product: Product
    weight: Array
    behind: fx.Node | None = None
    before: fx.Node | None = None
    factor: float = 1.0
    part: tuple[int, int] | None = None
    added: fx.Node | None = None

    @property
    def node(self) -> fx.Node:
        return self.product.node

    @property
    def last(self) -> fx.Node:
        """The node that gives what the file's layer gives, before an activation."""
        return self.added or self.behind or self.node


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
    free = list(_all_folds(module))
    places: list[Place] = []
    unmatched: list[str] = []
    for alike in _of_one_weight(layers):
        found = _nearest(module, alike[0], free)
        if found is None:
            unmatched += [layer.name for layer in alike]
            continue
        folds = [fold for fold in free if _same_weight(fold, found, alike[0])]
        folds = [
            fold for fold in folds if (fold.part, fold.product.family) == (found.part, found.product.family)
        ]
        if len({fold.node for fold in folds}) > len(alike):
            # Exporters fold what depends on no input: the product of an LSTM's first state, of zeros.
            read = [(fold, fold.product.node_of(fold.product.read)) for fold in folds]
            folds = [fold for fold, node in read if depends_on_input(node)] or folds
        nodes = list(dict.fromkeys(fold.node for fold in folds))
        users = [alike[0]] * len(nodes) if alike[0].repeated else alike
        unmatched += [layer.name for layer in users[len(nodes) :]]
        for layer, node in zip(users, nodes, strict=False):
            forms = [fold for fold in folds if fold.node is node]
            fold = min(forms, key=lambda form: _bias_apart(module, form, layer))
            free = [other for other in free if other.node is not fold.node or _another_part(other, fold)]
            places.append(_place(module, fold, layer))
    incomplete = _incomplete(places)
    complete = [place for place in places if place.layer.name not in incomplete]
    return complete, [*unmatched, *incomplete]


def _same_weight(fold: Fold, found: Fold, layer: Layer) -> bool:
    """Whether a fold has the weight of the one that was found, or is a form of it that rounding hides.

    A norm without training divides by the root of 1 + epsilon: what int8 makes of the two weights is mostly
    the same, so that either may be the nearer one by chance.
    """
    if fold.node is not found.node:
        return np.array_equal(fold.weight, found.weight)
    weight = _sample(layer.weight)
    return _apart(weight, fold.weight) <= _HIDDEN * _apart(weight, found.weight)


def _all_folds(module: torch.nn.Module) -> Sequence[Fold]:
    """The forms of all layers of a program, in computing order; computed once for all of its files."""
    known = remembered(module)
    if "folds" not in known:
        nodes: fx.graph._node_list = module.graph.nodes  # type: ignore[union-attr, assignment]
        known["folds"] = tuple(fold for node in nodes for fold in _folds(module, node))
    folds: Sequence[Fold] = known["folds"]
    return folds


def _of_one_weight(layers: Sequence[Layer]) -> list[list[Layer]]:
    groups: dict[tuple[str, bytes], list[Layer]] = {}
    for layer in layers:
        groups.setdefault((layer.family, _sample(layer.weight).tobytes()), []).append(layer)
    return list(groups.values())


def _nearest(module: torch.nn.Module, layer: Layer, free: Sequence[Fold]) -> Fold | None:
    """The fold with the layer's weight; else one that has half of its rows, in whatever order."""
    weight = _sample(layer.weight)
    own = [fold for fold in free if fold.product.family == layer.family]
    apart = [(_apart(weight, fold.weight), order) for order, fold in enumerate(own)]
    distance, order = min(apart, default=(math.inf, 0))
    if distance <= max(_ALIKE, _coarseness(layer)):
        return own[order]
    same = [fold for fold in own if np.array_equal(fold.weight[:2], weight[:2])]
    return next((fold for fold in same if _rows_alike(layer, folded(module, fold).numpy())), None)


def _coarseness(layer: Layer) -> float:
    """How far rounding may move the layer's weight, relative: half a step of 4 bits is 0.3."""
    if layer.step is None or not layer.weight.any():
        return 0.0
    return min(HALF_STEP, HALF_STEP * float(np.sqrt(np.mean(layer.step**2) / np.mean(layer.weight**2))))


def _rows_alike(layer: Layer, own: Array) -> bool:
    """Of a transposed convolution, also the weights of each output."""
    if rows_alike(layer.weight, own, _ALIKE):
        return True
    if layer.family != TRANSPOSED or layer.weight.shape != own.shape:
        return False
    return rows_alike(layer.weight.swapaxes(0, 1), own.swapaxes(0, 1), _ALIKE)


def _another_part(other: Fold, fold: Fold) -> bool:
    return other.part is not None and fold.part is not None and other.part != fold.part


def _incomplete(places: Sequence[Place]) -> list[str]:
    """Names of layers that compute some groups of a convolution, where others have no layer of their own."""
    count: dict[fx.Node, int] = {}
    for place in places:
        count[place.fold.node] = count.get(place.fold.node, 0) + 1
    parted = [place for place in places if place.fold.part is not None]
    return [p.layer.name for p in parted if p.fold.part and count[p.fold.node] != p.fold.part[1]]


def _sample(weight: Array) -> Array:
    """[out, size, values...]: identifies a weight.

    The values lie anywhere: at even distances, they could all be one place of a kernel, which may be small.
    """
    flat = np.ascontiguousarray(weight).reshape(-1)
    if flat.size > _SAMPLES:
        flat = flat[np.random.default_rng(0).integers(flat.size, size=_SAMPLES)]
    return np.concatenate([[len(weight), weight.size], flat])


def _apart(one: Array, other: Array) -> float:
    """Relative rms of the difference; infinite for weights of another shape."""
    if one[0] != other[0] or one[1] != other[1]:
        return math.inf
    scale = float(np.sqrt(np.mean(other[2:] ** 2)))
    return float(np.sqrt(np.mean((one[2:] - other[2:]) ** 2))) / scale if scale else math.inf


def _bias_apart(module: torch.nn.Module, fold: Fold, layer: Layer) -> float:
    """The greatest distance of a file's bias to that of a form of the layer; 0 if the file has none."""
    stored = layer.float_bias if layer.bias is None else layer.bias
    if stored is None:
        return 0.0
    bias = folded_bias(module, fold)
    if bias is not None and bias.numel() != stored.size:
        return math.inf
    return float(np.abs(stored - (0.0 if bias is None else bias.numpy())).max())


def _folds(module: torch.nn.Module, node: fx.Node) -> Iterator[Fold]:
    """Forms with a norm come first, because a norm that multiplies by 1 is folded, too."""
    found = product(module, node)
    if found is None:
        return
    users = list(node.users)
    forms = [Fold(found, np.zeros(0))]
    if len(users) == 1 and users[0].target == _ATEN.batch_norm.default:
        forms.insert(0, replace(forms[0], behind=users[0]))
    read = found.node_of(found.read)
    is_scaled = read.target == _ATEN.layer_norm.default and parameter(module, read.args[2]) is not None
    if is_scaled and node.target == LINEAR:
        forms.insert(0, replace(forms[0], before=read))
    plain = [form for form in forms if form.behind is None]
    multiplied = [replace(form, factor=factor) for factor in _factors(node) for form in plain]
    if read.target == LINEAR and node.target == LINEAR and len(read.args) > 2:
        forms.append(Fold(found, np.zeros(0), before=read))
    for form in (*forms, *multiplied):
        weight = folded(module, form)
        yield replace(form, weight=_sample(weight.numpy()))
        for part in parts(found) if form.factor == 1 else ():
            yield replace(form, weight=_sample(_part(weight, part).numpy()), part=part)


def _factors(node: fx.Node) -> Iterator[float]:
    """The numbers that what a layer gives is multiplied by, on its way through linear operators."""
    factor, users = 1.0, list(node.users)
    while len(users) == 1:
        (user,) = users
        number = user.args[1] if len(user.args) > 1 else None
        if user.target in _MULTIPLIES and isinstance(number, int | float) and number > 0:
            factor = factor / number if user.target == _ATEN.div.Tensor else factor * number
            yield factor
        elif user.target not in _LINEAR_OPERATORS:
            return
        users = list(user.users)


def _place(module: torch.nn.Module, fold: Fold, layer: Layer) -> Place:
    """With the node behind a product that adds a bias: the product has none, or the file has the sum."""
    users = list(fold.node.users)
    adds = layer.biased and fold.behind is None and len(users) == 1 and users[0].target in _ADD
    bias = _other_operand(module, users[0], fold.node) if adds else None
    if bias is None:
        return Place(layer, fold, _end(fold.last, layer))
    both = replace(fold, added=users[0])
    is_bias = fold.product.family == SUM and bias.numel() == fold.product.outputs
    if fold.product.bias_node() is None:
        return Place(layer, both if is_bias else fold, _end(users[0], layer))
    if is_bias and _bias_apart(module, both, layer) < _bias_apart(module, fold, layer):
        fold = both
    return Place(layer, fold, _end(fold.last, layer))


def _other_operand(module: torch.nn.Module, add: fx.Node, node: fx.Node) -> Tensor | None:
    """What an addition adds to a node, for one image, if that depends on no input."""
    if add.kwargs.get("alpha", 1) != 1:
        return None
    others = [operand for operand in add.args[:2] if operand is not node]
    return of_one_image(module, others[0]) if len(others) == 1 else None


def _end(end: fx.Node, layer: Layer) -> fx.Node:
    """The activation behind a node that the file fused, or the node."""
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
    """The layer's bias in float64, with what the file multiplied in; None without one."""
    bias = parameter(module, fold.product.bias_node())
    if bias is not None:
        bias = bias.reshape(-1) * fold.product.bias_factor
    if fold.behind is not None:
        factor, offset, mean = norm_of(module, fold.behind)
        bias = offset + ((0 if bias is None else bias) - mean) * factor
    _, shift = scale_and_shift(module, fold)
    if shift is not None:
        own = _common(module, fold)
        bias = own @ shift + (0 if bias is None else bias)
    if fold.added is not None:
        added = _other_operand(module, fold.added, fold.node)
        assert added is not None
        bias = added.reshape(-1) + (0 if bias is None else bias)
    return None if bias is None else _part(bias, fold.part) * fold.factor


def _part(values: Tensor, part: tuple[int, int] | None) -> Tensor:
    """Those of one group of a convolution."""
    return values if part is None else values.chunk(part[1])[part[0]]


def _common(module: torch.nn.Module, fold: Fold) -> Tensor:
    """The network's own weight, in the common layout."""
    own = parameter(module, fold.product.node_of(fold.product.weight))
    assert own is not None
    return fold.product.common(own)


def folded(module: torch.nn.Module, fold: Fold) -> Tensor:
    """The layer's weight in float64, in the common layout, with what the file multiplied in."""
    weight = _common(module, fold)
    if fold.behind is not None:
        factor = norm_of(module, fold.behind)[0]
        if fold.product.family == TRANSPOSED:  # [in, out / groups, ...]
            groups = fold.product.groups
            factor = (
                factor.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1).reshape(weight.shape[:2])
            )
            weight = weight * factor.reshape(*factor.shape, *[1] * (weight.dim() - 2))
        else:
            weight = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
    gamma, _ = scale_and_shift(module, fold)
    return _part(weight if gamma is None else weight * gamma, fold.part) * fold.factor


def scale_and_shift(module: torch.nn.Module, fold: Fold) -> tuple[Tensor | None, Tensor | None]:
    """What the file multiplied into the weight, and into the bias, of what stands before a layer."""
    if fold.before is None:
        return None, None
    if fold.before.target == LINEAR:
        return None, parameter(module, fold.before.args[2])
    return parameter(module, fold.before.args[2]), parameter(module, fold.before.args[3])


def norm_of(module: torch.nn.Module, norm: fx.Node) -> tuple[Tensor, Tensor, Tensor]:
    """Factor, offset and mean of each channel of a batch norm: factor * (x - mean) + offset."""
    gamma, offset, mean, variance = (parameter(module, argument) for argument in norm.args[1:5])
    assert gamma is not None
    assert offset is not None
    assert mean is not None
    assert variance is not None
    return gamma / torch.sqrt(variance + float(norm.args[7])), offset, mean  # type: ignore[arg-type]
