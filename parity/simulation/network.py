"""Simulates a quantized file: runs the network in PyTorch, rounding as the file does.

The exported program runs node by node. A layer whose weights the file rounded takes the file's numbers, and
its activations are rounded where the file rounds them: by calibrated scales and zero points, or by the range
that they have at run time. Everything else is the network's own, so the runtime's kernels, fusions and
packing have no part in it, nor does a converter's graph.

Rounding is not continuous: a value on the edge between two steps falls to either side by one ULP of float32,
and later layers then round differently, too. Hence the perturbed run: the same simulation again, with each
layer's sums of n terms moved by up to 64 times the sqrt(n) half ULPs of their float32 error (Higham and Mary,
"A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019), and with what a
layer reads on the other side of an edge that is near (`rounding.nearest`). So values fall to the other side
64 times as often as between two right implementations, and the distance of the two runs bounds theirs.

Ranges at run time: ONNX has one for each tensor, in uint8 (`DynamicQuantizeLinear`,
https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html). TFLite has int8 with the zero point of
XNNPACK's `qd8` operators (github.com/google/XNNPACK, src/xnnpack/quantization.h): one range for each row of a
matrix, a kernel of one pixel being a matrix, and one for each image for other kernels. ONNX Runtime's
MatMulNBits has one for each block of a row. Its LSTM
has one for all of its inputs, and one for the hidden states of a step that a thread computes: measured with
version 1.31, a batch of five on two threads differs from that on one by 53 dB.

Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from modelparity.converters.engine.exported_program import Exported
from modelparity.converters.engine.network import LARGE, arguments
from modelparity.fixtures.arrays import Array, Feeds
from modelparity.fixtures.specs import NetworkSpec, Signature
from modelparity.modelfiles.graph import Graph
from modelparity.modelfiles.lineage import graph_of
from modelparity.parity.simulation.file_layers import DYNAMIC_LSTM, TABLE
from modelparity.parity.simulation.layers import (
    Layer,
    Simulated,
    cast_elsewhere,
    layers_of,
    unsupported,
)
from modelparity.parity.simulation.places import (
    HARDSIGMOID,
    PRELU,
    Place,
    folded,
    folded_bias,
    misrounded,
    planned,
    scale_and_shift,
)
from modelparity.parity.simulation.products import Product
from modelparity.parity.simulation.recurrent import write_out
from modelparity.parity.simulation.rounding import (
    Moves,
    by_blocks_int8,
    by_range_int8,
    by_range_uint8,
    perturbed,
    rounded,
)
from modelparity.parity.simulation.stored_constants import ARITHMETIC, cast_numbers, casts, moved_biases


def simulate(
    exported: Exported,
    graph: Graph,
    *,
    feeds: Sequence[Mapping[str, Array]],
    perturbed: Sequence[int],
    corrected: bool = True,
) -> Simulated:
    """Runs the simulation of a file's graph over all feeds, and perturbed over those at `perturbed`.

    A file that rounds no activation is simulated in float64, and not perturbed: nothing is on an edge.
    `corrected` says that the file's quantizer may have moved biases on purpose (`moved_biases`).
    Nothing runs if a layer or a float16 constant matches none of the network's, or if an operator reads
    rounded numbers in a way that is not known here.
    """
    layers = layers_of(graph)
    if others := unsupported(graph):
        return Simulated((), (), len(layers), not_simulated=tuple(others))
    assert exported.spec is not None
    module = program_of(exported)
    places, unmatched = planned(module, layers)
    of_float16 = {layer.name for layer in layers if layer.step is None}.intersection(unmatched)
    constants = cast_elsewhere(graph, of_float16)
    numbers, arrays = cast_numbers(module, constants)
    cast, unknown = casts(module, arrays)
    unmatched = [name for name in unmatched if name not in of_float16]
    rounded_weights = len(layers) or len(constants)
    if unmatched or unknown:
        return Simulated((), (), rounded_weights, (*unmatched, *unknown))
    if corrected and (moved_on_purpose := moved_biases(module, places)):
        return Simulated((), (), rounded_weights, elsewhere=moved_on_purpose)
    ports = exported.spec.signature()
    names = ports.output_names
    exact = not any(layer.dynamic or layer.reads or layer.gives or layer.blocks for layer in layers)
    simulation = Simulation(module, places, cast=cast, numbers=numbers, exact=exact)

    def run(feeds: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Array], ...]:
        outputs = run_all(simulation, feeds, ports)
        return tuple({n: v.numpy().copy() for n, v in zip(names, o, strict=True)} for o in outputs)

    wrong = tuple(found for place in places if (found := misrounded(module, place))[1])
    outputs = run(feeds)
    if exact:
        return Simulated(outputs, (), rounded_weights, wrong=wrong)
    simulation.moves = Moves()
    moved = run([feeds[i] for i in perturbed])
    if simulation.sharing:
        why = "whose range depends on the number of threads, because a step has several rows of an image"
        named = tuple(f"{DYNAMIC_LSTM} of {name}, {why}" for name in sorted(simulation.sharing))
        return Simulated((), (), rounded_weights, not_simulated=named)
    by_threads = any(layer.repeated for layer in layers)
    return Simulated(outputs, moved, rounded_weights, wrong=wrong, shared_by_threads=by_threads)


_LATEST: dict[tuple[Path, Path | None], torch.nn.Module] = {}


def program_of(exported: Exported) -> torch.nn.Module:
    """The program as it is simulated, its recurrent layers written out.

    It stays in memory until another one is asked for, unless it is large.
    """
    key = exported.path, exported.checkpoint
    if key not in _LATEST:
        _LATEST.clear()
        module = exported.load().module()
        write_out(module)
        if sum(parameter.numel() for parameter in module.parameters()) > LARGE:
            return module
        _LATEST[key] = module
    return _LATEST[key]


def run_all(simulation: Simulation, feeds: Sequence[Feeds], ports: Signature) -> list[Any]:
    """Runs on one thread, because other toolchains run beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            runs = []
            for feed in feeds:
                simulation.images = samples_of(feed, ports)
                simulation.flat = is_flat(feed)
                runs.append(simulation.run(*arguments(feed, ports, torch.float32)))
            return runs
    finally:
        torch.set_num_threads(before)


