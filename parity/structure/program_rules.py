"""The substitutes for the exported program's non-linear functions, by its operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from modelparity.parity.structure import substitutes as by

_ATEN = torch.ops.aten


class Run(Protocol):
    """What a rule asks of the run that it is part of (`modelparity.parity.structure.program.Substituted`).

    Attributes:
        masks: A choice had an infinite number, or one beyond float16's, on one of its sides.
        follows: The nodes whose values depend on those of an input.
        parts: The nodes whose numbers stand for truth values or integers.
    """

    masks: bool
    parts: set[fx.Node]

    @property
    def follows(self) -> AbstractSet[fx.Node]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def stands(self, n: fx.Node, value: Tensor) -> Tensor:
        """Notes that a node's numbers stand for truth values or integers."""

    def is_real(self, node: Any) -> bool:
        """Whether an argument is a number or tensor of floats, or stands for truth values or integers."""


def hardened(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The truth values or integers that numbers stand for."""
    return value > 0.5 if dtype == torch.bool else value.round().to(dtype)


def is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


Rule = Callable[[Run, fx.Node, Sequence[Any], dict[str, Any]], Tensor | None]


def _of(function: Callable[..., Tensor], *names: str) -> Rule:
    """A function of the first argument, and of others by position or by name; not of integers."""

    def rule(_: Run, __: fx.Node, arguments: Sequence[Any], keywords: dict[str, Any]) -> Tensor | None:
        if not is_float(arguments[0]):
            return None
        rest = [*arguments[1:], *(keywords[name] for name in names[len(arguments) - 1 :] if name in keywords)]
        return function(arguments[0], *rest)

    return rule


def _pair(function: Callable[..., Tensor]) -> Rule:
    def rule(run: Run, _: fx.Node, arguments: Sequence[Any], __: dict[str, Any]) -> Tensor | None:
        if not any(is_float(each) for each in arguments[:2]):
            return None
        one, other = (torch.as_tensor(each, dtype=run.dtype) for each in arguments[:2])
        return function(one, other)

    return rule


def _compared(function: Callable[..., Tensor]) -> Rule:
    def rule(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor:
        return run.stands(n, by.truth(function(*arguments[:2]), run.dtype))

    return rule


def _logical(function: Callable[..., Tensor]) -> Rule:
    """Of truth values; of whole numbers, bits are meant."""

    def rule(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor | None:
        values = []
        for each, node in zip(arguments, n.args, strict=False):
            if run.is_real(node) and isinstance(each, Tensor):
                values.append(each)
            elif isinstance(each, Tensor) and each.dtype == torch.bool:
                values.append(by.truth(each, run.dtype))
            else:
                return None
        return run.stands(n, function(*values))

    return rule


def _chosen(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor | None:
    condition, *sides = arguments
    return _choice(run, n, condition, sides)


def _filled(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor | None:
    value, condition, other = arguments
    return _choice(run, n, condition, (other, value))


def _choice(run: Run, n: fx.Node, condition: Tensor, sides: Sequence[Any]) -> Tensor | None:
    one, other = (torch.as_tensor(side, dtype=run.dtype) for side in sides)
    value = n.meta.get("val")
    if isinstance(value, Tensor) and not value.dtype.is_floating_point:
        run.stands(n, condition)
    if not condition.is_floating_point():
        at = n.args[1] if n.target in _FILLS else n.args[0]
        if at not in run.follows:
            return torch.where(condition, one, other)
        condition = by.truth(condition, run.dtype)
    run.masks = run.masks or beyond(one) or beyond(other)
    return chosen(condition, one, other, run.masks)


def beyond(value: Tensor) -> bool:
    """Whether a number is greater than any of float16, as what masks scores is."""
    return bool((value.abs() >= by.NO_BOUND).any())


def chosen(condition: Tensor, one: Tensor, other: Tensor, masks: bool) -> Tensor:
    """By parts, but as it is where one side masks the other one."""
    mixed = by.choice(condition, one, other)
    if not masks:
        return mixed
    hides = (one.abs() >= by.NO_BOUND) | (other.abs() >= by.NO_BOUND)
    return torch.where(hides, torch.where(condition > 0.5, one, other), mixed)


def _cast(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor | None:
    value, target = arguments[0], n.meta["val"].dtype
    stood = n.args[0] in run.parts
    if target.is_floating_point:
        return value.to(run.dtype) if stood else None
    if not value.is_floating_point():
        return None
    if stood:
        return run.stands(n, value.clone())
    if target == torch.bool:
        return run.stands(n, by.truth(value != 0, run.dtype))
    return run.stands(n, by.whole(value, value.trunc()))


def _rounded(function: Callable[[Tensor], Tensor]) -> Rule:
    def rule(_: Run, __: fx.Node, arguments: Sequence[Any], ___: dict[str, Any]) -> Tensor | None:
        return by.whole(arguments[0], function(arguments[0])) if is_float(arguments[0]) else None

    return rule


def _all(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor | None:
    return _reduced(run, n, arguments, torch.amin)


def _any(run: Run, n: fx.Node, arguments: Sequence[Any], _: dict[str, Any]) -> Tensor | None:
    return _reduced(run, n, arguments, torch.amax)


def _reduced(
    run: Run, n: fx.Node, arguments: Sequence[Any], function: Callable[..., Tensor]
) -> Tensor | None:
    value, *rest = arguments
    if not value.is_floating_point():
        return None
    axes = rest[0] if rest else tuple(range(value.dim()))
    return run.stands(n, function(value, axes, bool(rest[1]) if len(rest) > 1 else False))


def _gelu(_: Run, __: fx.Node, arguments: Sequence[Any], keywords: dict[str, Any]) -> Tensor:
    form = arguments[1] if len(arguments) > 1 else keywords.get("approximate", "none")
    return by.gelu(arguments[0], form == "tanh")


def _attention(_: Run, __: fx.Node, arguments: Sequence[Any], keywords: dict[str, Any]) -> Tensor | None:
    query, key, value, *rest = arguments
    mask = rest[0] if rest else keywords.get("attn_mask")
    causal = rest[2] if len(rest) > 2 else keywords.get("is_causal", False)
    return by.attention(query, key, value, mask, causal=causal, scale=keywords.get("scale"))


def _prelu(_: Run, __: fx.Node, arguments: Sequence[Any], ___: dict[str, Any]) -> Tensor:
    value, slope = arguments
    if slope.numel() > 1:
        slope = slope.reshape(-1, *[1] * (value.dim() - 2))
    return by.leaky_relu(value, slope)


def _overloads(rule: Rule, *names: str) -> dict[Any, Rule]:
    """A rule for operators by name, in all of their overloads, in place or not."""
    found: dict[Any, Rule] = {}
    for name in names:
        for each in (name, f"{name}_"):
            packet = getattr(_ATEN, each, None)
            if packet is not None:
                found |= {getattr(packet, overload): rule for overload in packet.overloads()}
    return found


def _targets(*names: str) -> set[Any]:
    return {*_overloads(_all, *names)}


# What gives truth values or integers, or chooses by them.
DISCRETE: Mapping[Any, Rule] = {
    **_overloads(_of(by.sign), "sign"),
    **_overloads(_rounded(torch.floor), "floor"),
    **_overloads(_rounded(torch.ceil), "ceil"),
    **_overloads(_rounded(torch.round), "round"),
    **_overloads(_rounded(torch.trunc), "trunc"),
    **_overloads(_compared(torch.gt), "gt"),
    **_overloads(_compared(torch.ge), "ge"),
    **_overloads(_compared(torch.lt), "lt"),
    **_overloads(_compared(torch.le), "le"),
    **_overloads(_compared(torch.eq), "eq"),
    **_overloads(_compared(torch.ne), "ne"),
    **_overloads(_logical(torch.mul), "logical_and", "bitwise_and", "__and__"),
    **_overloads(
        _logical(lambda one, other: one + other - one * other), "logical_or", "bitwise_or", "__or__"
    ),
    **_overloads(_logical(lambda value: 1 - value), "logical_not", "bitwise_not"),
    **_overloads(_chosen, "where"),
    **_overloads(_filled, "masked_fill"),
    **_overloads(_cast, "to", "_to_copy"),
    **_overloads(_all, "all"),
    **_overloads(_any, "any"),
}
RULES: Mapping[Any, Rule] = {
    **_overloads(_of(by.relu), "relu"),
    **_overloads(_of(lambda value: by.clip(value, 0.0, 6.0)), "relu6"),
    **_overloads(
        _of(lambda value, low=-1.0, high=1.0: by.clip(value, low, high), "min_val", "max_val"), "hardtanh"
    ),
    **_overloads(_of(lambda value, low=None, high=None: by.clip(value, low, high)), "clamp", "clip"),
    **_overloads(_of(lambda value, low: by.clip(value, low, None)), "clamp_min"),
    **_overloads(_of(lambda value, high: by.clip(value, None, high)), "clamp_max"),
    **_overloads(_pair(by.greatest), "maximum"),
    **_overloads(_pair(by.least), "minimum"),
    **_overloads(_of(lambda value, slope=0.01: by.leaky_relu(value, slope)), "leaky_relu"),
    **_overloads(_of(by.leaky_relu), "_prelu_kernel"),
    **_overloads(_prelu, "prelu"),
    **_overloads(_of(by.hard_sigmoid), "hardsigmoid"),
    **_overloads(_of(by.hard_swish), "hardswish"),
    **_overloads(_of(by.erf), "erf"),
    **_overloads(_of(by.tanh), "tanh"),
    **_overloads(_of(by.sigmoid), "sigmoid"),
    **_overloads(_of(by.log_sigmoid), "log_sigmoid"),
    **_overloads(_of(by.exp), "exp"),
    **_overloads(_of(by.sqrt), "sqrt"),
    **_overloads(_of(by.rsqrt), "rsqrt"),
    **_overloads(_of(by.log), "log"),
    **_overloads(_of(lambda value, axis, *_: by.softmax(value, axis)), "softmax", "_softmax"),
    **_overloads(_of(lambda value, axis, *_: by.log_softmax(value, axis)), "log_softmax", "_log_softmax"),
    **_overloads(_of(lambda value, beta=1.0, *_: by.softplus(value, beta)), "softplus"),
    **_overloads(_of(by.silu), "silu"),
    **_overloads(_of(by.mish), "mish"),
    **_overloads(_of(by.elu), "elu"),
    **_overloads(_of(by.selu), "selu"),
    **_overloads(_of(by.celu), "celu"),
    **_overloads(_of(by.glu), "glu"),
    **_overloads(_of(by.threshold), "threshold"),
    **_overloads(_gelu, "gelu"),
    **_overloads(_attention, "scaled_dot_product_attention"),
    **DISCRETE,
}


_FILLS = {*_overloads(_filled, "masked_fill")}
# What selects from its first argument by whole numbers.
INDEXES = {*_overloads(_all, "gather", "index", "index_select")}
# What moves, adds or multiplies numbers, whatever they stand for.
PASSES = _targets(
    *("add", "sub", "mul", "rsub", "neg", "sum", "mean", "amin", "amax", "matmul", "bmm", "mm"),
    *("reshape", "view", "flatten", "unflatten", "permute", "transpose", "unsqueeze", "squeeze", "expand"),
    *(
        "repeat",
        "repeat_interleave",
        "clone",
        "contiguous",
        "slice",
        "select",
        "cat",
        "stack",
        "split",
        "pad",
    ),
    *("alias", "detach", "expand_as", "view_as", "flip", "constant_pad_nd", "narrow"),
)
ORDERS = {*_overloads(_all, "topk", "sort", "argsort", "argmax", "argmin", "nonzero", "kthvalue")}
