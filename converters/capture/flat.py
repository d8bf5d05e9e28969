"""Makes a network with nested inputs and outputs one of flat, named tensors, as files have them.

Everything here runs in a worker that has torch.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from modelparity.converters.capture.targets import TargetError


class Flat(nn.Module):
    """A network that takes tensors in a row and returns tensors in a row.

    Values that are no tensors (numbers, flags, None) stay what they are in the example.
    """

    def __init__(self, network: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        leaves, self._spec = pytree.tree_flatten((args, dict(kwargs)))
        paths = [path for path, _ in pytree.tree_flatten_with_path((args, dict(kwargs)))[0]]
        self._leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.tensors = tuple(leaves[index].detach() for index in self._places)
        if not self.tensors:
            raise TargetError("the example inputs hold no tensor")
        parameters = _parameter_names(network)
        self.input_names = _unique([_input_name(paths[index], parameters) for index in self._places])

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(leaf for leaf in pytree.tree_leaves(self._result(tensors)) if isinstance(leaf, Tensor))

    def _result(self, tensors: Sequence[Tensor]) -> Any:
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        return self.network(*args, **kwargs)

    def named_outputs(self) -> dict[str, Tensor]:
        """The outputs on the example inputs, by path: keys of a dictionary, or "output" and a number."""
        with torch.no_grad():
            found = pytree.tree_flatten_with_path(self._result(self.tensors))[0]
        found = [(path, leaf) for path, leaf in found if isinstance(leaf, Tensor)]
        alone = len(found) == 1 and not found[0][0]
        names = ["output"] if alone else [_output_name(path) for path, _ in found]
        unique = _unique([f"{n}_out" if n in self.input_names else n for n in names])
        return dict(zip(unique, (leaf for _, leaf in found), strict=True))


def arguments(network: nn.Module, examples: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments: a dictionary is by keyword, a tuple or list by position."""
    if isinstance(examples, Mapping):
        parameters = inspect.signature(network.forward).parameters
        by_any_name = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        if by_any_name or all(key in parameters for key in examples):
            return (), dict(examples)
        return (dict(examples),), {}
    if isinstance(examples, tuple | list):
        return tuple(examples), {}
    return (examples,), {}


def _parameter_names(network: nn.Module) -> list[str]:
    return [
        name
        for name, parameter in inspect.signature(network.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def _input_name(path: Sequence[Any], parameters: Sequence[str]) -> str:
    """(args, kwargs) -> index or key -> further path."""
    where, first, *rest = path
    if where.idx == 0:
        index = first.idx
        head = parameters[index] if index < len(parameters) else f"input_{index}"
    else:
        head = str(first.key)
    return _clean(".".join([head, *map(_part, rest)]))


def _output_name(path: Sequence[Any]) -> str:
    parts = [_part(entry) for entry in path]
    return _clean(".".join(["output", *parts] if parts[0].isdigit() else parts))


def _part(entry: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def _clean(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", name) or "input"
    return "self_" if word == "self" else word  # which files bind as keywords


def _unique(names: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        free, number = name, 1
        while free in unique:
            number += 1
            free = f"{name}_{number}"
        unique.append(free)
    return unique
