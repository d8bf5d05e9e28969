"""Detections are a set: they are matched one to one before anything is compared, never zipped by row.

A row is a box (`location`, corners in 0..1), its `score`, 0 where the row is padding, and its
`category`. Two boxes match if they are of one category and overlap (IoU) by half or more; of all
ways to pair them the one with the greatest total overlap is taken (Kuhn, 1955: the assignment problem).

A partner may be another box: a detector cuts and suppresses proposals by scores that do not come out, and
where two of them tie, rounding chooses. Such a row says nothing of the arithmetic, and outweighs all others
by orders of magnitude (in float32 5e-3 beside 6e-8). So numbers are compared without an image's worst
twentieth of rows, and how many rows are alike is counted beside it: few may be otherwise (`ties`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import poisson

from modelparity.fixtures.specs import Task
from modelparity.parity.metrics.errors import Array, difference, rms
from modelparity.parity.tolerances import FALSE_ALARMS

Outputs = Mapping[str, Array]
LEAST_OVERLAP = 0.5
COMPARED = ("location", "score")  # `category` is equal by the matching
COMPARED_SHARE = 0.95  # of an image's rows; numbers of the others are not looked at
# Ties of proposals decide one in 17,000 of right float32 files' detections (14 streams of 1,200), so one in
# 3,000 at most (Poisson, 95 %), and one in 900 of right fp16 files' (24), so one in 650.
TIED, TIED_ROUNDED = 1 / 3000, 1 / 650


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images, so laid out that equal places can be compared.

    Of detections these are matched rows [n, ...] of all images, in the reference's order, without those that
    are farthest apart in the output where more than `COMPARED_SHARE` of an image's rows have a partner.
    `share` is 2 m / (rows observed + rows expected) of all m that have one, 1 where both are empty; `rows`
    are those two numbers, and `apart` the greatest difference in each of the m, by output. `lost` is the
    highest-scored expected row without a partner, as (image, row, score), None if each has one. `nothing`
    says that neither run detected anything, which is an agreement; an output that is empty by itself is none.
    """

    observed: Outputs
    expected: Outputs
    share: float = 1.0
    lost: tuple[int, int, float] | None = None
    nothing: bool = False
    rows: tuple[int, int] = (0, 0)
    apart: Mapping[str, Array] = field(default_factory=dict)

    def rms(self, name: str) -> float:
        """Root mean square difference of an output; 0 where neither run detected anything."""
        return 0.0 if self.nothing else difference(self.observed[name], self.expected[name]).rms

    def unlike(self, bounds: Mapping[str, float]) -> int:
        """Rows of one run, that with more of them, without a partner within `bounds` in every number."""
        alike = [self.apart[name] <= bound for name, bound in bounds.items() if name in self.apart]
        return max(self.rows) - int(np.count_nonzero(np.all(alike, axis=0))) if alike else 0


def distance(pairs: Sequence[Pair], name: str) -> tuple[str, float]:
    """How far quantized runs are apart in an output, and what that number is: the median row, or the rms.

    A few rows come from another proposal, and these make all of a root mean square. NaN where no row has a
    partner.
    """
    compared = [pair for pair in pairs if not pair.nothing]
    if not compared:
        return "rms", 0.0
    if any(pair.apart for pair in compared):
        rows = np.concatenate([pair.apart[name] for pair in compared])
        return "median row", float(np.median(rows)) if rows.size else math.nan
    differences = [(p.observed[name].astype(np.float64) - p.expected[name]).ravel() for p in compared]
    return "rms", rms(np.concatenate(differences))


def paired(task: Task, observed: Outputs, expected: Outputs) -> Pair:
    """The outputs as they are, or detections matched."""
    return matched(observed, expected) if task == "detection" else Pair(observed, expected)


def matched(observed: Outputs, expected: Outputs) -> Pair:
    """Pairs each image's rows; `location` [B, N, 4], `score` [B, N] and `category` [B, N]."""
    pairs: list[tuple[int, int, int]] = []
    rows = np.zeros(2, int)
    left: list[int] = []  # of each pair, how many of its image are not compared
    lost: tuple[int, int, float] | None = None
    for image in range(len(expected["score"])):
        theirs, ours = (np.flatnonzero(outputs["score"][image] != 0) for outputs in (observed, expected))
        rows += len(theirs), len(ours)
        found = partners(
            expected["location"][image][ours],
            expected["category"][image][ours],
            observed["location"][image][theirs],
            observed["score"][image][theirs],
            observed["category"][image][theirs],
        )
        pairs += [(image, int(ours[i]), int(theirs[j])) for i, j in found]
        most = math.ceil(COMPARED_SHARE * max(len(theirs), len(ours)))
        left.append(max(len(found) - most, 0))
        for i in sorted(set(range(len(ours))) - {i for i, _ in found}):
            score = float(expected["score"][image][ours[i]])
            if lost is None or score > lost[2]:
                lost = (image, int(ours[i]), score)
    at, own, other = (np.array([pair[k] for pair in pairs], int) for k in range(3))
    mine = {name: expected[name][at, own] for name in COMPARED}
    got = {name: observed[name][at, other] for name in COMPARED}
    apart = {name: _farthest(got[name], mine[name]) for name in COMPARED}
    kept = {name: _nearest(apart[name], at, left) for name in COMPARED}
    return Pair(
        observed={name: got[name][kept[name]] for name in COMPARED},
        expected={name: mine[name][kept[name]] for name in COMPARED},
        share=2 * len(pairs) / int(rows.sum()) if rows.any() else 1.0,
        lost=lost,
        nothing=not rows.any(),
        rows=(int(rows[0]), int(rows[1])),
        apart=apart,
    )


def _farthest(observed: Array, expected: Array) -> Array:
    """[m, ...] -> [m]: the greatest difference in each row."""
    apart = np.abs(observed.astype(np.float64) - expected)
    return np.asarray(apart.max(axis=tuple(range(1, apart.ndim))))


def _nearest(apart: Array, images: Array, left: Sequence[int]) -> Array:
    """The rows [n] to compare, in their order: of each image all but its `left` farthest."""
    kept = []
    for image, count in enumerate(left):
        rows = np.flatnonzero(images == image)
        kept.append(rows[np.argsort(apart[rows], kind="stable")[: len(rows) - count]])
    return np.sort(np.concatenate([*kept, np.empty(0, int)]))


def ties(rows: int, tied: float = TIED) -> int:
    """How many of `rows` detections a right run may have otherwise, by ties of proposals (Poisson)."""
    return int(poisson.isf(FALSE_ALARMS, rows * tied)) if rows else 0


def partners(
    boxes: Array, kinds: Array, their_boxes: Array, their_scores: Array, their_kinds: Array
) -> list[tuple[int, int]]:
    """Pairs (i, j) of rows of one image: corners [n, 4] and [m, 4], kinds [n] and [m], scores [m].

    NaN, in a score too, is no match.
    """
    overlap = overlaps(boxes, their_boxes)
    same = (kinds[:, None] == their_kinds[None]) & np.isfinite(their_scores)[None]
    value = np.where(same & (overlap >= LEAST_OVERLAP), overlap, 0.0)
    pairs = zip(*linear_sum_assignment(value, maximize=True), strict=True)
    return [(int(i), int(j)) for i, j in pairs if value[i, j]]


def overlaps(first: Array, second: Array) -> Array:
    """[n, 4] and [m, 4] corners -> [n, m]: intersection over union, 0 for boxes without area."""
    first, second = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    area = [np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1) for boxes in (first, second)]
    union = area[0] + area[1] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
