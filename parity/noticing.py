"""What the gate's judge notices first about one file, and how far a file strays from the honest one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converters.artifact import BrokenModelError, NotAModelError
from converters.workbench import Outputs
from converters.workers import WorkerCrashedError, WorkerFailedError
from parity.detections import paired
from parity.judge import Judge
from parity.reference import Reference
from parity.results import Claim

LOADS, RUNS = "loads", "runs"  # what a file breaks that cannot be judged


class FailedClaimError(Exception):
    """Ends a judging at the first claim that is false."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.name)
        self.claim = claim


class UntilFailed(list[Claim]):
    """A judge's claims, of which the first false one ends the judging."""

    def append(self, claim: Claim, /) -> None:
        super().append(claim)
        if claim.status == "failed":
            raise FailedClaimError(claim)

    def __iadd__(self, claims: Iterable[Claim], /) -> UntilFailed:  # type: ignore[misc,override]
        for claim in claims:
            self.append(claim)
        return self


@dataclass(frozen=True)
class Verdict:
    """`claim` is the first false one, or else the first undecided one, "" if all hold; `outputs` are those
    of the stream, if it ran.
    """

    claim: str
    detail: str
    outputs: Sequence[Outputs] = ()


def noticed(judge: Judge) -> Verdict:
    """Judges a file until a claim is false. What the file does to its process is a verdict, too."""
    judge.claims = UntilFailed()
    try:
        judge.judge()
    except FailedClaimError as failed:
        return _verdict(failed.claim, judge.outputs)
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
