"""The functions that stand for a network's non-linear ones where its structure is compared with a file's.

Two graphs may agree on all photographs and still differ: behind a ReLU that no photograph wakes, or in a
branch that acts on one rare pattern only. So both are computed with other non-linear functions. None of them
is ever 0 or constant over a range, so that what a function reads always counts. Linear operators and weights
are left as they are. Two graphs that agree to float32's error then have the same numbers in the same
places, for random inputs (the argument of polynomial identity testing: R. Zippel, "Probabilistic algorithms
for sparse polynomials", EUROSAM 1979; J. T. Schwartz, J. ACM 27(4), 1980).

Exporters write one function in several ways, so that the substitutes keep the identities between them. A
truth value is `1 - LEAK` for true and `LEAK` for false. A choice is a weighted mean by it, from which follow
the greater of two numbers, ReLU, clipping, and so on. The error function, tanh and the logistic function are
a part of themselves, 1 - LEAK; the exponential function has LEAK added. GELU and softmax follow from these.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAK = 1 / math.pi**2  # about 0.1; not a short fraction, so that sums of such parts are seldom alike
NO_BOUND = float(
    torch.finfo(torch.float16).max
)  # what clips there or beyond only keeps float16 from infinity
_LOG_LEAK, _LOG_REST = math.log1p(LEAK), math.log1p(-LEAK)
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def truth(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Of truth values, the numbers that stand for them."""
    return LEAK + (1 - 2 * LEAK) * value.to(dtype)


def choice(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """`condition` has numbers that stand for truth values."""
    return condition * one + (1 - condition) * other


def greatest(one: Tensor, other: Tensor) -> Tensor:
    return (1 - LEAK) * torch.maximum(one, other) + LEAK * torch.minimum(one, other)


def least(one: Tensor, other: Tensor) -> Tensor:
    return (1 - LEAK) * torch.minimum(one, other) + LEAK * torch.maximum(one, other)


def relu(value: Tensor) -> Tensor:
    return clip(value, 0.0, None)


def clip(value: Tensor, low: Tensor | float | None, high: Tensor | float | None) -> Tensor:
    """Bounds that only keep a number finite do not count."""
    for bound, nearer in ((low, greatest), (high, least)):
        if bound is not None:
            each = torch.as_tensor(bound, dtype=value.dtype)
            value = torch.where(each.abs() < NO_BOUND, nearer(value, each), value)
    return value


def leaky_relu(value: Tensor, slope: Tensor | float) -> Tensor:
    return choice(truth(value > 0, value.dtype), value, slope * value)


def hard_sigmoid(value: Tensor, alpha: float = 1 / 6, beta: float = 0.5) -> Tensor:
    return clip(alpha * value + beta, 0.0, 1.0)


def hard_swish(value: Tensor) -> Tensor:
    return value * hard_sigmoid(value)


def erf(value: Tensor) -> Tensor:
    return (1 - LEAK) * torch.erf(value)


def tanh(value: Tensor) -> Tensor:
    return (1 - LEAK) * torch.tanh(value)


def sigmoid(value: Tensor) -> Tensor:
    return (1 - LEAK) * torch.sigmoid(value) + LEAK / 2


def exp(value: Tensor) -> Tensor:
    return (1 - LEAK) * torch.exp(value) + LEAK


def sqrt(value: Tensor) -> Tensor:
    """Of negative numbers, too, which a substitute of ReLU may give."""
    return value.abs().sqrt()


def rsqrt(value: Tensor) -> Tensor:
    return value.abs().rsqrt()


def log(value: Tensor) -> Tensor:
    return value.abs().log()


def softmax(value: Tensor, axis: int) -> Tensor:
    parts = exp(value - value.amax(axis, keepdim=True))
    return parts / parts.sum(axis, keepdim=True)


def log_softmax(value: Tensor, axis: int) -> Tensor:
    return softmax(value, axis).log()


def softplus(value: Tensor, beta: float = 1.0) -> Tensor:
    """log(1 + exp(x)), with that exponential function."""
    return torch.logaddexp(torch.full_like(value, _LOG_LEAK), beta * value + _LOG_REST) / beta


def gelu(value: Tensor, tanh_form: bool = False) -> Tensor:
    if tanh_form:
        return value / 2 * (1 + tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))
    return value / 2 * (1 + erf(value / math.sqrt(2)))


def silu(value: Tensor, factor: float = 1.0) -> Tensor:
    return value * sigmoid(factor * value)


def mish(value: Tensor) -> Tensor:
    return value * tanh(softplus(value))


def elu(value: Tensor, alpha: float = 1.0) -> Tensor:
    below = alpha * (exp(value.clamp(max=0)) - 1)
    return choice(truth(value > 0, value.dtype), value, below)


def selu(value: Tensor) -> Tensor:
    return _SELU_SCALE * elu(value, _SELU_ALPHA)


def celu(value: Tensor, alpha: float = 1.0) -> Tensor:
    return alpha * elu(value / alpha)


def whole(value: Tensor, nearest: Tensor) -> Tensor:
    """A rounded number with a part of what rounding takes away, from which it can be rounded again."""
    return nearest + LEAK * (value - nearest)


def sign(value: Tensor) -> Tensor:
    return (1 - 2 * LEAK) * torch.sign(value)


def log_sigmoid(value: Tensor) -> Tensor:
    return -softplus(-value)


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool, scale: float | None
) -> Tensor:
    """softmax(query key^T scale + mask) value, by the substitute of softmax."""
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return softmax(scores, -1) @ value


def glu(value: Tensor, axis: int = -1) -> Tensor:
    kept, gate = value.chunk(2, axis)
    return kept * sigmoid(gate)


def threshold(value: Tensor, bound: float, other: float) -> Tensor:
    return choice(truth(value > bound, value.dtype), value, torch.full_like(value, other))
