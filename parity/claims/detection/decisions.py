"""Makes the claim `objects`: a file detects every object of the reference and no other, except by ties.

Rows are matched as in `modelparity.parity.metrics.detection_matching`. A row without a partner has a margin:
its score's distance to the other run's cut. The cut is the score threshold or, where all rows are used, the
lowest score of a row. Within the error bound of the cut the row is a tie. It is also a tie where suppression
(NMS) may decide differently: of two near-duplicates with scores within the bound, either may suppress the
other, and so may boxes whose overlap is within the bound of the threshold. What follows from that further
down the list is a tie, too. Anything else is lost, or extra.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.specs import NetworkSpec
from modelparity.parity.claims.margins import NOTHING_SURE, candid, error_bound, in_bounds, too_many
from modelparity.parity.metrics.chance import changed_decisions
from modelparity.parity.metrics.detection_matching import (
    LEAST_OVERLAP,
    TIED,
    Pair,
    overlaps,
    partners,
    ties,
    ties_like,
)
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim, DecisionRecord

MANY = 1000  # with fewer objects, a lost one is more likely a fault than a tie of proposals


@dataclass(frozen=True)
class Rules:
    """The network's thresholds, and the errors that a score and a corner, both in 0..1, may have."""

    score_threshold: float
    nms_threshold: float
    score: float
    corner: float


@dataclass(frozen=True)
class Rows:
    """The detections of one run in one image: `boxes` [n, 4], `scores` [n], categories `kinds` [n].

    `at` are their rows in the output; `full` says that no row was left for more.
    """

    boxes: Array
    scores: Array
    kinds: Array
    at: Array
    full: bool

    @staticmethod
    def of(outputs: Outputs) -> Rows:
        """The first image's rows; those of score 0 are padding."""
        score = outputs["score"][0]
        at = np.flatnonzero(score != 0)
        boxes, kinds = outputs["location"][0][at], outputs["category"][0][at]
        return Rows(
            boxes.astype(np.float64), score[at].astype(np.float64), kinds, at, bool(len(at) == len(score))
        )

    def cut(self, threshold: float) -> float:
        """The score below which this run has no detection."""
        return max(threshold, float(self.scores.min())) if self.full else threshold


@dataclass(frozen=True)
class Unmatched:
    """A row that only one run has. `margin` is its score's distance to the other's cut; NaN if not finite.

    `tie` says what explains it, "cut" or "suppression"; "" if nothing does.
    """

    extra: bool
    row: int
    margin: float
    tie: str


def objects(reference: Reference, outputs: Sequence[Outputs], spec: NetworkSpec) -> list[Claim]:
    """Every object of the reference is found, and no other, except by ties."""
    score, corner = (error_bound(reference, name) for name in ("score", "location"))
    rules = _rules(spec, score.value, corner.value)
    rows = sure = 0
    nearest = math.inf
    for expected in _expected(reference):
        rows += len(expected.scores)
        margins = expected.scores - expected.cut(rules.score_threshold)
        sure += sum(
            margin > rules.score and not _near_another(expected, i, rules)
            for i, margin in enumerate(margins.tolist())
        )
        nearest = min(nearest, float(margins.min(initial=math.inf)))
    alone = _alone(reference, outputs, rules)
    tied = [one.tie for _, one, _ in alone if one.tie]
    beyond = [(index, one, words) for index, one, words in alone if not one.tie]
    lost, extra = (sum(one.extra == side for _, one, _ in beyond) for side in (False, True))
    allowed, because = _allowed(reference, rows, rules)
    detail = (
        f"{rows} objects in the reference, {sure} of them sure: {score.value:.3g} above the cut, and no "
        f"suppression even if corners are off by {corner.value:.3g}; {lost} lost and {extra} extra; ties: "
        f"{tied.count('cut')} at the cut and {tied.count('suppression')} by suppression; "
        f"nearest margin {nearest:.3g}"
    )
    if beyond:
        index, one, words = max(beyond, key=lambda each: np.nan_to_num(each[1].margin, nan=np.inf))
        detail = (
            f"worst: {reference.names[index]}, {words}, {in_bounds(one.margin, score):.3g} bounds of "
            f"{score.value:.3g}; {detail}"
        )
    unsound = any(math.isnan(one.margin) for _, one, _ in beyond)
    claim = Claim(
        "objects",
        "failed" if unsound or max(lost, extra) > allowed else "passed",
        max(lost, extra),
        allowed,
        "within the error bound of the cut an object may be detected or not, and either of two "
        f"near-duplicates may suppress the other; {because}; {score.because}",
        unit="objects",
        detail=detail,
        sense="<=",
    )
    if claim.passed and not sure and reference.rounded:
        return [_counted(claim, reference, alone, rules)]
    return [candid(claim, too_many(allowed, rows) or ("" if sure else NOTHING_SURE), len(tied))]


