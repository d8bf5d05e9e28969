"""Matches the detections of two runs one to one, and measures how far matched rows are apart.

A row is a box (`location`, corners in 0..1), its `score`, 0 where the row is padding, and its
`category`. Two boxes match if they are of one category and overlap (IoU) by half or more; of all
ways to pair them the one with the greatest total overlap is taken (Kuhn, 1955: the assignment problem).

A partner may be another box: a detector selects and suppresses proposals by scores that are not among its
outputs, and where two of them tie, rounding decides. Such a row tells nothing about the arithmetic, and
outweighs all others by orders of magnitude (in float32 5e-3 beside 6e-8). So numbers are compared without
each image's worst twentieth of rows. How many rows differ is counted separately, and few may (`ties`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.parity.metrics.chance import FALSE_ALARMS
from modelparity.parity.metrics.errors import difference

LEAST_OVERLAP = 0.5
COMPARED = ("location", "score")  # `category` is equal by the matching
COMPARED_SHARE = 0.95  # of an image's rows; the numbers of the others are not compared
# Ties of proposals decide one in 17,000 detections of right float32 files (14 evaluation sets of 1,200), so
# at most one in 3,000 (Poisson, 95 %).
TIED = 1 / 3000


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images, laid out so that equal places can be compared.

    For detections, `observed` and `expected` hold the matched rows [n, ...] of all images, in the reference's
    order. Where more than `COMPARED_SHARE` of an image's rows have a partner, those farthest apart are left
    out, for each output separately.

    Attributes:
        share: 2 m / (rows observed + rows expected) for the m rows with a partner; 1 where both are empty.
        lost: The highest-scored expected row without a partner, as (image, row, score); None if all have one.
        nothing: Neither run detected anything, which is an agreement. An output without elements is not.
        rows: How many rows were observed and how many expected.
        apart: By output, the greatest difference within each of the m pairs of rows.
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

    def error(self, name: str, rounded: bool) -> float:
        """Root mean square difference of an output; of detections that were `rounded`, the median row's.

        There a few rows come from another proposal, and would dominate a root mean square: on 24 images of
        each of Faster R-CNN's int8 files, a right file's was up to 5.6 dB farther from the simulated rounding
        than that of a perturbed run, of 6 dB allowed, and its median row up to 1.8 dB.
        """
        rows = self.apart.get(name) if rounded else None
        return self.rms(name) if rows is None or not rows.size else float(np.median(rows))

    def unlike(self, bounds: Mapping[str, float]) -> int:
        """Rows, of the run with more of them, that have no partner within `bounds` in every number."""
        alike = [self.apart[name] <= bound for name, bound in bounds.items() if name in self.apart]
        return max(self.rows) - int(np.count_nonzero(np.all(alike, axis=0))) if alike else 0


def matched(observed: Outputs, expected: Outputs) -> Pair:
    """Pairs each image's rows; `location` [B, N, 4], `score` [B, N] and `category` [B, N]."""
    pairs: list[tuple[int, int, int]] = []
    rows = np.zeros(2, int)
    excluded: list[int] = []  # for each image, how many of its pairs are not compared
    lost: tuple[int, int, float] | None = None
    for image in range(len(expected["score"])):
        theirs, ours = (np.flatnonzero(outputs["score"][image] != 0) for outputs in (observed, expected))
        rows += len(theirs), len(ours)
        matches = partners(
            expected["location"][image][ours],
            expected["category"][image][ours],
            their_boxes=observed["location"][image][theirs],
            their_scores=observed["score"][image][theirs],
            their_kinds=observed["category"][image][theirs],
        )
        pairs += [(image, int(ours[i]), int(theirs[j])) for i, j in matches]
        most = math.ceil(COMPARED_SHARE * max(len(theirs), len(ours)))
        excluded.append(max(len(matches) - most, 0))
        for i in sorted(set(range(len(ours))) - {i for i, _ in matches}):
            score = float(expected["score"][image][ours[i]])
            if lost is None or score > lost[2]:
                lost = (image, int(ours[i]), score)
    at, own, other = (np.array([pair[k] for pair in pairs], int) for k in range(3))
    mine = {name: expected[name][at, own] for name in COMPARED}
    got = {name: observed[name][at, other] for name in COMPARED}
    apart = {name: _farthest(got[name], mine[name]) for name in COMPARED}
    nearest = {name: _nearest(apart[name], at, excluded) for name in COMPARED}
    return Pair(
        observed={name: got[name][nearest[name]] for name in COMPARED},
        expected={name: mine[name][nearest[name]] for name in COMPARED},
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


def _nearest(apart: Array, images: Array, excluded: Sequence[int]) -> Array:
    """The rows [n] to compare, in their order: of each image all but its `excluded` farthest."""
    nearest = []
    for image, count in enumerate(excluded):
        rows = np.flatnonzero(images == image)
        nearest.append(rows[np.argsort(apart[rows], kind="stable")[: len(rows) - count]])
    return np.sort(np.concatenate([*nearest, np.empty(0, int)]))


def ties(rows: int, tied: float = TIED) -> int:
    """How many of `rows` detections may differ in a right run, by ties of proposals (Poisson)."""
    from scipy.stats import poisson

    return int(poisson.isf(FALSE_ALARMS, rows * tied)) if rows else 0


def ties_like(seen: int, of_rows: int, rows: int) -> int:
    """How many of `rows` detections may differ, where a right run differed in `seen` of `of_rows`.

    The rate is at most that which would show so few with a probability of 5 % (Garwood, Biometrika 28, 1936).
    """
    from scipy.stats import chi2

    return ties(rows, float(chi2.isf(0.05, 2 * seen + 2)) / 2 / of_rows) if of_rows else 0


def partners(
    boxes: Array, kinds: Array, *, their_boxes: Array, their_scores: Array, their_kinds: Array
) -> list[tuple[int, int]]:
    """Matched rows (i, j) of one image: corners [n, 4] and [m, 4], categories [n] and [m], scores [m].

    A NaN, in a score too, matches nothing.
    """
    from scipy.optimize import linear_sum_assignment

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
