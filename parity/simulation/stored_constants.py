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
from modelparity.parity.simulation.places import HARDSIGMOID, Place, folded_bias
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


_ATEN = torch.ops.aten
# Whose arguments that are numbers a file may have as constants.
ARITHMETIC = (_ATEN.add, _ATEN.sub, _ATEN.rsub, _ATEN.mul, _ATEN.div, _ATEN.pow)
_SLACK = 2.0**-16  # of a bias that a norm was folded into, relative to the greatest
_SEVERAL = 3  # biases of a file: of so many, one that is wrong is not most, and so many are no one fault
_JOINED = (1, 2, 4)  # one tensor; both directions of a layer, or both biases; both of both


def _nodes_of(part: Array, values: Mapping[fx.Node, Array]) -> list[fx.Node]:
    due = np.sort(part)
    return [node for node, value in values.items() if np.array_equal(value, due)]


def cast_numbers(module: torch.nn.Module, constants: Sequence[Constant]) -> tuple[set[float], list[Constant]]:
    """The numbers that the program's nodes have as arguments and a file as constants in float16.

    Also the constants that are none of these.
    """
    nodes = [
        node
        for node in module.graph.nodes  # type: ignore[union-attr]
        if getattr(node.target, "overloadpacket", None) in ARITHMETIC
    ]
    numbers = {float(each) for node in nodes for each in node.args if isinstance(each, int | float)}
    found: set[float] = set()
    rest = []
    for constant in constants:
        alike = set()
        if math.prod(constant.shape) == 1:
            stored = constant.read().astype(np.float16).item()
            alike = {number for number in numbers if float(_to_half(number)) == stored}
        found |= alike
        rest += [] if alike else [constant]
    return found, rest


def _to_half(number: float) -> np.float16:
    with np.errstate(over="ignore"):
        return np.float16(number)


def moved_biases(module: torch.nn.Module, places: Sequence[Place]) -> str:
    """Says that most of a file's float biases, or three, are not the network's; "" if that does not hold.

    Quantizers move biases by the mean error that rounding makes on their calibration images (Nagel et al.,
    "Data-free quantization through weight equalization and bias correction", ICCV 2019). That cannot be told
    from wrong biases. A fault affects a few, and is judged.
    """
    kept = [place for place in places if place.layer.float_bias is not None]
    off = 0
    for place in kept:
        own, stored = folded_bias(module, place.fold), place.layer.float_bias
        assert stored is not None
        due = np.zeros(stored.size) if own is None else own.numpy()
        if place.end.target == HARDSIGMOID:
            due = due + 3  # relu6(x + 3) / 6
        alike = due.size == stored.size and np.abs(stored - due).max() <= _SLACK * np.abs(due).max()
        off += not alike
    if off < _SEVERAL and (len(kept) < _SEVERAL or 2 * off <= len(kept)):
        return ""
    return (
        f"the biases of {off} of {len(kept)} layers are not the network's: a quantizer may have corrected "
        "them for what rounding does on its calibration images, which is not known"
    )


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
