"""Makes the claims on detections: how many match the reference, and how boxes and scores are ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelparity.fixtures.arrays import Outputs
from modelparity.parity.claims.basic import verdict
from modelparity.parity.claims.margins import candid, error_bound, too_many
from modelparity.parity.metrics.detection_matching import TIED, Pair, ties, ties_like
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import GENERATED, Reference
from modelparity.parity.results import Claim

# On generated images patterns repeat, so that proposals tie: in a flat one a right float file has 5 of 100
# boxes elsewhere.
GENERATED_MATCHED = 0.9


def detections(reference: Reference, pairs: Sequence[Pair]) -> list[Claim]:
    """How many detections differ from the reference's by more than an error."""
    different, allowed = unlike(reference, pairs)
    bounds = bounds_of(reference)
    most = max(range(len(pairs)), key=lambda i: pairs[i].unlike(bounds))
    rows = sum(max(pair.rows) for pair in pairs)
    claim = Claim(
        "detections",
        verdict(different <= allowed),
        different,
        allowed,
        because=f"only ties may differ: {_tied(reference)}; {reference.multiples.because}",
        unit="detections",
        detail=(
            f"{different} of {rows} detections differ, most of them in "
            f"{reference.names[most]}{_lost(pairs[most])}; would pass at {different}"
        ),
        sense="<=",
    )
    return [candid(claim, too_many(allowed, rows), 0)]


def _tied(reference: Reference) -> str:
    if reference.rounded:
        return f"twice as many as in {reference.noise_words}"
    return f"proposals with equal scores decide at most 1 in {1 / TIED:.0f} detections of a right file"


def bounds_of(reference: Reference) -> dict[str, float]:
    """By output, the greatest error of a single value of a right file."""
    return {name: error_bound(reference, name).value for name in reference.floors}


def unlike(reference: Reference, pairs: Sequence[Pair]) -> tuple[int, int]:
    """How many detections differ from the reference's by more than an error, and how many may by ties."""
    bounds = bounds_of(reference)
    rows = sum(max(pair.rows) for pair in pairs)
    different = sum(pair.unlike(bounds) for pair in pairs)
    if not reference.rounded:
        return different, ties(rows)
    right = reference.paired(reference.right_runs)
    seen, of_rows = sum(pair.unlike(bounds) for pair in right), sum(max(pair.rows) for pair in right)
    return different, ties_like(2 * seen, of_rows, rows)


def share_matched(reference: Reference, pair: Pair, noise: Mapping[str, Noise]) -> tuple[float, float]:
    """Fraction of a float file's detections on one generated image that match, and the least that may.

    `noise` is float32's on that image. Patterns repeat there, so more detections tie than in a photograph.
    """
    bounds = {
        name: GENERATED * max(usual.value, noise[name].value) for name, usual in reference.noise.items()
    }
    share = 1 - pair.unlike(bounds) / max(pair.rows) if any(pair.rows) else 1.0
    return share, GENERATED_MATCHED


def _lost(pair: Pair) -> str:
    if pair.lost is None:
        return ""
    return f", where reference row {pair.lost[1]}, score {pair.lost[2]:.3g}, has no partner"


def ordered_corners(runs: Sequence[tuple[str, Outputs]]) -> Claim:
    """Boxes are x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, best score first."""
    for label, outputs in runs:
        location, score = outputs["location"], outputs["score"]
        crossed = (location[..., :2] > location[..., 2:]).any(axis=-1)
        unsorted = np.diff(score, axis=-1) > 0
        for bad, words in ((crossed, "corners are crossed"), (unsorted, "scores rise")):
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                return Claim(
                    "ordered", "failed", words, _ORDERED, _BECAUSE_ORDERED, detail=f"at {at} for {label}"
                )
    return Claim("ordered", "passed", _ORDERED, _ORDERED, _BECAUSE_ORDERED)


_ORDERED = "corners low to high, scores high to low"
_BECAUSE_ORDERED = "callers crop by the corners and stop reading at a score"
