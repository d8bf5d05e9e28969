"""Does any decision change? What callers act on - labels, bits, masks, rankings, objects - with its margin.

Which decision is read off which output is the spec's to say (`TensorSpec.decision`, `ModelSpec.task`).
Margins are of the outputs as they are delivered. For a probability that is the distance to one half,
not the logit's to 0: both say the same of a flip, but noise floors and budgets are of what comes out, and
the logit of a float32 near 1 has no digits left, whose error would drown those near one half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelparity.fixtures.specs import ModelSpec
from modelparity.parity.claims.detection_decisions import objects
from modelparity.parity.claims.margins import Decided, claim_of, error_bound
from modelparity.parity.claims.ranking import ranking, top_patches
from modelparity.parity.metrics.errors import Array
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

Outputs = Mapping[str, Array]


def decisions(
    reference: Reference,
    outputs: Sequence[Outputs],
    tolerance: FloatTolerance | QuantizedTolerance,
    spec: ModelSpec,
) -> list[Claim]:
    """One claim a kind of decision; none for outputs that nobody decides by.

    `outputs` are the file's, one dictionary a sample of the reference, in its shapes.
    """
    if spec.task == "detection":
        return [objects(reference, outputs, tolerance, spec)]
    claims = []
    for output in spec.outputs:
        name = output.name
        observed = [got[name] for got in outputs]
        if output.decision == "none":
            continue
        bound = error_bound(reference, name, tolerance, differences=output.decision == "ranking")
        if output.decision == "ranking":
            if spec.values.get("pooling") != "mean":  # a mean of all patches chooses none
                claims.append(top_patches(reference, name, observed, bound))
            claims.append(ranking(reference, name, observed, bound))
            continue
        threshold = 0.5 if output.decision == "probability" else 0.0
        single = all(value.size == 1 for value in reference.outputs[name])
        if spec.task == "message":
            parts = {"confidence": ("signs of the confidence", slice(1)), "bits": ("bits", slice(1, None))}
        elif single:
            parts = {"label": ("labels", slice(None))}
        else:
            parts = {"mask": ("pixels", slice(None))}
        for part, (kind, columns) in parts.items():
            decided = [
                sides(name, expected, got, threshold, columns)
                for expected, got in zip(reference.outputs[name], observed, strict=True)
            ]
            shown = _overlap(reference, name, observed, threshold) if part == "mask" else ""
            alike = _alike(reference.outputs[name], threshold, columns)
            claims.append(claim_of(part, name, kind, reference, decided, bound, shown, alike))
    return claims


def sides(name: str, expected: Array, got: Array, threshold: float, columns: slice) -> Decided:
    """On which side of a threshold each value [1, n, ...] lies; on it is neither. `columns` are of axis 1."""
    truth, seen = expected[:, columns].astype(np.float64), got[:, columns].astype(np.float64)
    margin = np.abs(truth - threshold)
    flipped = np.where(np.sign(seen - threshold) != np.sign(truth - threshold), margin, 0.0)
    flipped[~np.isfinite(seen)] = np.inf

    def words(index: int) -> str:
        at = tuple(int(i) for i in np.unravel_index(index, truth.shape))
        place = (at[0], at[1] + (columns.start or 0), *at[2:])
        return f"{name}{list(place)}: reference {truth[at]:.6g}, observed {seen[at]:.6g}"

    return Decided(margin, flipped, words)


def _alike(expected: Sequence[Array], threshold: float, columns: slice) -> str:
    """Says so where the reference has one answer only: a constant would give it, too."""
    values = np.concatenate([value[:, columns].ravel() for value in expected])
    above = int((values > threshold).sum())
    return f"all {values.size} alike in the reference" if above in (0, values.size) else ""


def _overlap(reference: Reference, name: str, observed: Sequence[Array], threshold: float) -> str:
    """Intersection over union of the masks above the threshold; 1 where both are empty."""
    scores = []
    for expected, got in zip(reference.outputs[name], observed, strict=True):
        first, second = expected > threshold, got > threshold
        union = int((first | second).sum())
        scores.append(int((first & second).sum()) / union if union else 1.0)
    worst = int(np.argmin(scores))
    return f"mask IoU at worst {scores[worst]:.4g} in {reference.names[worst]}, mean {np.mean(scores):.4g}"
