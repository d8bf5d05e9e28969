"""Detections are a set: they are matched one to one before anything is compared, never zipped by row.

A row is a box (`location`, corners in 0..1), its `score`, 0 where the row is padding, and its
`category`. Two boxes match if they are of one category and overlap (IoU) by half or more; of all
ways to pair them the one with the greatest total overlap is taken (Kuhn, 1955: the assignment problem).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from fixtures.specs import Task
from parity.metrics import Array, difference

Outputs = Mapping[str, Array]
LEAST_OVERLAP = 0.5
COMPARED = ("location", "score")  # `category` is equal by the matching


@dataclass(frozen=True)
class Pair:
    """Two runs on the same images, so laid out that equal places can be compared.

    Of detections these are the matched rows [m, ...] of all images, in the reference's order. `share` is
    2 m / (rows observed + rows expected), 1 where both are empty; `lost` is the highest-scored expected row
    without a partner, as (image, row, score), None if each has one. `nothing` says that neither run detected
    anything, which is an agreement; an output that is empty by itself is none.
    """

    observed: Outputs
    expected: Outputs
    share: float = 1.0
    lost: tuple[int, int, float] | None = None
    nothing: bool = False

    def rms(self, name: str) -> float:
        """Root mean square difference of an output; 0 where neither run detected anything."""
        return 0.0 if self.nothing else difference(self.observed[name], self.expected[name]).rms


def paired(task: Task, observed: Outputs, expected: Outputs) -> Pair:
    """The outputs as they are, or detections matched."""
    return matched(observed, expected) if task == "detection" else Pair(observed, expected)


def matched(observed: Outputs, expected: Outputs) -> Pair:
    """Pairs each image's rows; `location` [B, N, 4], `score` [B, N] and `category` [B, N]."""
    pairs: list[tuple[int, int, int]] = []
    rows = 0
    lost: tuple[int, int, float] | None = None
    for image in range(len(expected["score"])):
        theirs, ours = (np.flatnonzero(outputs["score"][image] != 0) for outputs in (observed, expected))
        rows += len(theirs) + len(ours)
        found = partners(
            expected["location"][image][ours],
            expected["category"][image][ours],
            observed["location"][image][theirs],
            observed["score"][image][theirs],
            observed["category"][image][theirs],
        )
        pairs += [(image, int(ours[i]), int(theirs[j])) for i, j in found]
        for i in sorted(set(range(len(ours))) - {i for i, _ in found}):
            score = float(expected["score"][image][ours[i]])
            if lost is None or score > lost[2]:
                lost = (image, int(ours[i]), score)
    at, own, other = (np.array([pair[k] for pair in pairs], int) for k in range(3))
    return Pair(
        observed={name: observed[name][at, other] for name in COMPARED},
        expected={name: expected[name][at, own] for name in COMPARED},
        share=2 * len(pairs) / rows if rows else 1.0,
        lost=lost,
        nothing=not rows,
    )


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
