"""Makes the claims `constant_image` and `no_object`, on an image of one mid-grey.

In a photograph rounding errors average out. Where every pixel is the same, all places of a layer make the
same error, and errors add up. A detector that detects nothing there must return no row with a score, and pad
as the network pads.
"""

from __future__ import annotations

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.claims.metamorphic import Run
from modelparity.parity.metrics.errors import decibels
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim

# Of 30 right quantized files the worst is 7.5 dB below the budget of its worst photograph (Tiny-LaDeDa's
# score, int8_static); the same file differs by up to 2.3 dB between CPUs.
SLACK_DB = 12.0
_BECAUSE_SLACK = (
    f"{SLACK_DB:g} dB below the worst photograph's budget: right int8 files are up to 7.5 dB below it, files "
    "that treat flat images differently far more"
)
GREY = 0.5  # between black, 0, and white, 1


def grey(truth: ReferenceData) -> dict[str, Array]:
    """One mid-grey image [1, 3, N, N], normalised for the network."""
    normal = truth.subject.spec.preprocessing
    shape = truth.reference.feeds[0]["image"].shape
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (normal.mean, normal.std))
    return {"image": np.broadcast_to((np.float32(GREY) - mean) / std, shape).astype(np.float32)}


def constant_image(
    run: Run, truth: ReferenceData, tolerance: FloatTolerance | QuantizedTolerance
) -> tuple[list[Claim], dict[str, str]]:
    """One claim for each output on a mid-grey image; no claim is left out."""
    reference, feed = truth.reference, grey(truth)
    (outputs,) = run([feed])
    expected, floors = truth.generated.of(feed)
    pair = reference.kind.paired(outputs, expected)
    claims = [
        _constant(name, pair.rms(name), max(floors[name], floor), reference=reference, tolerance=tolerance)
        for name, floor in reference.floors.items()
    ]
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


def _constant(
    name: str,
    error: float,
    floor: float,
    *,
    reference: Reference,
    tolerance: FloatTolerance | QuantizedTolerance,
) -> Claim:
    detail = f"rms error {error:.3g}; the network's own float32 error is {floor:.3g} there or on a photograph"
    if isinstance(tolerance, FloatTolerance):
        ratio, bound = error / floor, tolerance.generated_floors
        because = f"{_BECAUSE}; {tolerance.because}"
        return Claim(
            "constant_image",
            verdict(ratio <= bound),
            number(ratio),
            bound,
            because,
            name,
            "floors",
            detail,
            "<=",
        )
    sqnr = decibels(reference.spread(name) ** 2, error**2)
    bound = tolerance.worst_sqnr_db[name] - SLACK_DB
    because = f"{_BECAUSE}; {_BECAUSE_SLACK}"
    return Claim(
        "constant_image", verdict(sqnr >= bound), number(sqnr), bound, because, name, "dB", detail, ">="
    )


_BECAUSE = (
    "in a constant image all places of a layer make the same error, so errors add up instead of averaging out"
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
