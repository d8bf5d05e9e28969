"""Makes the claims on detections: how many match the reference, and how boxes and scores are ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.claims.margins import error_bound
from modelparity.parity.metrics.detection_matching import Pair, ties
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim


def detections(
    reference: Reference, pairs: Sequence[Pair], tolerance: FloatTolerance | QuantizedTolerance
) -> list[Claim]:
    """How many detections differ or match, and whether more than one category is ever reported."""
    kinds = sorted({int(kind) for values in reference.outputs["category"] for kind in np.unique(values)})
    return [
        _alike(reference, pairs, tolerance)
        if isinstance(tolerance, FloatTolerance)
        else _partnered(reference, pairs, tolerance),
        Claim(
            "non_constant",
            "passed" if len(kinds) > 1 else "inconclusive",
            ", ".join(map(str, kinds)),
            "more than one",
            because="if the category never changes, a wrong one could not be detected",
            output="category",
        ),
    ]


def _alike(reference: Reference, pairs: Sequence[Pair], tolerance: FloatTolerance) -> Claim:
    """Rows without a partner within the error that a single value may have."""
    different, allowed = unlike(reference, pairs, tolerance)
    most = max(range(len(pairs)), key=lambda i: unlike(reference, [pairs[i]], tolerance)[0])
    return Claim(
        "detections",
        verdict(different <= allowed),
        different,
        allowed,
        because=tolerance.because,
        unit="detections",
        detail=(
            f"{different} of {sum(max(pair.rows) for pair in pairs)} detections differ, most of them in "
            f"{reference.names[most]}{_lost(pairs[most])}; would pass at {different}"
        ),
        sense="<=",
    )


def unlike(reference: Reference, pairs: Sequence[Pair], tolerance: FloatTolerance) -> tuple[int, int]:
    """How many detections differ between the runs, and how many may by ties."""
    bounds = {name: error_bound(reference, name, tolerance).value for name in reference.floors}
    rows = sum(max(pair.rows) for pair in pairs)
    return sum(pair.unlike(bounds) for pair in pairs), ties(rows)


def share_alike(
    reference: Reference, pair: Pair, floors: Mapping[str, float], tolerance: FloatTolerance
) -> float:
    """Fraction of detections on a generated image that match, 0..1; 1.0 if there are none.

    `floors` is float32's error on that image, by output.
    """
    here = {name: max(usual, floors.get(name, 0.0)) for name, usual in reference.floors.items()}
    on_image = replace(reference, floors=here)
    generated = replace(tolerance, floors=tolerance.generated_floors, output_floors={})
    different = pair.unlike({name: error_bound(on_image, name, generated).value for name in here})
    return 1 - different / max(pair.rows) if any(pair.rows) else 1.0


def share_matched(
    reference: Reference,
    pair: Pair,
    floors: Mapping[str, float],
    tolerance: FloatTolerance | QuantizedTolerance,
) -> tuple[float, float]:
    """Fraction of one image's detections that match, 0..1, and the least that the tolerance allows.

    `floors` is float32's error on that image, by output, for a float file.
    """
    if isinstance(tolerance, FloatTolerance):
        return share_alike(reference, pair, floors, tolerance), tolerance.generated_matched
    return pair.share, tolerance.matched


def _partnered(reference: Reference, pairs: Sequence[Pair], tolerance: QuantizedTolerance) -> Claim:
    """The share of rows that have a partner, at any distance."""
    share = float(np.mean([pair.share for pair in pairs]))
    worst = min(range(len(pairs)), key=lambda i: pairs[i].share)
    return Claim(
        "detections",
        verdict(share >= tolerance.matched),
        number(share),
        tolerance.matched,
        because=tolerance.because,
        detail=(
            f"worst sample {reference.names[worst]}: {pairs[worst].share:.3g} of the detections have a "
            f"partner{_lost(pairs[worst])}; would pass at {share:.4g}"
        ),
        sense=">=",
    )


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
