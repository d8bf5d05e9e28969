"""Computes the error that a single value may have, and judges decisions by their margins.

A decision's margin is how far the reference would have to move to decide otherwise. A decision that flips
with a margin beyond the error bound is a bug. With a margin inside it, a right file may decide either way:
such ties are counted and shown, and fail nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from modelparity.fixtures.arrays import Array
from modelparity.fixtures.tolerances import FALSE_ALARMS, FloatTolerance, QuantizedTolerance
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim, Number

NOTHING_SURE = "no margin is beyond the bound"


@dataclass(frozen=True)
class Bound:
    """The greatest error of a single value that a right file may have, in the output's own unit."""

    value: float
    because: str


def error_bound(
    reference: Reference,
    name: str,
    tolerance: FloatTolerance | QuantizedTolerance,
    differences: bool = False,
) -> Bound:
    """The greatest error of a value, from the rms error that the tolerance allows.

    The rms is what `float_parity` or `worst_sqnr` allows a sample: `floors` noise floors, or spread 10^(-dB /
    20). Of N normal errors the greatest exceeds z rms with a probability of at most N erfc(z / sqrt 2), by
    the union bound; z is where that is `FALSE_ALARMS`, N the values of the evaluation set. In a sample of n
    values none can exceed sqrt(n) rms, whatever their distribution.

    With `differences` the bound is of the error in the difference of any two values of a sample: sqrt 2 rms
    if the two are independent, over all pairs; and never more than sqrt(2 n) rms.

    The file's own error is not used, because a bad file would excuse itself. Nor is it needed: an error
    greater than the budget fails another claim.
    """
    if isinstance(tolerance, FloatTolerance):
        allowed = tolerance.of(name) * reference.floors[name]
        whose = f"the {tolerance.of(name):g} floors of rms error that float_parity allows"
    else:
        allowed = reference.spread(name) * 10 ** (-tolerance.worst_sqnr_db[name] / 20)
        whose = f"the rms error that worst_sqnr allows at {tolerance.worst_sqnr_db[name]:g} dB"
    sizes = [value.size for value in reference.outputs[name]]
    count = sum(n * (n - 1) // 2 for n in sizes) if differences else sum(sizes)
    scale = math.sqrt(2) if differences else 1.0
    tail = -float(ndtri(FALSE_ALARMS / (2 * max(count, 1))))
    factor = scale * min(tail, math.sqrt(max(sizes)))
    what = f"difference of {count} pairs" if differences else f"error of {count}"
    if max(sizes) == 1:
        why = f"{whose}, the only value of a sample being its rms"
    elif math.sqrt(max(sizes)) <= tail:
        why = f"{factor:.3g} x {whose}, the most that a value in a sample of {max(sizes)} can be off"
    else:
        why = f"{factor:.3g} x {whose}, which the greatest normal {what} exceeds in one right file of 1,000"
    return Bound(factor * allowed, f"a flip inside the error bound is a tie; the bound is {why}")


@dataclass(frozen=True)
class Decided:
    """The decisions of one kind on one sample, in arrays of equal shape.

    Attributes:
        margin: How far the reference is from deciding otherwise.
        flipped: The margin where the file decides otherwise, 0 where it does not, inf where its value is not
            finite.
        words: Describes a flat index: place, reference value, observed value.
    """

    margin: Array
    flipped: Array
    words: Callable[[int], str]


def claim_of(
    name: str,
    output: str,
    reference: Reference,
    decided: Sequence[Decided],
    *,
    kind: str,
    bound: Bound,
    shown: str = "",
    alike: str = "",
) -> Claim:
    """No decision flips with a margin beyond the bound; observed is the widest flip, in bounds.

    Args:
        kind: What is decided, in the plural.
        shown: Further facts for the detail.
        alike: Says that the reference decides all alike; "" if it does not. Then, or if no margin is beyond
            the bound, the claim holds for lack of evidence, and says so instead of giving a number.
    """
    count = sum(sample.margin.size for sample in decided)
    sure = sum(int((sample.margin > bound.value).sum()) for sample in decided)
    flips = [sample.flipped[sample.flipped > 0] for sample in decided]
    beyond = sum(int((flip > bound.value).sum()) for flip in flips)
    ties = sum(flip.size for flip in flips) - beyond
    widest = max((float(flip.max()) for flip in flips if flip.size), default=0.0)
    nearest = min((float(s.margin.min()) for s in decided if s.margin.size), default=math.inf)
    detail = [
        f"{count} {kind}, {sure} with a margin beyond the bound of {bound.value:.3g}; "
        f"{beyond} flipped beyond it, {ties} inside it"
    ]
    if nearest:
        detail.append(f"nearest margin {nearest:.3g} = {in_bounds(nearest, bound):.3g} bounds")
    if widest:
        index = max(range(len(decided)), key=lambda i: float(decided[i].flipped.max(initial=0.0)))
        worst = decided[index]
        words = worst.words(int(np.argmax(worst.flipped)))
        detail.insert(
            0 if beyond else 1,
            f"{'worst' if beyond else 'widest'} flip: {reference.names[index]}, {words}, "
            f"margin {widest:.3g}, {in_bounds(widest, bound):.3g} bounds of {bound.value:.3g}",
        )
    if shown:
        detail.append(shown)
    ratio = in_bounds(widest, bound)
    observed: Number | str = float(f"{ratio:.4g}") if math.isfinite(ratio) else str(ratio)
    claim = Claim(
        name,
        "failed" if beyond else "passed",
        observed,
        1,
        bound.because,
        output,
        "bounds",
        "; ".join(detail),
        "<=",
    )
    return candid(claim, alike or ("" if sure else NOTHING_SURE), ties)


def candid(claim: Claim, blind: str, ties: int) -> Claim:
    """The claim; if it holds without evidence, for the reason `blind`, it says so instead of a number."""
    if not claim.passed or not blind:
        return claim
    observed = f"{blind}; {ties} flipped inside the bound" if ties else blind
    return replace(
        claim,
        observed=observed,
        bound="no flip beyond the bound",
        unit="",
        sense="=",
        detail=f"this proves little: {blind}; {claim.detail}",
    )


def in_bounds(margin: float, bound: Bound) -> float:
    """A margin as a multiple of the error bound; 0 where both are 0."""
    if bound.value:
        return margin / bound.value
    return math.inf if margin else 0.0