def samples_of(feed: Feeds, ports: Signature) -> int:
    """How many samples a feed holds; 1 without a batch axis."""
    batched = [port for port in ports.inputs if port.batch_axis is not None]
    return feed[batched[0].name].shape[batched[0].batch_axis or 0] if batched else 1


def is_flat(feed: Feeds) -> bool:
    """Whether the only input is an image [B, C, H, W] of one colour."""
    image, *others = feed.values()
    return not others and image.ndim == 4 and bool((image == image[..., :1, :1]).all())


def coarsest(
    program: Path, spec: NetworkSpec, checkpoint: Path | None, path: Path, *, feed: Mapping[str, Array]
) -> str:
    """Names the layer whose own rounding, of weights and input, has the lowest SQNR at its output."""
    module = program_of(Exported(program, spec, checkpoint))
    places, _ = planned(module, layers_of(graph_of(path)))
    simulation = Simulation(module, places)
    simulation.own = {}
    run_all(simulation, [feed], spec.signature())
    own = simulation.own
    if not own:
        return "not known"
    name = min(own, key=lambda layer: own[layer])
    return f"at {name} ({own[name]:.1f} dB of its own output, worst of {len(own)} layers)"


class Simulation(fx.Interpreter):
    """Runs the program with each place's layer rounded, and the nodes `cast` and `numbers` in float16.

    `exact` computes in float64. With `moves`, the layers' sums are moved at random, and what they read falls
    to the other side of an edge.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        places: Sequence[Place],
        *,
        cast: AbstractSet[fx.Node] = frozenset(),
        numbers: AbstractSet[float] = frozenset(),
        exact: bool = False,
    ) -> None:
        super().__init__(module)
        self._cast, self._halves = cast, numbers
        self._dtype = torch.float64 if exact else torch.float32
        self._layers: dict[fx.Node, list[Place]] = {}  # several where a file computes groups one by one
        for place in sorted(places, key=lambda place: place.fold.part or (0, 1)):
            self._layers.setdefault(place.fold.node, []).append(place)
        folds = [place.fold for place in places]
        self._behind = {fold.last: fold.node for fold in folds if fold.last is not fold.node}
        self._numbers = {place: self._weight_and_bias(place) for place in places}
        # The file carries their bias on into the next layer's, and rounds what they give without it.
        self._carried = {
            place
            for place in places
            if place.layer.gives and not place.layer.biased and self._numbers[place][1] is not None
        }
        whole = [place for place in places if place.fold.part is None and place not in self._carried]
        self._ends = {
            place.end: place.layer
            for place in whole
            if place.layer.gives or place.end.target in (HARDSIGMOID, PRELU)
        }
        self._factors = {place.end: place.fold.factor for place in whole}
        self.moves: Moves | None = None
        self.images = 1  # in a feed
        self.sharing: set[str] = set()  # weights of recurrent layers that read several rows of an image
        self.flat = False  # the image has one colour, so that all places of a layer compute the same
        self.own: dict[str, float] | None = None  # SQNR in dB by layer, where asked for

    def _weight_and_bias(self, place: Place) -> tuple[Tensor, Tensor | None]:
        """As the program's node takes them."""
        layer = place.layer
        weight = torch.from_numpy(np.ascontiguousarray(layer.weight))
        if place.fold.part is None:
            weight = place.fold.product.as_argument(weight)
        bias = folded_bias(self.module, place.fold)
        if layer.bias is not None:
            bias = torch.from_numpy(layer.bias)
        return weight.to(self._dtype), None if bias is None else bias.to(self._dtype)

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module":
            return None  # the exported program's guards
        value = self._computed(n)
        if n in self._cast:
            value = value.to(torch.float16).to(value.dtype)
        return value

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._widened(super().placeholder(target, args, kwargs))

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._widened(super().get_attr(target, args, kwargs))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """In the simulation's precision, also where the network names float32."""
        if getattr(target, "overloadpacket", None) in ARITHMETIC:
            args = tuple(self._cast_number(each) for each in args)
        args, kwargs = tree_map(self._precision, (args, dict(kwargs)))
        return self._widened(super().call_function(target, args, kwargs))

    def _cast_number(self, value: Any) -> Any:
        known = isinstance(value, int | float) and float(value) in self._halves
        return float(np.float16(value)) if known else value

    def _precision(self, value: Any) -> Any:
        return self._dtype if value is torch.float32 else value

    def _widened(self, value: Any) -> Any:
        return value.to(self._dtype) if isinstance(value, Tensor) and value.dtype == torch.float32 else value

    def _computed(self, n: fx.Node) -> Any:
        if n in self._layers:
            value = self._layer(self._layers[n], n)
        elif n in self._behind:
            value = self.env[self._behind[n]]
        elif n in self._ends and n.target == HARDSIGMOID:
            # TFLite: relu6(x + 3) / 6, of which the file fused all but the quotient into the layer.
            value, layer = self.fetch_args_kwargs_from_env(n)[0][0], self._ends[n]
            value = torch.clamp(value + (0 if layer.bias is not None else 3), 0, 6)
            return rounded(value, layer.gives) / 6
        elif n in self._ends and n.target == PRELU:
            return self._prelu(self._ends[n], *self.fetch_args_kwargs_from_env(n)[0])
        else:
            value = super().run_node(n)
        if n not in self._ends:
            return value
        factor = self._factors[n]
        return rounded(value * factor, self._ends[n].gives) / factor

    def _prelu(self, layer: Layer, value: Tensor, slope: Tensor) -> Tensor:
        """relu(x) - slope relu(-x), each of which the file rounds by itself."""
        assert layer.negative is not None
        above, below = rounded(value.relu(), layer.gives), rounded((-value).relu(), layer.negative)
        return above - slope * below

    def _layer(self, places: Sequence[Place], n: fx.Node) -> Tensor:
        arguments, keywords = self.fetch_args_kwargs_from_env(n)
        if places[0].fold.part is None:
            return self._rounded(places[0], arguments, keywords)
        results = []
        for place, own in zip(places, places[0].fold.product.by_group(arguments), strict=True):
            results.append(rounded(self._rounded(place, own, keywords), place.layer.gives))
        return torch.cat(results, dim=1)

    def _rounded(self, place: Place, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor:
        """The layer's result on rounded inputs, with its bias, and with the norm that the file folded."""
        product, (weight, bias) = place.fold.product, self._numbers[place]
        value = _at(arguments, product.read)
        if place.fold.before is not None:
            gamma, shift = scale_and_shift(self.module, place.fold)
            value = value if shift is None else value - shift
            value = (value if gamma is None else value / gamma).to(self._dtype)
        unbiased = place.layer.gives if place in self._carried else place.layer.unbiased
        arguments, added = _with_bias(product, arguments, bias, apart=bool(unbiased))
        if product.family == TABLE:
            return product.compute(arguments, keywords, value, weight)
        if place.layer.repeated and value.dim() == 2 and len(value) > self.images:
            self.sharing.add(place.layer.name)
        read = _as_read(value, place.layer, product.channels, flip=self.moves is not None)
        result = product.compute(arguments, keywords, read, weight)
        if self.own is not None and place.fold.part is None:
            own = product.as_argument(folded(self.module, place.fold)).float()
            self._note(place, result - product.compute(arguments, keywords, value, own), result)
        result = rounded(result, unbiased)
        if added is not None:
            behind = result.dim() - 2 if product.channels == (1,) else 0  # axes behind the channels
            result = result + added.reshape(-1, *[1] * behind)
        return self._perturbed(result / place.fold.factor, product.terms)

    def _note(self, place: Place, noise: Tensor, result: Tensor) -> None:
        assert self.own is not None
        weight = place.fold.product.node_of(place.fold.product.weight)
        name = str(weight.target if weight.op == "get_attr" else weight.name)
        name = name.removeprefix("network.").removesuffix(".weight")
        power = float(noise.double().square().mean())
        if power:  # the worst use of a weight that several steps share
            sqnr_db = 10 * math.log10(float(result.double().var()) / power)
            self.own[name] = min(sqnr_db, self.own.get(name, math.inf))

    def _perturbed(self, value: Tensor, terms: int) -> Tensor:
        if self.moves is None:
            return value
        shape = tuple(value.shape)
        if self.flat:  # all places of [B, C, H, W], or all tokens of [B, tokens, C], move alike
            shape = (*shape[:2], 1, 1) if len(shape) == 4 else (*shape[:-2], 1, *shape[-1:])
        return perturbed(value, terms, self.moves, shape)


def _at(arguments: Any, path: Sequence[int]) -> Any:
    for position in path:
        arguments = arguments[position]
    return arguments


def _with_bias(
    product: Product, arguments: Sequence[Any], bias: Tensor | None, apart: bool
) -> tuple[list[Any], Tensor | None]:
    """The arguments with another bias; and the bias, where the product takes none or it is added `apart`."""
    if product.bias is None:
        return list(arguments), bias
    changed = [*arguments, *[None] * (product.bias + 1 - len(arguments))]
    changed[product.bias] = product.no_bias if apart else bias
    return changed, bias if apart else None


def _as_read(value: Tensor, layer: Layer, channels: tuple[int, ...], *, flip: bool) -> Tensor:
    value = rounded(value, layer.reads, flip)
    if layer.blocks:
        return by_blocks_int8(value, layer.blocks, flip)
    if not layer.dynamic:
        return value
    if layer.kind in ("Conv", "MatMul"):
        return by_range_uint8(value, flip)
    return by_range_int8(value, channels if layer.rows else tuple(range(1, value.dim())), flip)
