"""Finds where the exported program multiplies by weights, or reads a table of them, and in which layout.

A weight is any value that depends on no input: a parameter, its transpose, or one that the program computes
from parameters. Files keep it in a layout of their own. Here and in `modelparity.parity.simulation.layers`,
all have one: [out, in, ...] of matrices and kernels, with the batch axis of a stack of matrices in front;
[in, out / groups, ...] of transposed kernels; [rows, width] of tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from modelparity.parity.simulation.file_layers import SUM, TABLE, TRANSPOSED

_ATEN = torch.ops.aten
LINEAR = _ATEN.linear.default
_CONVOLUTIONS = (_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv3d.default)
_TRANSPOSED = (
    _ATEN.conv_transpose1d.default,
    _ATEN.conv_transpose2d.input,
    _ATEN.conv_transpose3d.input,
)
_GROUPS = 6  # the argument of a convolution; of a transposed one, the paddings of its output are before it

Path = tuple[int, ...]  # of an argument: its position, and that in a list


@dataclass(frozen=True, eq=False)
class Product:
    """A node that multiplies by a weight, or reads a table.

    Attributes:
        family: SUM, TRANSPOSED or TABLE: which layers of a file it may be.
        read: Where among its arguments what it multiplies is.
        weight: Where its weight is.
        bias: Where its bias is, or may be; None if it takes none.
        axes: The axes of the argument in the common layout's order.
        own_shape: The weight's, as the argument.
        shape: The weight's, in the common layout.
        channels: The axes of what it reads over which it sums.
        groups: Of a convolution.
    """

    node: fx.Node
    family: str
    read: Path
    weight: Path
    bias: int | None
    axes: tuple[int, ...]
    own_shape: tuple[int, ...]
    shape: tuple[int, ...]
    channels: tuple[int, ...]
    groups: int = 1

    def common(self, weight: Tensor) -> Tensor:
        """The weight, from the argument's layout to the common one."""
        return weight.permute(self.axes).reshape(self.shape)

    def as_argument(self, weight: Tensor) -> Tensor:
        """And back."""
        permuted = weight.reshape([self.own_shape[axis] for axis in self.axes])
        return permuted.permute([self.axes.index(axis) for axis in range(len(self.axes))])

    def node_of(self, path: Path) -> fx.Node:
        found: Any = self.node.args
        for position in path:
            found = found[position]
        assert isinstance(found, fx.Node)
        return found

    def bias_node(self) -> fx.Node | None:
        """The node that gives its bias."""
        if self.bias is None or self.bias >= len(self.node.args):
            return None
        found = self.node.args[self.bias]
        return found if isinstance(found, fx.Node) else None

    def compute(
        self, arguments: Sequence[Any], keywords: Mapping[str, Any], value: Tensor, weight: Tensor
    ) -> Tensor:
        """Its result for another input and weight, the bias being that of the arguments."""
        changed = [list(each) if isinstance(each, list | tuple) else each for each in arguments]
        for path, new in ((self.read, value), (self.weight, weight)):
            inside = changed
            for position in path[:-1]:
                inside = inside[position]
            inside[path[-1]] = new
        if self.node.target == _ATEN.addmm.default:
            keywords = {**keywords, "beta": 1}  # the arguments' bias is what is added: `bias_factor` is in it
        result: Tensor = self.node.target(*changed, **keywords)  # type: ignore[operator]
        return result

    @property
    def bias_factor(self) -> float:
        """What its bias is multiplied by before it is added."""
        return float(self.node.kwargs.get("beta", 1))  # type: ignore[arg-type]

    @property
    def terms(self) -> int:
        """How many products it adds up for one number."""
        if self.family == TRANSPOSED:
            return self.shape[0] // self.groups * math.prod(self.shape[2:])
        return math.prod(self.shape[1:]) if self.node.target in _CONVOLUTIONS else self.shape[-1]

    @property
    def no_bias(self) -> Tensor | None:
        """What takes the place of its bias where none is added."""
        return torch.zeros(()) if self.node.target == _ATEN.addmm.default else None

    @property
    def outputs(self) -> int:
        """How many numbers the last axis of a matrix's product has, or how many channels a convolution's."""
        return self.shape[0] if self.node.target in _CONVOLUTIONS else self.shape[-2]

    def by_group(self, arguments: Sequence[Any]) -> Iterator[list[Any]]:
        """The arguments of a convolution for each of its groups."""
        for value in arguments[0].chunk(self.groups, dim=1):
            yield [value, *arguments[1:_GROUPS], 1, *arguments[_GROUPS + 1 :]]


