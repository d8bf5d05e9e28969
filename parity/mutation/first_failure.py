"""What the gate's judge notices first about one file, and how far a file strays from the honest one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from modelparity.converters.engine.workbench import Outputs
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.modelfiles.description import BrokenModelError, NotAModelError
from modelparity.parity.judge import Judge
from modelparity.parity.metrics.detection_matching import paired
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim

LOADS, RUNS = "loads", "runs"  # what a file breaks that cannot be judged


class FailedClaimError(Exception):
    """Ends a judging at the first claim that is false."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.name)
        self.claim = claim


class UntilFailed(list[Claim]):
    """A judge's claims, of which the first false one ends the judging; those made with it are kept."""

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
    """`claim` is the first false one, or else the first undecided one, "" if all hold; `outputs` are those
    of the stream, if it ran; `said` is the detail of every false claim made until then.
    """

    claim: str
    detail: str
    outputs: Sequence[Outputs] = ()
    said: str = ""


def noticed(judge: Judge) -> Verdict:
    """Judges a file until a claim is false. What the file does to its process is a verdict, too."""
    judge.claims = UntilFailed()
    try:
        judge.judge()
    except FailedClaimError as failed:
        said = "\n".join(claim.detail for claim in judge.claims if claim.status == "failed")
        return replace(_verdict(failed.claim, judge.outputs), said=said)
    except (BrokenModelError, NotAModelError) as error:
        return Verdict(LOADS, str(error))
    except (WorkerFailedError, WorkerCrashedError) as error:
        return Verdict({"load": LOADS, "run": RUNS}.get(judge.stage, judge.stage), str(error), judge.outputs)
    undecided = (claim for claim in judge.claims if not claim.passed)  # which the gate takes for no proof
    return _verdict(next(undecided, None), judge.outputs)


def _verdict(claim: Claim | None, outputs: Sequence[Outputs]) -> Verdict:
    if claim is None:
        return Verdict("", "every claim holds", outputs)
    words = f"{claim.output or ''} {claim.observed}, but should be {claim.sense} {claim.bound}"
    return Verdict(claim.name, f"{words.strip()} {claim.detail}".strip(), outputs)


def share_of_error(reference: Reference, got: Sequence[Outputs], honest: Sequence[Outputs]) -> float:
    """How far a file strays from the honest one, as a share of the honest one's error against float64.

    Root-mean-square over the stream, the most of any output; inf where nothing can be compared.
    """
    moved: dict[str, list[float]] = {}
    for mutated, right in zip(got, honest, strict=True):
        shapes = {name: value.shape for name, value in mutated.items()}
        if shapes != {name: value.shape for name, value in right.items()}:
            return math.inf
        pair = paired(reference.task, mutated, right)
        for name in reference.floors:
            if pair.expected[name].size:
                moved.setdefault(name, []).append(pair.rms(name))
    own: dict[str, list[float]] = {}
    for pair in reference.paired(honest):
        for name in reference.floors:
            if pair.expected[name].size:
                own.setdefault(name, []).append(pair.rms(name))
    shares = [math.hypot(*moved[name]) / max(math.hypot(*own[name]), math.ulp(0)) for name in moved]
    return math.inf if any(map(math.isnan, shares)) else max(shares, default=0.0)


def distance(reference: Reference, got: Sequence[Outputs], honest: Sequence[Outputs]) -> float:
    """The greatest rms difference of any output and image, in floors; inf where nothing can be compared."""
    worst = 0.0
    for mutated, right in zip(got, honest, strict=True):
        shapes = {name: value.shape for name, value in mutated.items()}
        if shapes != {name: value.shape for name, value in right.items()}:
            return math.inf
        pair = paired(reference.task, mutated, right)
        if pair.share < 1:
            return math.inf
        for name, floor in reference.floors.items():
            off = pair.rms(name) / floor
            worst = math.inf if math.isnan(off) else max(worst, off)
    return worst
