"""Finds the nodes of the exported program whose values a file stores as constants.

Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, fx

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.parity.simulation.products import constant_nodes


def casts(module: torch.nn.Module, constants: Sequence[Constant]) -> tuple[set[fx.Node], list[str]]:
    """The nodes whose values a file holds in float16, and the names of constants that are no node's value.

    A node is matched if it depends on no input and its elements, cast, are those of the constant in any
    order: converters compute such nodes beforehand, and may transpose them. A constant may also be several
    of one size behind each other: the directions of a recurrent layer, and both of its biases.
    """
    if not constants:
        return set(), []
    found: set[fx.Node] = set()
    sizes = {math.prod(constant.shape) // parts for constant in constants for parts in _JOINED}
    values = {node: value.astype(np.float16) for node, value in constant_values(module, sizes).items()}
    unknown = []
    for constant in constants:
        stored = constant.read().astype(np.float16).reshape(-1)
        for joined in _JOINED:
            nodes = [_nodes_of(part, values) for part in np.array_split(stored, joined)]
            if all(nodes):
                found = found.union(*nodes)
                break
        else:
            unknown.append(constant.name)
    return found, unknown


_JOINED = (1, 2, 4)  # one tensor; both directions of a layer, or both biases; both of both


def _nodes_of(part: Array, values: Mapping[fx.Node, Array]) -> list[fx.Node]:
    due = np.sort(part)
    return [node for node, value in values.items() if np.array_equal(value, due)]


def constant_values(module: torch.nn.Module, sizes: set[int]) -> dict[fx.Node, Array]:
    """The sorted values of each node of a wanted size that depends on no input."""
    return _ConstantValues(module, sizes).found


class _ConstantValues(fx.Interpreter):
    def __init__(self, module: torch.nn.Module, sizes: set[int]) -> None:
        super().__init__(module)
        self.found: dict[fx.Node, Array] = {}
        with torch.no_grad():
            for node in constant_nodes(module):
                self.env[node] = value = self.run_node(node)
                if isinstance(value, Tensor) and value.is_floating_point() and value.numel() in sizes:
                    self.found[node] = np.sort(value.numpy(), axis=None)