def product(module: torch.nn.Module, node: fx.Node) -> Product | None:
    """What a node multiplies by a weight; None if it does not."""
    found = _FINDERS.get(node.target)
    return None if found is None else found(module, node)


def _linear(module: torch.nn.Module, node: fx.Node) -> Product | None:
    return _made(module, node, SUM, read=(0,), weight=(1,), bias=2, channels=(-1,))


def _convolution(module: torch.nn.Module, node: fx.Node) -> Product | None:
    groups = node.args[_GROUPS] if len(node.args) > _GROUPS else 1
    return _made(module, node, SUM, read=(0,), weight=(1,), bias=2, channels=(1,), groups=groups)


def _transposed(module: torch.nn.Module, node: fx.Node) -> Product | None:
    groups = node.args[_GROUPS] if len(node.args) > _GROUPS else 1
    return _made(module, node, TRANSPOSED, read=(0,), weight=(1,), bias=2, channels=(1,), groups=groups)


def _embedding(module: torch.nn.Module, node: fx.Node) -> Product | None:
    return _made(module, node, TABLE, read=(1,), weight=(0,), channels=())


def _matrices(read: int, bias: int | None = None) -> Callable[[torch.nn.Module, fx.Node], Product | None]:
    """Of products of two matrices, the second of which may be a weight."""

    def found(module: torch.nn.Module, node: fx.Node) -> Product | None:
        weight = parameter(module, node.args[read + 1])
        if weight is None or weight.dim() < 2:
            return None
        *stack, rows, columns = range(weight.dim())
        axes = (*stack, columns, rows)
        return _made(
            module, node, SUM, read=(read,), weight=(read + 1,), bias=bias, channels=(-1,), axes=axes
        )

    return found


def _einsum(module: torch.nn.Module, node: fx.Node) -> Product | None:
    equation, operands = str(node.args[0]).replace(" ", ""), node.args[1]
    if not isinstance(operands, list | tuple) or len(operands) != 2 or "." in equation:
        return None
    terms, _, result = equation.partition("->")
    labels = terms.split(",")
    constant = [parameter(module, operand) is not None for operand in operands]
    if constant not in ([True, False], [False, True]) or not result:
        return None
    at = constant.index(True)
    own, other = labels[at], labels[1 - at]
    stack = [label for label in own if label in other and label in result]
    free = [label for label in own if label not in other]
    summed = [label for label in own if label in other and label not in result]
    if not free or not summed or not {*free} <= {*result} or len({*own}) < len(own):
        return None
    axes = tuple(own.index(label) for label in (*stack, *free, *summed))
    made = _made(
        module,
        node,
        SUM,
        read=(1, 1 - at),
        weight=(1, at),
        channels=tuple(other.index(label) for label in summed),
        axes=axes,
    )
    if made is None:
        return None
    sizes = dict(zip(own, made.own_shape, strict=True))
    shape = [math.prod(sizes[label] for label in part) for part in (stack, free, summed)]
    return replace(made, shape=tuple(shape if stack else shape[1:]))


def _made(
    module: torch.nn.Module,
    node: fx.Node,
    family: str,
    *,
    read: Path,
    weight: Path,
    channels: tuple[int, ...],
    bias: int | None = None,
    axes: tuple[int, ...] | None = None,
    groups: Any = 1,
) -> Product | None:
    found: Any = node.args
    for position in weight:
        found = found[position]
    value = parameter(module, found)
    if value is None or not value.is_floating_point():
        return None
    own = tuple(value.shape)
    axes = axes or tuple(range(value.dim()))
    made = Product(
        node,
        family,
        read,
        weight,
        bias,
        axes,
        own,
        tuple(own[axis] for axis in axes),
        channels,
        groups if isinstance(groups, int) else 1,
    )
    while len(made.shape) > 2 and made.shape[0] == 1 and axes != tuple(range(len(axes))):
        made = replace(made, shape=made.shape[1:])  # a stack of one matrix
    return made


