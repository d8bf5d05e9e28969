"""Runs the network in float64 on the values that a file computed, and measures each step's own error.

Where a step's result matches a tensor of the file (`match_tensors`), the file's values replace it, and the
next step starts from them. So each step has its own error only, not that of earlier steps, and matching works
behind a fault as before it.

Beside each float64 tensor, the same operators compute a perturbed float32 tensor from the same values, each
moved by up to one ULP: the difference of the two is float32's error. A sum of n terms has an error of sqrt(n)
ULPs if it is added in sequence (Higham and Mary, "A new approach to probabilistic rounding error analysis",
SIAM J. Sci. Comput. 41, 2019), which the perturbed run does not do. Everything here runs in the `torch`
worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from modelparity.converters.engine.exported_program import Exported
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.checkpoints.load import weighted
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.activations import FileTensor, Folder
from modelparity.parity.explain.aten_operators import is_view, rms_of, tensors_in, terms_of
from modelparity.parity.explain.match_tensors import Match, Pool, as_file, as_network
from modelparity.parity.explain.steps import Guess, Step

NEAR = 1e-3  # relative rms difference below which two tensors match
_ULP = 2.0**-23
_GUESSED_DEPTH = 4  # steps behind a matched one for which similar tensors are searched
_ORDERS = {"topk", "sort"}
_MOVES_NOTHING = {
    "clone",
    "_to_copy",
    "detach",
    "alias",
    "lift_fresh",
    "_unsafe_view",
    "reshape",
    "contiguous",
}


def follow(
    spec: ModelSpec,
    checkpoint: Path | None,
    feed: Mapping[str, Array],
    folder: Path,
    *,
    tensors: Sequence[FileTensor],
    taken: Mapping[int, int] | None = None,
    wanted: int = -1,
    search: bool = True,
) -> list[Step]:
    """Runs the network on one image along the file's tensors.

    `taken` assigns tensors to some steps, whatever their values; without `search` no others are matched. For
    the step `wanted`, the float64 result from the file's values is written to `expected.npy` in the folder,
    in the file's arrangement.
    """
    module = weighted(spec, checkpoint).double()
    pool = Pool(tensors, Folder(folder))
    follower = Follower(module, pool, taken=taken or {}, wanted=wanted, search=search)
    image = torch.from_numpy(np.ascontiguousarray(feed["image"])).double()
    follower.start(image)
    with torch.no_grad(), follower:
        outputs = module(image)
    follower.finish(outputs)
    return follower.steps


class Follower(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Intercepts every operator of the network as it runs."""

    def __init__(
        self, module: nn.Module, pool: Pool, *, taken: Mapping[int, int], wanted: int, search: bool
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self._pool = pool
        self._taken = taken
        self._wanted = wanted
        self._search = search
        # Untyped in torch, hence Any.
        self._perturbed: Any = WeakTensorKeyDictionary()
        self._makers: Any = WeakTensorKeyDictionary()  # tensor -> the step that computed it; -1 is the image
        self._parameters: Any = WeakTensorKeyDictionary()  # tensor -> the parameters that it is computed from
        self._modules: list[str] = [""]
        self._generator = torch.Generator().manual_seed(0)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            self._parameters[tensor.data] = self._parameters[tensor] = (name,)
        for name, part in module.named_modules():
            part.register_forward_pre_hook(self._entering(name))
            part.register_forward_hook(self._leaving)

    def start(self, image: Tensor) -> None:
        self._makers[image] = -1

    def finish(self, outputs: Sequence[Tensor]) -> None:
        for output in outputs:
            index = self._makers.get(output, -1)
            if index >= 0:
                self.steps[index] = replace(self.steps[index], output=True)

    def _entering(self, name: str) -> Any:
        return lambda *_: self._modules.append(name)

    def _leaving(self, *_: object) -> None:
        self._modules.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = tensors_in((args, kwargs))
        makers = {self._makers[t] for t in read if t in self._makers}
        weights = tuple(dict.fromkeys(name for t in read for name in self._parameters.get(t, ())))
        elements = max((t.numel() for t in read if t in self._parameters), default=0)
        float32_args, float32_kwargs = tree_map(self._float32, (args, kwargs))
        out = func(*args, **kwargs)
        float32 = func(*float32_args, **float32_kwargs)
        results = list(zip(tensors_in(out), tensors_in(float32), strict=True))
        for one, other in results:
            if one.dtype == torch.float64:
                self._perturbed[one] = other
        name = func._schema.name.partition("::")[2]
        moved = name in _MOVES_NOTHING or is_view(func)
        for position, (one, other) in enumerate(results):
            if not makers:
                self._parameters[one] = weights  # computed from parameters alone
            elif moved or one.dtype != torch.float64:
                self._makers[one] = max(makers)
            else:
                self._makers[one] = len(self.steps)
                operator = name.strip("_") + (f"[{position}]" if position else "")
                self._step(
                    operator,
                    one,
                    other,
                    inputs=tuple(sorted(makers)),
                    weights=weights,
                    elements=elements,
                    terms=terms_of(name, args),
                )
        if name in _ORDERS and len(results) > 1:
            self._order_as_theirs(self.steps[-1].tensor, results[1][0])
        return out

    def _float32(self, leaf: object) -> object:
        """The float32 counterpart of an argument; integers and booleans are those of float64."""
        if leaf is torch.float64:
            return torch.float32
        if not isinstance(leaf, Tensor) or leaf.dtype != torch.float64:
            return leaf
        counterpart = self._perturbed.get(leaf)
        if counterpart is None:
            counterpart = self._perturbed[leaf] = leaf.float()
        return counterpart

    def _step(
        self,
        operator: str,
        result: Tensor,
        perturbed: Tensor,
        *,
        inputs: tuple[int, ...],
        weights: tuple[str, ...],
        elements: int,
        terms: int,
    ) -> None:
        index = len(self.steps)
        values, rms = result.numpy(), rms_of(result.numpy())
        greatest = float(np.abs(values).max(initial=0.0))
        floor = max(
            rms_of(perturbed.numpy().astype(np.float64) - values),
            float(np.spacing(np.float32(greatest))) / 2,
            rms * math.sqrt(terms) * _ULP / 2,
        )
        depth = 1 + min((self.steps[i].depth for i in inputs if i >= 0), default=0)
        step = Step(
            index,
            self._modules[-1],
            operator,
            tuple(result.shape),
            inputs,
            weights,
            elements,
            rms,
            floor,
            depth=depth,
        )
        match, theirs = self._match(index, values)
        if match is None:
            if self._search and depth <= _GUESSED_DEPTH:
                alike = [*self._pool.resembling(values), *self._left_out(values, inputs)]
                step = replace(step, guesses=tuple(Guess(m.index, m.correlation) for m in alike))
            self.steps.append(step)
            return
        difference = np.abs(theirs - values)
        at = np.unravel_index(int(np.argmax(difference)), difference.shape)
        if index == self._wanted:
            shape = self._pool.tensors[match.index].shape
            np.save(self._pool.folder.path / "expected.npy", as_file(values, shape, match.order))
        self.steps.append(
            replace(
                step,
                tensor=match.index,
                error=rms_of(difference),
                greatest=float(difference[at]),
                at=tuple(int(i) for i in at),
                depth=0,
            )
        )
        self._pool.claim(match.index)
        self._put(result, perturbed, theirs)

    def _left_out(self, values: Array, inputs: tuple[int, ...]) -> list[Match]:
        """Matches for a file that leaves the step out: the step's inputs of the same size."""
        tensors = {self.steps[i].tensor for i in inputs if i >= 0} - {-1}
        same = [i for i in sorted(tensors) if math.prod(self._pool.tensors[i].shape) == values.size]
        return [match for i in same if (match := self._pool.to(values, i)) is not None]

    def _match(self, index: int, values: Array) -> tuple[Match | None, Array]:
        """The matching tensor of the file, and its values in the network's arrangement."""
        if index in self._taken:
            match = self._pool.to(values, self._taken[index])
        elif not self._search or values.min(initial=0.0) == values.max(initial=0.0):
            match = None
        else:
            match = self._pool.nearest(values)
            match = match if match is not None and match.error <= NEAR else None
        if match is None:
            return None, values
        theirs = as_network(self._pool.folder.read(match.index), values.shape, match.order).astype(np.float64)
        if index not in self._taken and not rms_of(theirs - values) <= NEAR * rms_of(values):
            return (
                None,
                values,
            )  # similar on a sample only: a floor or a comparison differs in places
        return match, theirs

    def _order_as_theirs(self, tensor: int, order: Tensor) -> None:
        """Takes the file's order of sorted values, because either order of equal values is right."""
        if tensor < 0 or (places := self._pool.tensors[self._pool.origin(tensor)].places) < 0:
            return
        theirs = self._pool.folder.read(places)
        if theirs.size == order.numel():
            order.copy_(torch.from_numpy(theirs.astype(np.int64)).reshape(order.shape))

    def _put(self, result: Tensor, perturbed: Tensor, theirs: Array) -> None:
        """Replaces the network's values with the file's, moved by up to one ULP in the perturbed run."""
        result.copy_(torch.from_numpy(theirs))
        moves = torch.randint(-1, 2, result.shape, generator=self._generator, dtype=torch.int8)
        perturbed.copy_(result * (1 + moves * _ULP))


def run_program(
    path: Path, spec: ModelSpec, checkpoint: Path | None, feed: Mapping[str, Array]
) -> dict[str, Array]:
    """The exported program's outputs by name, in float32."""
    network = Exported(path, spec, checkpoint).load().module()
    with torch.no_grad():
        outputs = network(torch.from_numpy(np.ascontiguousarray(feed["image"])))
    names = spec.signature().output_names
    return {name: value.numpy().copy() for name, value in zip(names, outputs, strict=True)}
