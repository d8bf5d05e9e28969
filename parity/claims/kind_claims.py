"""Gathers the claims that depend on the kind of output: one value for each task, in `KIND_CLAIMS`.

How a kind is paired and compared stands in `modelparity.parity.output_kinds`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.specs import ModelSpec, Task
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.claims.constant_image import constant_image, no_object
from modelparity.parity.claims.decisions import decisions, label_or_mask, message_parts
from modelparity.parity.claims.detection_decisions import objects
from modelparity.parity.claims.detections import detections, ordered_corners, share_matched
from modelparity.parity.claims.metamorphic import RESIZED, Run, padding
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim

Tolerance = FloatTolerance | QuantizedTolerance
NotAsked = dict[str, str]  # claims that are left out, and why


@dataclass(frozen=True)
class KindClaims:
    """The claims on one kind of output.

    Attributes:
        decisions: One claim for each kind of decision, from the outputs of every image of the reference.
        structure: Claims on how the values of labelled runs are laid out.
        matches: Claims on how many rows match the reference's.
        share_matched: Share of one image's rows that match, 0..1, and the least that may; None for arrays.
        constant_image: Claims on a mid-grey image, and those that are not asked, with the reason.
        padding: Claims on an image with a blank border, and those that are not asked, with the reason.
    """

    decisions: Callable[[Reference, Sequence[Outputs], Tolerance, ModelSpec], list[Claim]]
    structure: Callable[[Sequence[tuple[str, Outputs]]], list[Claim]] = lambda _: []
    matches: Callable[[Reference, Sequence[Pair], Tolerance], list[Claim]] = lambda *_: []
    share_matched: Callable[[Reference, Pair, Mapping[str, float], Tolerance], tuple[float, float] | None] = (
        lambda *_: None
    )
    constant_image: Callable[[Run, ReferenceData, Tolerance], tuple[list[Claim], NotAsked]] = constant_image
    padding: Callable[[Run, ReferenceData, Sequence[Outputs], Tolerance], tuple[list[Claim], NotAsked]] = (
        padding
    )


KIND_CLAIMS: dict[Task, KindClaims] = {
    "map": KindClaims(functools.partial(decisions, parts=label_or_mask)),
    "detection": KindClaims(
        objects,
        structure=lambda runs: [ordered_corners(runs)],
        matches=detections,
        share_matched=share_matched,
        constant_image=lambda run, truth, _: no_object(run, truth),
        padding=lambda *_: ([], {"padding": RESIZED}),
    ),
    "message": KindClaims(functools.partial(decisions, parts=message_parts)),
}