_FINDERS: Mapping[Any, Callable[[torch.nn.Module, fx.Node], Product | None]] = {
    LINEAR: _linear,
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys(_TRANSPOSED, _transposed),
    _ATEN.embedding.default: _embedding,
    _ATEN.addmm.default: _matrices(1, bias=0),
    **dict.fromkeys((_ATEN.mm.default, _ATEN.matmul.default, _ATEN.bmm.default), _matrices(0)),
    _ATEN.einsum.default: _einsum,
}


# --- values that depend on no input ---------------------------------------------------------------


def remembered(module: torch.nn.Module) -> dict[str, Any]:
    """What is known of a program, by name, kept as long as the program is.

    It is kept in the program: its nodes hold it, so that in a table of programs it would keep its own key.
    """
    known: dict[str, Any] = vars(module).setdefault("_remembered", {})
    return known


def constant_nodes(module: torch.nn.Module) -> Mapping[fx.Node, None]:
    """The nodes that depend on no input, in computing order."""
    known = remembered(module)
    if "constant nodes" not in known:
        found: dict[fx.Node, None] = {}
        for node in module.graph.nodes:  # type: ignore[union-attr]
            computed = node.op in ("call_function", "call_method") and node.all_input_nodes
            if node.op == "get_attr" or (computed and all(each in found for each in node.all_input_nodes)):
                found[node] = None
        known["constant nodes"] = found
    nodes: Mapping[fx.Node, None] = known["constant nodes"]
    return nodes


def parameter(module: torch.nn.Module, node: Any) -> Tensor | None:
    """The value of a node that depends on no input, in float64; None of any other."""
    known = isinstance(node, fx.Node) and node in constant_nodes(module)
    return _tensor(module, node) if known else None


def depends_on_input(node: fx.Node) -> bool:
    """Whether its values differ from input to input; how many they are may depend on the batch."""
    pending, seen = [node], set()
    while pending:
        each = pending.pop()
        if each.op == "placeholder":
            return True
        if each not in seen and each.target != _ATEN.sym_size.int:
            seen.add(each)
            pending += each.all_input_nodes
    return False


def of_one_image(module: torch.nn.Module, node: Any) -> Tensor | None:
    """The value of a node that depends on no input, in float64 and for a batch of 1; None of any other."""
    known = isinstance(node, fx.Node) and not depends_on_input(node)
    return _tensor(module, node) if known else None


def _tensor(module: torch.nn.Module, node: fx.Node) -> Tensor | None:
    value = _value(module, node)
    return value.detach() if isinstance(value, Tensor) else None


def _value(module: torch.nn.Module, node: Any) -> Any:
    if node.target == _ATEN.sym_size.int:
        return 1
    if node.op == "get_attr":
        value: Any = module
        for name in str(node.target).split("."):
            value = getattr(value, name)
        is_float = isinstance(value, Tensor) and value.is_floating_point()
        return value.double() if is_float else value
    arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda each: _value(module, each))
    arguments, keywords = tree_map(
        lambda each: torch.float64 if each is torch.float32 else each, (arguments, dict(keywords))
    )
    with torch.no_grad():
        if node.op == "call_method":
            return getattr(arguments[0], node.target)(*arguments[1:], **keywords)
        return node.target(*arguments, **keywords)


def rows_alike(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], alike: float) -> bool:
    """Whether half of the rows of one weight are rows of another one, in whatever order.

    Of up to 32 rows and 128 columns: the weight with some rows changed, or in another order.
    """
    if one.shape != other.shape or one.ndim < 2:
        return False
    mine, theirs = one.reshape(len(one), -1), other.reshape(len(other), -1)
    columns = slice(None, None, max(1, mine.shape[1] // 128))
    mine, theirs = mine[:: max(1, len(mine) // 32), columns], theirs[:, columns]
    if mine.shape[1] < 8:
        return False
    near = [float(np.square(theirs - row).mean(axis=1).min()) for row in mine]
    return float(np.mean(np.sqrt(near) <= alike * np.sqrt(np.square(mine).mean(axis=1)))) >= 0.5


def parts(found: Product) -> Iterator[tuple[int, int]]:
    """The groups of a convolution, which a file may compute one by one: their places and number.

    Both formats have depthwise convolutions, but one of them has no transposed one with groups.
    """
    depthwise = found.family != TRANSPOSED and found.shape[1] == 1
    if found.groups > 1 and not depthwise:
        yield from ((place, found.groups) for place in range(found.groups))