def _counted(
    claim: Claim, reference: Reference, alone: Sequence[tuple[int, Unmatched, str]], rules: Rules
) -> Claim:
    """All lost and extra objects, ties or not, of which a right run shows how many there may be.

    For files that round so coarsely that no object is sure.
    """
    other = _alone(reference, reference.right_runs, rules)
    lost, seen = (
        max(sum(one.extra == side for _, one, _ in each) for side in (False, True)) for each in (alone, other)
    )
    rows = sum(len(expected.scores) for expected in _expected(reference))
    of_rows = sum(len(expected.scores) for expected in _expected(reference)[: len(reference.right_runs)])
    allowed = ties_like(2 * seen, of_rows, rows)
    counted = replace(
        claim,
        status="passed" if lost <= allowed else "failed",
        observed=lost,
        bound=allowed,
        because=f"no object is sure, so all count: {seen} of {of_rows} differ in {reference.noise_words}",
    )
    return candid(counted, too_many(allowed, rows), 0)


def changed_objects(
    _: Reference, __: Sequence[Outputs], ___: NetworkSpec, pairs: Sequence[Pair]
) -> list[DecisionRecord]:
    """How many objects either run has and the other has not, whatever explains it."""
    rows = sum(sum(pair.rows) for pair in pairs)
    alone = sum(round((1 - pair.share) * sum(pair.rows)) for pair in pairs)
    return [changed_decisions("objects", "objects", alone, rows)]


def _rules(spec: NetworkSpec, score: float, corner: float) -> Rules:
    least, most = (spec.values[name] for name in ("score_threshold", "nms_threshold"))
    assert isinstance(least, float)
    assert isinstance(most, float)
    return Rules(least, most, score, corner)


def _expected(reference: Reference) -> list[Rows]:
    return [
        Rows.of({name: values[index] for name, values in reference.outputs.items()})
        for index in range(len(reference.feeds))
    ]


def _alone(
    reference: Reference, outputs: Sequence[Outputs], rules: Rules
) -> list[tuple[int, Unmatched, str]]:
    """The rows without a partner in the first images, as many as `outputs` has, with their image."""
    return [
        (index, one, _words(one, expected, observed))
        for index, (expected, observed) in enumerate(
            zip(_expected(reference), map(Rows.of, outputs), strict=False)
        )
        for one in unmatched(expected, observed, rules)
    ]


def _allowed(reference: Reference, rows: int, rules: Rules) -> tuple[int, str]:
    """How many objects may be lost, and as many be extra, by ties of proposals; and why."""
    if not reference.rounded:
        allowed = ties(rows) if rows >= MANY else 0
        return allowed, (
            f"up to one in {1 / TIED:.0f} depends on proposals, whose scores are not returned, so {allowed} "
            f"of {rows} may differ by chance"
        )
    beyond = [one for _, one, _ in _alone(reference, reference.right_runs, rules) if not one.tie]
    seen = max((sum(one.extra == side for one in beyond) for side in (False, True)), default=0)
    of_rows = sum(len(expected.scores) for expected in _expected(reference)[: len(reference.right_runs)])
    allowed = ties_like(2 * seen, of_rows, rows)
    return allowed, f"{seen} of {of_rows} differ in {reference.noise_words}, so {allowed} of {rows} may"


def unmatched(expected: Rows, observed: Rows, rules: Rules) -> list[Unmatched]:
    """The rows of one image without a partner, lost ones first, each with its explanation."""
    partner = dict(
        partners(
            expected.boxes,
            expected.kinds,
            their_boxes=observed.boxes,
            their_scores=observed.scores,
            their_kinds=observed.kinds,
        )
    )
    same = {i: j for i, j in partner.items() if _one_box(expected, i, observed, j, rules=rules)}
    sides = (expected, observed)
    # Partners that differ by more than an error are no failure, but may explain unmatched rows.
    alone = (
        _margins(expected, observed, same.keys(), rules),
        _margins(observed, expected, set(same.values()), rules),
    )
    tie = [{i: "cut" for i, margin in own.items() if margin <= rules.score} for own in alone]
    changed = True
    while changed:
        changed = False
        for side in (0, 1):
            other = 1 - side
            for i in alone[side].keys() - tie[side].keys():
                if _suppressed(
                    sides[side],
                    i,
                    sides[other],
                    alone=alone[other].keys(),
                    explained=tie[other].keys(),
                    rules=rules,
                ):
                    tie[side][i] = "suppression"
                    changed = True
    partnered = (partner.keys(), set(partner.values()))
    return [
        Unmatched(bool(side), i, alone[side][i], tie[side].get(i, ""))
        for side in (0, 1)
        for i in sorted(alone[side].keys() - partnered[side])
    ]


