"""Mistakes in what a file gives: outputs exchanged, an activation missing, a factor, axes in another order.

A mistake explains a file only if the file would pass without it: the same claim, by the same bound, on the
file's outputs with the mistake undone, or against the right outputs with the mistake made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.parity.claims.basic import LEAST_SPREAD
from modelparity.parity.claims.kind_claims import parity
from modelparity.parity.output_kinds import ARRAYS
from modelparity.parity.reference import Reference

_MOST_OUTPUTS = 5  # whose orders are all tried
_MOST_AXES = 4
Images = Sequence[Array]  # one output, an array for each image


@dataclass(frozen=True)
class Mistake:
    """One that an output may have.

    Attributes:
        words: What is wrong, behind the output's name.
        undone: Makes the file's numbers right; or
        made: makes of the right numbers those that the file gives. It must not widen differences, so that the
            bound of the right numbers holds for them.
    """

    words: str
    undone: Callable[[Array], Array] | None = None
    made: Callable[[Array], Array] | None = None


def holds(reference: Reference, outputs: Sequence[Outputs]) -> bool:
    """Whether the outputs are right, by the claims that a file is held to, and those could have failed."""
    vary = all(reference.spread(name) >= LEAST_SPREAD * floor for name, floor in reference.floors.items())
    if not (vary or reference.rounded) or not _comparable(reference, outputs):
        return False
    claims = parity(reference, reference.paired(outputs))
    return bool(claims) and all(claim.passed for claim in claims)


def exchanged(reference: Reference, outputs: Sequence[Outputs]) -> str:
    """In which order the outputs come; "" if that does not explain the file."""
    names = tuple(reference.outputs)
    if not 1 < len(names) <= _MOST_OUTPUTS:
        return ""
    for order in permutations(names):
        taken = dict(zip(names, order, strict=True))
        moved = [name for name in names if taken[name] != name]
        if not moved or not _same_shapes(reference, outputs, taken):
            continue
        renamed = [{name: each[taken[name]] for name in names} for each in outputs]
        if holds(reference, renamed):
            if len(moved) == 2:
                return f"outputs {moved[0]} and {moved[1]} are exchanged"
            pairs = (f"{taken[name]} holds what {name} should" for name in moved)
            return f"outputs are in another order: {', '.join(pairs)}"
    return ""


def _comparable(reference: Reference, outputs: Sequence[Outputs]) -> bool:
    return _same_shapes(reference, outputs, {name: name for name in reference.outputs})


def _same_shapes(reference: Reference, outputs: Sequence[Outputs], taken: Mapping[str, str]) -> bool:
    return all(
        theirs in each and each[theirs].shape == reference.outputs[ours][index].shape
        for index, each in enumerate(outputs)
        for ours, theirs in taken.items()
    )


def of_single_outputs(reference: Reference, outputs: Sequence[Outputs]) -> str:
    """What is wrong with each output that is not right; "" if a mistake does not explain one of them."""
    if reference.kind is not ARRAYS or any(
        name not in each for each in outputs for name in reference.outputs
    ):
        return ""
    found: dict[str, list[str]] = {}
    for name in reference.outputs:
        only, given = _only(reference, name), [each[name] for each in outputs]
        if _right(only, name, given):
            continue
        words = next(
            (m.words for m in _mistakes(only.outputs[name], given) if _explains(m, only, name, given)), ""
        )
        if not words:
            return ""
        found.setdefault(words, []).append(name)
    return "; ".join(f"{_names(names)}: {words}" for words, names in found.items())


def _names(names: Sequence[str]) -> str:
    return f"{'output' if len(names) == 1 else 'outputs'} {', '.join(names)}"


def _only(reference: Reference, name: str) -> Reference:
    """The reference of one output alone."""
    return replace(
        reference,
        outputs={name: reference.outputs[name]},
        noise={name: reference.noise[name]},
        spreads={name: reference.spread(name)},
    )


def _right(reference: Reference, name: str, given: Images) -> bool:
    return holds(reference, [{name: one} for one in given])


def _explains(mistake: Mistake, reference: Reference, name: str, given: Images) -> bool:
    with np.errstate(all="ignore"):
        if mistake.undone is not None:
            given = [mistake.undone(one.astype(np.float64)) for one in given]
        if mistake.made is not None:
            due = tuple(mistake.made(one.astype(np.float64)) for one in reference.outputs[name])
            reference = replace(reference, outputs={name: due}, spreads={})
        return _right(reference, name, given)


def _mistakes(due: Images, given: Images) -> Iterator[Mistake]:
    """The mistakes to try, in order."""
    shapes = {(one.shape, other.shape) for one, other in zip(due, given, strict=True)}
    if all(one == other for one, other in shapes):
        yield from _activations(due)
        yield from _linear(due, given)
    yield from _layouts(due[0].shape, given[0].shape)


# --- the functions that networks end in -----------------------------------------------------------


def _sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


def _softmax(axis: int) -> Callable[[Array], Array]:
    def softmax(x: Array) -> Array:
        powers = np.exp(x - x.max(axis=axis, keepdims=True))
        return np.asarray(powers / powers.sum(axis=axis, keepdims=True))

    return softmax


def _activations(due: Images) -> Iterator[Mistake]:
    probabilities = all(one.min() >= 0 and one.max() <= 1 for one in due if one.size)
    logarithms = all(one.max() <= 0 for one in due if one.size)
    twice = "is applied twice" if probabilities else "is applied, which the network does not have"
    yield Mistake("negated", np.negative)
    if probabilities:
        # Before the softmax, which makes the same of logarithms.
        yield Mistake("the logarithm of the right values", np.exp)
        yield Mistake("the sigmoid is missing", _sigmoid)
    if logarithms:
        yield Mistake("the logarithm is missing", made=np.exp)
    yield Mistake(f"a sigmoid {twice}", made=_sigmoid)
    for axis in (axis for axis, extent in enumerate(due[0].shape) if axis and extent > 1):
        if probabilities:
            yield Mistake(f"the softmax over axis {axis} is missing", _softmax(axis))
        yield Mistake(f"a softmax over axis {axis} {twice}", made=_softmax(axis))
    yield Mistake("the tanh is missing", np.tanh)


# --- a factor and an offset -----------------------------------------------------------------------


def _linear(due: Images, given: Images) -> Iterator[Mistake]:
    """A factor, an offset, or both, by least squares over all images.

    Two numbers are fitted, so that an output of no more values would always be explained.
    """
    x = np.concatenate([one.reshape(-1) for one in due]).astype(np.float64)
    y = np.concatenate([one.reshape(-1) for one in given]).astype(np.float64)
    if x.size < 2 * 3 or not np.isfinite(y).all() or not x.any():
        return
    factor = float(x @ y / (x @ x))
    if factor:
        yield Mistake(f"{factor:.6g} times the right values", lambda v: v / factor)
    offset = float(np.mean(y - x))
    yield Mistake(f"off by {offset:+.6g} throughout", lambda v: v - offset)
    centred = x - x.mean()
    if slope := float(centred @ y / (centred @ centred)) if centred.any() else 0.0:
        shift = float(y.mean() - slope * x.mean())
        words = f"{slope:.6g} times the right values, {'plus' if shift > 0 else 'minus'} {abs(shift):.6g}"
        yield Mistake(words, lambda v: (v - shift) / slope)


# --- axes -----------------------------------------------------------------------------------------


def _layouts(due: tuple[int, ...], given: tuple[int, ...]) -> Iterator[Mistake]:
    rank = len(due)
    if len(given) == rank <= _MOST_AXES:
        for order in permutations(range(rank)):
            if order != tuple(range(rank)) and tuple(given[axis] for axis in order) == due:
                words = f"axes in another order: axes {list(order)} are those of the network"
                yield Mistake(words, lambda v, order=order: v.transpose(order))  # type: ignore[misc]
    if given == due:
        for axis in (axis for axis, extent in enumerate(due) if axis and extent > 1):
            yield Mistake(f"axis {axis} runs backwards", lambda v, axis=axis: np.flip(v, axis))  # type: ignore[misc]
    elif np.prod(given) == np.prod(due):
        words = f"of shape {list(given)} instead of {list(due)}; the numbers are right"
        yield Mistake(words, lambda v: v.reshape(due))
