"""Finds the first claim that a file fails, and measures how far its outputs are from the original's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.fixtures.arrays import Outputs
from modelparity.modelfiles.description import BrokenModelError, NotAModelError
from modelparity.parity.judge import Judge
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim

LOADS, RUNS = "loads", "runs"  # recorded for files that cannot be judged


class FailedClaimError(Exception):
    """Ends the judging at the first failed claim."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.name)
        self.claim = claim


class UntilFailed(list[Claim]):
    """A judge's claims; the first failed one ends the judging, once those made with it are added."""

    def append(self, claim: Claim, /) -> None:
        super().append(claim)
        if claim.status == "failed":
            raise FailedClaimError(claim)

    def __iadd__(self, claims: Iterable[Claim], /) -> UntilFailed:  # type: ignore[misc,override]
        claims = list(claims)
        self.extend(claims)
        for claim in claims:
            if claim.status == "failed":
                raise FailedClaimError(claim)
        return self


@dataclass(frozen=True)
class Verdict:
    """The first claim that does not hold.

    Attributes:
        claim: Name of the first failed claim, else of the first inconclusive one; "" if all hold.
        detail: Its observed value, bound and detail.
        outputs: Over the evaluation set, if it ran.
        details: The details of all failed claims made until then.
    """

    claim: str
    detail: str
    outputs: Sequence[Outputs] = ()
    details: str = ""


def first_failure(judge: Judge) -> Verdict:
    """Judges a file until a claim fails. A crash of its process is a verdict, too."""
    judge.claims = UntilFailed()
    try:
        judge.judge()
    except FailedClaimError as failed:
        details = "\n".join(claim.detail for claim in judge.claims if claim.status == "failed")
        return replace(_verdict(failed.claim, judge.outputs), details=details)
    except (BrokenModelError, NotAModelError) as error:
        return Verdict(LOADS, str(error))
    except (WorkerFailedError, WorkerCrashedError) as error:
        return Verdict({"load": LOADS, "run": RUNS}.get(judge.stage, judge.stage), str(error), judge.outputs)
    inconclusive = (claim for claim in judge.claims if not claim.passed)  # not green for the gate either
    return _verdict(next(inconclusive, None), judge.outputs)


def _verdict(claim: Claim | None, outputs: Sequence[Outputs]) -> Verdict:
    if claim is None:
        return Verdict("", "every claim holds", outputs)
    words = f"{claim.output or ''} {claim.observed}, but should be {claim.sense} {claim.bound}"
    return Verdict(claim.name, f"{words.strip()} {claim.detail}".strip(), outputs)


def share_of_error(reference: Reference, got: Sequence[Outputs], original: Sequence[Outputs]) -> float:
    """Distance of a file's outputs from the original's, relative to the original's error against float64.

    Root mean square over the images, the greatest of any output; inf where nothing can be compared.
    """
    moved: dict[str, list[float]] = {}
    for mutated, right in zip(got, original, strict=True):
        shapes = {name: value.shape for name, value in mutated.items()}
        if shapes != {name: value.shape for name, value in right.items()}:
            return math.inf
        pair = reference.kind.paired(mutated, right)
        for name in reference.floors:
            if pair.expected[name].size:
                moved.setdefault(name, []).append(pair.rms(name))
    own: dict[str, list[float]] = {}
    for pair in reference.paired(original):
        for name in reference.floors:
            if pair.expected[name].size:
                own.setdefault(name, []).append(pair.rms(name))
    shares = [math.hypot(*moved[name]) / max(math.hypot(*own[name]), math.ulp(0)) for name in moved]
    return math.inf if any(map(math.isnan, shares)) else max(shares, default=0.0)


def distance(reference: Reference, got: Sequence[Outputs], original: Sequence[Outputs]) -> float:
    """Greatest rms difference of any output and image, in floors; inf where nothing can be compared."""
    worst = 0.0
    for mutated, right in zip(got, original, strict=True):
        shapes = {name: value.shape for name, value in mutated.items()}
        if shapes != {name: value.shape for name, value in right.items()}:
            return math.inf
        pair = reference.kind.paired(mutated, right)
        if pair.share < 1:
            return math.inf
        for name, floor in reference.floors.items():
            off = pair.rms(name) / floor
            worst = math.inf if math.isnan(off) else max(worst, off)
    return worst
