"""Computes the error that a single value may have, and judges decisions by their margins.

A decision's margin is how far the reference would have to move to decide otherwise. A decision that flips
with a margin beyond the error bound is a bug. With a margin inside it, a right file may decide either way:
such ties are counted and shown, and fail nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.parity.metrics.detection_matching import ties_like
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim, Number

NOTHING_SURE = "no margin is beyond the bound"


@dataclass(frozen=True)
class Bound:
    """The greatest error of a single value that a right file may have, in the output's own unit."""

    value: float
    because: str


def error_bound(reference: Reference, name: str, differences: bool = False) -> Bound:
    """The greatest error of a value that a right file may have (`Reference.greatest`).

    With `differences` the bound is of the error in the difference of any two values of a sample.

    The file's own error is not used, because a bad file would excuse itself.
    """
    what = "error in the difference of two values of an image" if differences else "error of a single value"
    allowed = reference.allowed(name)
    why = f"{allowed:.3g} x the greatest {what} in {reference.noise_words}"
    return Bound(
        reference.greatest(name, differences), f"a flip inside the error bound is a tie; the bound is {why}"
    )


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


@dataclass(frozen=True)
class Decisions:
    """All decisions of one kind: what they are, in the plural, and which were taken on each image.

    Attributes:
        claim: The name of the claim on them.
        differences: Whether a margin is between two values of an image.
        shown: Further facts, for the claim's detail.
        alike: Says that the reference decides all alike; "" if it does not.
    """

    claim: str
    output: str
    plural: str
    decided: tuple[Decided, ...]
    differences: bool = False
    shown: str = ""
    alike: str = ""

    @property
    def changed(self) -> int:
        """How many are not as in the reference."""
        return sum(int((sample.flipped > 0).sum()) for sample in self.decided)

    @property
    def count(self) -> int:
        return sum(sample.margin.size for sample in self.decided)


def claim_of(kind: Decisions, reference: Reference, bound: Bound, right: Decisions | None = None) -> Claim:
    """No decision flips with a margin beyond the bound; observed is the widest flip, in bounds.

    If no margin is beyond the bound, flips are counted, where another `right` run shows how many there may be
    (`_counted`). If that tells nothing either, or if the reference decides all alike, no wrong file could be
    told from a right one: the claim is not decided.
    """
    decided = kind.decided
    sure = sum(int((sample.margin > bound.value).sum()) for sample in decided)
    flips = [sample.flipped[sample.flipped > 0] for sample in decided]
    beyond = sum(int((flip > bound.value).sum()) for flip in flips)
    ties = sum(flip.size for flip in flips) - beyond
    widest = max((float(flip.max()) for flip in flips if flip.size), default=0.0)
    nearest = min((float(s.margin.min()) for s in decided if s.margin.size), default=math.inf)
    detail = [
        f"{kind.count} {kind.plural}, {sure} with a margin beyond the bound of {bound.value:.3g}; "
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
    if kind.shown:
        detail.append(kind.shown)
    ratio = in_bounds(widest, bound)
    observed: Number | str = float(f"{ratio:.4g}") if math.isfinite(ratio) else str(ratio)
    claim = Claim(
        kind.claim,
        "failed" if beyond else "passed",
        observed,
        1,
        bound.because,
        kind.output,
        "bounds",
        "; ".join(detail),
        "<=",
    )
    if (
        claim.passed
        and not sure
        and not kind.alike
        and right is not None
        and (counted := _counted(kind, right, claim, reference))
    ):
        return counted
    return candid(claim, kind.alike or ("" if sure else NOTHING_SURE), ties)


def _counted(kind: Decisions, right: Decisions, claim: Claim, reference: Reference) -> Claim | None:
    """No more decisions flip than twice as many as in another right run; None if that could not fail.

    Of n flips in the other run, twice as many in a right file is the same allowance as for its error, and as
    many more as chance explains (`ties_like`).
    """
    allowed = ties_like(2 * right.changed, right.count, kind.count)
    if too_many(allowed, kind.count):
        return None
    return replace(
        claim,
        status="passed" if kind.changed <= allowed else "failed",
        observed=kind.changed,
        bound=allowed,
        because=f"{right.changed} of {right.count} flip in {reference.noise_words}, which is as right",
        unit=kind.plural,
    )


def too_many(allowed: int, of: int) -> str:
    """Why a count proves nothing if half or more may differ; "" if fewer may."""
    return f"ties alone may change {allowed} of {of}" if of and 2 * allowed >= of else ""


def candid(claim: Claim, blind: str, ties: int) -> Claim:
    """The claim; if it holds only because it could not have failed, for the reason `blind`, not decided."""
    if not claim.passed or not blind:
        return claim
    observed = f"{blind}; {ties} flipped inside the bound" if ties else blind
    return replace(
        claim,
        status="inconclusive",
        observed=observed,
        bound="no flip beyond the bound",
        unit="",
        sense="=",
        detail=(
            f"{claim.name} of {claim.output or 'detections'} is not decided: {blind}, so a wrong file would "
            f"pass; other images or trained weights would decide it; {claim.detail}"
        ),
    )


def in_bounds(margin: float, bound: Bound) -> float:
    """A margin as a multiple of the error bound; 0 where both are 0."""
    if bound.value:
        return margin / bound.value
    return math.inf if margin else 0.0
