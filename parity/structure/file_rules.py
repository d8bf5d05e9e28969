"""The substitutes for a file's non-linear functions, by the names that operators have in files.

The rules are those of the program (`modelparity.parity.structure.program_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.graph import Operator
from modelparity.parity.structure import substitutes as by
from modelparity.parity.structure.program_rules import beyond, chosen, hardened


class Run(Protocol):
    """What a rule asks of the run that it is part of (`modelparity.parity.structure.file.Substituted`)."""

    masks: bool

    @property
    def follows(self) -> AbstractSet[Operator]: ...

    def plainly(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        """What the operator's own kernel gives."""


class Parts(np.ndarray[Any, Any]):
    """Numbers that stand for truth values or integers, of type `meant`."""

    meant: torch.dtype = torch.bool


def parts(value: Tensor, meant: torch.dtype) -> Array:
    found: Parts = np.ascontiguousarray(value.numpy()).astype(np.float32).reshape(value.shape).view(Parts)
    found.meant = meant
    return found


def hard(value: Array) -> Array:
    return hardened(tensor(value), value.meant).numpy() if isinstance(value, Parts) else value


def tensor(value: Array) -> Tensor:
    return torch.from_numpy(np.array(value, order="C", subok=False))


Rule = Callable[[Run, Operator, Sequence[Array | None]], Array | None]
ORT = "com.microsoft."


def _is_float(value: Array | None) -> bool:
    return value is not None and np.issubdtype(value.dtype, np.floating)


def _of(function: Callable[..., Tensor], **attributes: Any) -> Rule:
    """A function of the first input and of attributes, of which the defaults are given; not of integers."""

    def rule(_: Run, operator: Operator, values: Sequence[Array | None]) -> Array | None:
        if values[0] is None or not _is_float(values[0]) or isinstance(values[0], Parts):
            return None
        given = [operator.attributes.get(name, default) for name, default in attributes.items()]
        return function(tensor(values[0]), *given).numpy()

    return rule


