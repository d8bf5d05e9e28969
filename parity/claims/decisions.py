"""Makes the claims on decisions: labels, bits, masks and rankings, which callers act on.

The spec says which decision is read from which output (`TensorSpec.decision`). A margin is measured on the
output as it is delivered: for a probability it is the distance to one half, not the logit's distance to 0.
Both flip together, but noise is measured on the delivered output. And a logit that is
recomputed from a probability near 1 has few digits left, so that its error would set too wide a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.specs import NetworkSpec
from modelparity.parity.claims.margins import Decided, Decisions, claim_of, error_bound
from modelparity.parity.claims.ranking import ranking, top_patches
from modelparity.parity.metrics.chance import changed_decisions
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim, DecisionRecord


@dataclass(frozen=True)
class Part:
    """One claim's decisions: what they are, in the plural, and the `columns` of axis 1 that they are in."""

    claim: str
    plural: str
    columns: slice


@dataclass(frozen=True)
class Side:
    """A decision that is the same everywhere: values of `output` from column `start` of axis 1 to `end`.

    All are `above` the threshold, or none is.
    """

    output: str
    threshold: float
    start: int | None
    end: int | None
    above: bool


def label_or_mask(expected: Sequence[Array]) -> list[Part]:
    """One value for each image is a label, several are a mask."""
    single = all(value.size == 1 for value in expected)
    return [Part("label", "labels", slice(None)) if single else Part("mask", "pixels", slice(None))]


def message_parts(_: Sequence[Array]) -> list[Part]:
    """The first value says whether there is a message, the others are its bits."""
    return [
        Part("confidence", "confidences", slice(1)),
        Part("bits", "bits", slice(1, None)),
    ]


def taken(
    reference: Reference,
    outputs: Sequence[Outputs],
    spec: NetworkSpec,
    *,
    parts: Callable[[Sequence[Array]], list[Part]],
) -> list[Decisions]:
    """The decisions that are read from the outputs, by kind; none for outputs without one.

    `outputs` are the file's, one dictionary for each image of the reference, in its shapes. `parts` says
    which decisions are read from an output's reference values.
    """
    kinds = []
    for output in spec.outputs:
        name = output.name
        expected, observed = reference.outputs[name], [got[name] for got in outputs]
        if output.decision == "none":
            continue
        if output.decision == "ranking":
            if spec.values.get("pooling") != "mean":  # a mean of all patches selects none
                kinds.append(top_patches(reference, name, observed))
            kinds.append(ranking(reference, name, observed))
            continue
        threshold = 0.5 if output.decision == "probability" else 0.0
        for part in parts(expected):
            decided = tuple(
                at_threshold(name, truth, got, threshold, columns=part.columns)
                for truth, got in zip(expected, observed, strict=True)
            )
            shown = _overlap(reference, name, observed, threshold) if part.claim == "mask" else ""
            alike = _alike(reference.unrounded.get(name, expected), threshold, part.columns)
            kinds.append(Decisions(part.claim, name, part.plural, decided, shown=shown, alike=alike))
    return kinds


def decisions(
    reference: Reference,
    outputs: Sequence[Outputs],
    spec: NetworkSpec,
    *,
    parts: Callable[[Sequence[Array]], list[Part]],
) -> list[Claim]:
    """One claim for each kind of decision (`taken`)."""
    runs = reference.right_runs
    right = taken(reference.first(len(runs)), runs, spec, parts=parts) if runs else []
    by_name = {(each.claim, each.output): each for each in right}
    claims = []
    for each in taken(reference, outputs, spec, parts=parts):
        bound = error_bound(reference, each.output, each.differences)
        claims.append(claim_of(each, reference, bound, by_name.get((each.claim, each.output))))
    return claims


def one_sided(
    reference: Reference, spec: NetworkSpec, *, parts: Callable[[Sequence[Array]], list[Part]]
) -> list[Side]:
    """The decisions at a threshold that the reference takes alike on every image."""
    sides = []
    for output in spec.outputs:
        if output.decision not in ("sign", "probability"):
            continue
        threshold = 0.5 if output.decision == "probability" else 0.0
        for part in parts(reference.outputs[output.name]):
            if _alike(reference.outputs[output.name], threshold, part.columns):
                above = bool((reference.outputs[output.name][0][:, part.columns] > threshold).any())
                sides.append(Side(output.name, threshold, part.columns.start, part.columns.stop, above))
    return sides


def changes(
    reference: Reference,
    outputs: Sequence[Outputs],
    spec: NetworkSpec,
    _: Sequence[Pair],
    *,
    parts: Callable[[Sequence[Array]], list[Part]],
) -> list[DecisionRecord]:
    """How many decisions of each kind differ from the reference's, whatever their margin.

    An order of patches is left out: nobody acts on two equal patches that change places.
    """
    return [
        changed_decisions(each.claim, each.plural, each.changed, each.count)
        for each in taken(reference, outputs, spec, parts=parts)
        if each.claim != "ranking"
    ]


def at_threshold(name: str, expected: Array, got: Array, threshold: float, *, columns: slice) -> Decided:
    """Whether each value [1, n, ...] is above, on or below a threshold; `columns` select from axis 1."""
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
    """Text for a reference that decides all alike, as a constant would, too; else ""."""
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
