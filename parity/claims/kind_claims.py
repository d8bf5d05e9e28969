"""Gathers the claims that depend on the kind of output: one value for each task, in `KIND_CLAIMS`.

How a kind is paired and compared stands in `modelparity.parity.output_kinds`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.specs import NetworkSpec, Task
from modelparity.parity.claims import basic, simulated
from modelparity.parity.claims.constant_image import constant_image, in_other_settings, no_object
from modelparity.parity.claims.decisions import (
    Side,
    changes,
    decisions,
    label_or_mask,
    message_parts,
    one_sided,
)
from modelparity.parity.claims.detection.decisions import changed_objects, objects
from modelparity.parity.claims.detection.matches import detections, ordered_corners, share_matched
from modelparity.parity.claims.metamorphic import RESIZED, Run, padding
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim, DecisionRecord
from modelparity.parity.rounded_reference import RoundedReference

NotAsked = dict[str, str]  # claims that are left out, and why


@dataclass(frozen=True)
class KindClaims:
    """The claims on one kind of output.

    Attributes:
        decisions: One claim for each kind of decision, from the outputs of every image of the reference.
        changes: How many decisions of each kind differ from the reference's.
        one_sided: The decisions that the reference takes alike on every image.
        structure: Claims on how the values of labelled runs are laid out.
        matches: Claims on how many rows match the reference's.
        share_matched: Share of a generated image's rows that match, 0..1, and the least that may; None for
            arrays.
        constant_image: Claims on a mid-grey image, and those that are not asked, with the reason.
        padding: Claims on an image with a blank border, and those that are not asked, with the reason. Both
            take None for the reference where it is not known what a right file computes.
        in_other_settings: The feeds of these two claims, by name.
    """

    decisions: Callable[[Reference, Sequence[Outputs], NetworkSpec], list[Claim]]
    changes: Callable[[Reference, Sequence[Outputs], NetworkSpec, Sequence[Pair]], list[DecisionRecord]]
    one_sided: Callable[[Reference, NetworkSpec], list[Side]] = lambda *_: []
    structure: Callable[[Sequence[tuple[str, Outputs]]], list[Claim]] = lambda _: []
    matches: Callable[[Reference, Sequence[Pair]], list[Claim]] = lambda *_: []
    share_matched: Callable[[Reference, Pair, Mapping[str, Noise]], tuple[float, float] | None] = lambda *_: (
        None
    )
    constant_image: Callable[[Run, ReferenceData, RoundedReference | None], tuple[list[Claim], NotAsked]] = (
        constant_image
    )
    padding: Callable[
        [Run, ReferenceData, RoundedReference | None, Sequence[Outputs]], tuple[list[Claim], NotAsked]
    ] = padding
    in_other_settings: Callable[[ReferenceData], dict[str, Feeds]] = in_other_settings


_NO_PICTURE = "the network is not known to take photographs"

KIND_CLAIMS: dict[Task, KindClaims] = {
    "map": KindClaims(
        functools.partial(decisions, parts=label_or_mask),
        functools.partial(changes, parts=label_or_mask),
        functools.partial(one_sided, parts=label_or_mask),
    ),
    "detection": KindClaims(
        objects,
        changed_objects,
        structure=lambda runs: [ordered_corners(runs)],
        matches=detections,
        share_matched=share_matched,
        constant_image=lambda run, truth, *_: no_object(run, truth),
        padding=lambda *_: ([], {"padding": RESIZED}),
        in_other_settings=lambda _: {},
    ),
    "tensors": KindClaims(
        lambda *_: [],
        lambda *_: [],
        constant_image=lambda *_: ([], {"constant_image": _NO_PICTURE}),
        padding=lambda *_: ([], {"padding": _NO_PICTURE}),
        in_other_settings=lambda _: {},
    ),
    "message": KindClaims(
        functools.partial(decisions, parts=message_parts),
        functools.partial(changes, parts=message_parts),
        functools.partial(one_sided, parts=message_parts),
    ),
}


def parity(reference: Reference, pairs: Sequence[Pair]) -> list[Claim]:
    """The claims on how far a file is from what a right one computes."""
    claims = KIND_CLAIMS[reference.task].matches(reference, pairs)
    if reference.rounded:
        return [*claims, *simulated.agree(reference, pairs)]
    return [*claims, *(basic.float_parity(reference, error) for error in reference.errors(pairs))]


def asked_of_outputs(truth: ReferenceData) -> list[str]:
    """The names of the claims on matches and decisions that a file of this network gets."""
    exact, spec = truth.reference, truth.subject.spec
    kind = KIND_CLAIMS[spec.task]
    outputs = [{name: of[i] for name, of in exact.outputs.items()} for i in range(len(exact.feeds))]
    claims = [*kind.matches(exact, exact.paired(outputs)), *kind.decisions(exact, outputs, spec)]
    return list(dict.fromkeys(claim.name for claim in claims))


def images_needed(truth: ReferenceData, least: int) -> int:
    """How many first images, `least` or more, show both sides of every decision of which the whole set does.

    A cast of the weights is exact, so that these images are enough for a file that rounds no activation.
    """
    exact, spec = truth.reference, truth.subject.spec
    sided = KIND_CLAIMS[spec.task].one_sided
    count, known = len(exact.feeds), sided(exact, spec)
    counts = range(min(least, count), count)
    return next((n for n in counts if sided(exact.first(n), spec) == known), count)