def _several(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    def rule(_: Run, __: Operator, values: Sequence[Array | None]) -> Array | None:
        given = [value for value in values if value is not None]
        if not _is_float(given[0]) or any(isinstance(value, Parts) for value in given):
            return None
        result, *rest = map(tensor, given)
        for each in rest:
            result = function(result, each)
        return result.numpy()

    return rule


def _clip(_: Run, operator: Operator, values: Sequence[Array | None]) -> Array | None:
    value, *bounds = values
    if value is None or not _is_float(value) or isinstance(value, Parts):
        return None
    ends = [None if bound is None or not bound.size else tensor(bound) for bound in (*bounds, None, None)[:2]]
    old = [operator.attributes.get(name) for name in ("min", "max")]  # before opset 11
    low, high = (one if one is not None else other for one, other in zip(ends, old, strict=True))
    return by.clip(tensor(value), low, high).numpy()


def _slope(_: Run, __: Operator, values: Sequence[Array | None]) -> Array | None:
    value, slope = values
    assert value is not None
    assert slope is not None
    return by.leaky_relu(tensor(value), tensor(slope)).numpy()


def _compared(function: Callable[..., Tensor]) -> Rule:
    def rule(_: Run, __: Operator, values: Sequence[Array | None]) -> Array | None:
        one, other = (tensor(value) for value in values if value is not None)
        return parts(by.truth(function(one, other), torch.float32), torch.bool)

    return rule


def _logical(function: Callable[..., Tensor]) -> Rule:
    def rule(_: Run, __: Operator, values: Sequence[Array | None]) -> Array | None:
        given = [_truth(value) for value in values if value is not None]
        return parts(function(*given), torch.bool)

    return rule


def _truth(value: Array) -> Tensor:
    return tensor(value) if isinstance(value, Parts) else by.truth(tensor(value), torch.float32)


def _chosen(run: Run, operator: Operator, values: Sequence[Array | None]) -> Array | None:
    condition, one, other = values
    assert condition is not None
    assert one is not None
    assert other is not None
    edge = operator.inputs[0]
    known = edge is None or edge.source not in run.follows
    meant = next((value.meant for value in (one, other) if isinstance(value, Parts)), None)
    if meant is None and not _is_float(one):
        meant = tensor(one).dtype
    if known and meant is None:
        return None
    first, second = tensor(one).float(), tensor(other).float()
    if known:
        result = torch.where(tensor(condition), first, second)
    else:
        masks = run.masks and (beyond(first) or beyond(second))
        result = chosen(_truth(condition), first, second, masks=masks)
    return result.numpy() if meant is None else parts(result, meant)


def _cast(run: Run, operator: Operator, values: Sequence[Array | None]) -> Array | None:
    value = values[0]
    assert value is not None
    if not isinstance(value, Parts) and not _is_float(value):
        return None
    plain = run.plainly(operator, [hard(value)])[0]
    if _is_float(plain):
        return np.asarray(value) if isinstance(value, Parts) else None
    given, target = tensor(value), tensor(plain).dtype
    if isinstance(value, Parts):
        return parts(given, target)
    if target == torch.bool:
        return parts(by.truth(given != 0, torch.float32), target)
    return parts(by.whole(given, given.trunc()), target)


def _rounded(function: Callable[[Tensor], Tensor]) -> Rule:
    return _of(lambda value: by.whole(value, function(value)))


def _softmax(function: Callable[..., Tensor]) -> Rule:
    def rule(_: Run, operator: Operator, values: Sequence[Array | None]) -> Array | None:
        assert values[0] is not None
        value = tensor(values[0]) * operator.attributes.get("beta", 1.0)
        return function(value, operator.attributes.get("axis", -1)).numpy()

    return rule


def _gelu(_: Run, operator: Operator, values: Sequence[Array | None]) -> Array | None:
    assert values[0] is not None
    form = operator.attributes.get("approximate", False)
    return by.gelu(tensor(values[0]), form is True or form in (b"tanh", "tanh")).numpy()


def _biased_gelu(tanh_form: bool) -> Rule:
    def rule(_: Run, __: Operator, values: Sequence[Array | None]) -> Array | None:
        value = sum(tensor(each) for each in values if each is not None)
        assert isinstance(value, Tensor)
        return by.gelu(value, tanh_form).numpy()

    return rule


def _either(one: Tensor, other: Tensor) -> Tensor:
    return one + other - one * other


# What gives truth values or integers, or chooses by them.
DISCRETE: Mapping[str, Rule] = {
    **dict.fromkeys(("Sign", "SIGN"), _of(by.sign)),
    **dict.fromkeys(("Floor", "FLOOR"), _rounded(torch.floor)),
    **dict.fromkeys(("Ceil", "CEIL"), _rounded(torch.ceil)),
    **dict.fromkeys(("Round", "ROUND"), _rounded(torch.round)),
    **dict.fromkeys(("Greater", "GREATER"), _compared(torch.gt)),
    **dict.fromkeys(("GreaterOrEqual", "GREATER_EQUAL"), _compared(torch.ge)),
    **dict.fromkeys(("Less", "LESS"), _compared(torch.lt)),
    **dict.fromkeys(("LessOrEqual", "LESS_EQUAL"), _compared(torch.le)),
    **dict.fromkeys(("Equal", "EQUAL"), _compared(torch.eq)),
    "NOT_EQUAL": _compared(torch.ne),
    **dict.fromkeys(("And", "LOGICAL_AND"), _logical(torch.mul)),
    **dict.fromkeys(("Or", "LOGICAL_OR"), _logical(_either)),
    **dict.fromkeys(("Not", "LOGICAL_NOT"), _logical(lambda value: 1 - value)),
    **dict.fromkeys(("Where", "SELECT", "SELECT_V2"), _chosen),
    **dict.fromkeys(("Cast", "CAST"), _cast),
}
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Relu", "RELU"), _of(by.relu)),
    "RELU6": _of(lambda value: by.clip(value, 0.0, 6.0)),
    "RELU_N1_TO_1": _of(lambda value: by.clip(value, -1.0, 1.0)),
    "RELU_0_TO_1": _of(lambda value: by.clip(value, 0.0, 1.0)),
    "Clip": _clip,
    **dict.fromkeys(("Max", "MAXIMUM"), _several(by.greatest)),
    **dict.fromkeys(("Min", "MINIMUM"), _several(by.least)),
    **dict.fromkeys(("LeakyRelu", "LEAKY_RELU"), _of(by.leaky_relu, alpha=0.01)),
    **dict.fromkeys(("PRelu", "PRELU"), _slope),
    **dict.fromkeys(("HardSwish", "HARD_SWISH"), _of(by.hard_swish)),
    "HardSigmoid": _of(by.hard_sigmoid, alpha=0.2, beta=0.5),
    "ThresholdedRelu": _of(lambda value, bound: by.threshold(value, bound, 0.0), alpha=1.0),
    **dict.fromkeys(("Gelu", "GELU", f"{ORT}Gelu"), _gelu),
    f"{ORT}BiasGelu": _biased_gelu(False),
    f"{ORT}FastGelu": _biased_gelu(True),
    f"{ORT}QuickGelu": _of(by.silu, alpha=1.702),
    "Swish": _of(by.silu, alpha=1.0),
    "Erf": _of(by.erf),
    **dict.fromkeys(("Tanh", "TANH"), _of(by.tanh)),
    **dict.fromkeys(("Sigmoid", "LOGISTIC"), _of(by.sigmoid)),
    **dict.fromkeys(("Exp", "EXP"), _of(by.exp)),
    **dict.fromkeys(("Sqrt", "SQRT"), _of(by.sqrt)),
    "RSQRT": _of(by.rsqrt),
    **dict.fromkeys(("Log", "LOG"), _of(by.log)),
    **dict.fromkeys(("Softmax", "SOFTMAX"), _softmax(by.softmax)),
    **dict.fromkeys(("LogSoftmax", "LOG_SOFTMAX"), _softmax(by.log_softmax)),
    "Softplus": _of(by.softplus),
    "Mish": _of(by.mish),
    "Elu": _of(by.elu, alpha=1.0),
    "ELU": _of(by.elu),
    "Selu": _of(by.selu),
    "Celu": _of(by.celu, alpha=1.0),
    **DISCRETE,
}
# What moves, adds or multiplies numbers, whatever they stand for.
PASSES = {
    *("Add", "Sub", "Mul", "Neg", "MatMul", "ReduceSum", "ReduceMean", "ReduceMin", "ReduceMax"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile", "Identity", "Slice"),
    *("Concat", "Split", "Pad"),
    *("ADD", "SUB", "MUL", "NEG", "BATCH_MATMUL", "SUM", "MEAN", "REDUCE_MIN", "REDUCE_MAX", "RESHAPE"),
    *("TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "BROADCAST_TO", "TILE", "SLICE", "STRIDED_SLICE"),
    *("CONCATENATION", "PACK", "UNPACK", "SPLIT", "PAD", "PADV2"),
}
# What selects from its first input by whole numbers.
INDEXES = {"Gather", "GatherElements", "GatherND", "GATHER", "GATHER_ND"}
ORDERS = {
    "TopK",
    "ArgMax",
    "ArgMin",
    "NonZero",
    "NonMaxSuppression",
    "TOPK_V2",
    "ARG_MAX",
    "ARG_MIN",
    "WHERE",
}
# What is linear in each of its inputs, computed as it is.
LINEAR = {
    *("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Mul", "Neg", "BatchNormalization"),
    *(
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "TRANSPOSE_CONV",
        "FULLY_CONNECTED",
        "BATCH_MATMUL",
        "ADD",
        "SUB",
        "MUL",
    ),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Concat", "Slice"),
    *("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "PAD", "CONCATENATION", "SLICE", "STRIDED_SLICE"),
}
