"""Makes the claims `constant_image` and `no_object`, on an image of one mid-grey.

In a photograph rounding errors average out. Where every pixel is the same, all places of a layer make the
same error, and errors add up. A detector that detects nothing there must return no row with a score, and pad
as the network pads.
"""

from __future__ import annotations

import numpy as np

from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.claims.metamorphic import NOT_KNOWN, NOT_SIMULATED, PADDED, Run, padded
from modelparity.parity.reference import GENERATED, Reference, ReferenceData
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

_LEVEL = 0.5  # between black, 0, and white, 1
GREY = "grey"  # how `rounded_reference` is asked for it


def grey(truth: ReferenceData) -> dict[str, Array]:
    """One mid-grey image [1, 3, N, N], normalised for the network."""
    normal = truth.subject.photographs.preprocessing
    shape = truth.reference.feeds[0]["image"].shape
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (normal.mean, normal.std))
    return {"image": np.broadcast_to((np.float32(_LEVEL) - mean) / std, shape).astype(np.float32)}


def in_other_settings(truth: ReferenceData) -> dict[str, Feeds]:
    """The feeds of `constant_image` and `padding`, for which it must be known what a right file computes."""
    return {GREY: grey(truth), PADDED: padded(truth.reference)}


def constant_image(
    run: Run, truth: ReferenceData, right: RoundedReference | None
) -> tuple[list[Claim], dict[str, str]]:
    """One claim for each output on a mid-grey image, or the reason why it is not asked.

    `right` is None where it is not known what a right file computes.
    """
    if right is None:
        return [], {"constant_image": NOT_KNOWN}
    reference, feed = right.reference, grey(truth)
    if reference.unrounded and GREY not in right.others:
        return [], {"constant_image": NOT_SIMULATED}
    (outputs,) = run([feed])
    expected, noise = truth.generated.of(feed)
    pair = reference.kind.paired(outputs, right.others.get(GREY, expected))
    moved = {}
    if GREY in right.perturbed:
        ties = reference.kind.paired(right.perturbed[GREY], right.others[GREY])
        moved = {name: ties.rms(name) for name in reference.floors}
    claims = []
    for name, usual in reference.floors.items():
        # The ties of a flat image are few, because all places share them: chance makes larger ratios.
        bound = 2 * reference.allowed(name) if reference.rounded else GENERATED
        floor = max(moved.get(name, 0.0) if reference.rounded else noise[name].rms, usual)
        claims.append(_constant(name, reference, pair.rms(name), floor=floor, bound=bound))
    return claims, {}


def no_object(run: Run, truth: ReferenceData) -> tuple[list[Claim], dict[str, str]]:
    """A detector's claim on a mid-grey image, and the claims that are not asked, with the reason."""
    feed = grey(truth)
    (outputs,) = run([feed])
    expected, _ = truth.generated.of(feed)
    not_asked = {"constant_image": _TIED}
    if detected := int(np.count_nonzero(expected["score"])):
        reason = f"the network itself detects {detected} objects in a grey image"
        return [], {"no_object": reason, **not_asked}
    return [_no_object(outputs, expected)], not_asked


def _constant(name: str, reference: Reference, error: float, *, floor: float, bound: float) -> Claim:
    detail = f"rms error {error:.3g}; that of {reference.noise_words} is {floor:.3g}"
    because = reference.multiples.because if reference.rounded else _BECAUSE
    ratio = error / floor
    return Claim(
        "constant_image",
        verdict(ratio <= bound),
        number(ratio),
        number(bound, 3),
        because,
        name,
        "floors",
        detail,
        "<=",
    )


_BECAUSE = (
    "in a constant image all places of a layer make the same error, so errors add up instead of averaging "
    "out: a right file reaches 27 floors"
)


_TIED = (
    "proposals in a flat image tie, so rounding decides which are returned: a right float file has 5 of 100 "
    "boxes elsewhere, and in right int8 files 0.60 to 0.95 of the detections have a partner"
)


def _no_object(outputs: Outputs, expected: Outputs) -> Claim:
    """Where the reference detects nothing, every row equals its padding."""
    detected = int(np.count_nonzero(outputs["score"]))
    odd = [name for name in expected if not np.array_equal(outputs[name], expected[name])]
    observed = f"{detected} objects" if detected else f"{', '.join(odd)} not as padding" if odd else _NOTHING
    return Claim(
        "no_object",
        verdict(not odd),
        observed,
        _NOTHING,
        "callers must see that an image has no object: no score, and rows padded as by the network",
        detail=""
        if not detected
        else f"best score {float(np.max(outputs['score'])):.3g} on a mid-grey image",
    )


_NOTHING = "no object, every row padding"