def _one_box(expected: Rows, i: int, observed: Rows, j: int, *, rules: Rules) -> bool:
    """Whether two partners differ by no more than an error."""
    return bool(
        np.abs(expected.boxes[i] - observed.boxes[j]).max() <= rules.corner
        and abs(expected.scores[i] - observed.scores[j]) <= rules.score
    )


def _margins(own: Rows, other: Rows, known: AbstractSet[int], rules: Rules) -> dict[int, float]:
    """Margins of all rows but the `known`: how surely the other run should have it, or this one not."""
    margins = {}
    for i in set(range(len(own.scores))) - known:
        score = float(own.scores[i])
        sound = np.isfinite(own.boxes[i]).all()
        # Below the score threshold there may be no row, even if rows are left.
        margin = max(score - other.cut(rules.score_threshold), rules.score_threshold - score)
        margins[i] = margin if sound and math.isfinite(score) else math.nan
    return margins


def _suppressed(
    own: Rows, i: int, other: Rows, *, alone: AbstractSet[int], explained: AbstractSet[int], rules: Rules
) -> bool:
    """Whether a row of the other run may have suppressed this one by a tie.

    It has the same category, overlaps this row by about the threshold or more, and has about its score or a
    higher one. If both runs have it, the overlap must be a tie. If only the other run has it, its score and
    this one's must tie, or it must be explained already.
    """
    low, high = overlap_range(own.boxes[i], other.boxes, rules.corner)
    may = (other.kinds == own.kinds[i]) & (high > rules.nms_threshold)
    may &= other.scores >= own.scores[i] - rules.score
    return any(
        j in explained or other.scores[j] <= own.scores[i] + rules.score
        if j in alone
        else low[j] <= rules.nms_threshold
        for j in np.flatnonzero(may).tolist()
    )


def _near_another(rows: Rows, i: int, rules: Rules) -> bool:
    """Whether another row of its own run might suppress a row, if boxes were off by the bound."""
    high = overlap_range(rows.boxes[i], rows.boxes, rules.corner)[1]
    by = (rows.kinds == rows.kinds[i]) & (high > rules.nms_threshold)
    by &= rows.scores >= rows.scores[i] - rules.score
    by[i] = False
    return bool(by.any())


def overlap_range(box: Array, boxes: Array, corner: float) -> tuple[Array, Array]:
    """The least and greatest IoU [n] of a box [4] with `boxes` [n, 4] if each corner is off by `corner`."""
    extremes = []
    for sign in (-1, 1):
        apart = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
        common = np.prod(np.clip(apart + sign * 2 * corner, 0, None), axis=1)
        areas = [
            np.prod(np.clip(b[..., 2:] - b[..., :2] - sign * 2 * corner, 0, None), axis=-1)
            for b in (box[None], boxes)
        ]
        union = np.maximum(areas[0] + areas[1] - common, common)
        extremes.append(np.divide(common, union, out=np.zeros_like(common), where=union > 0))
    return extremes[0], extremes[1]


def _words(one: Unmatched, expected: Rows, observed: Rows) -> str:
    own, other = (observed, expected) if one.extra else (expected, observed)
    row = f"row {own.at[one.row]}, score {own.scores[one.row]:.6g}, category {own.kinds[one.row]}"
    cut = f"margin {one.margin:.3g}"
    overlap = overlaps(own.boxes[one.row : one.row + 1], other.boxes)[0]
    known = np.flatnonzero((overlap >= LEAST_OVERLAP) & (other.kinds != own.kinds[one.row]))
    if len(known):
        j = known[np.argmax(overlap[known])]
        whose = "the reference's" if one.extra else "the file's"
        row += (
            f" ({whose} row {other.at[j]} there, score {other.scores[j]:.6g}, is category {other.kinds[j]})"
        )
    return f"{'extra' if one.extra else 'lost'} {row}, {cut}"
