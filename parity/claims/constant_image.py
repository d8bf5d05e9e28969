"""The claims `constant_image` and `no_object`: an image that shows nothing, in which errors add up.

In a photograph rounding errors average out; where every pixel is the same, all places of a layer err
alike. A detector that finds nothing there must say so: no row with a score, and padding as the network pads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelparity.converters.engine.workbench import Outputs
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.claims.metamorphic import Run
from modelparity.parity.metrics.detection_matching import paired
from modelparity.parity.metrics.errors import Array, decibels
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

if TYPE_CHECKING:
    from modelparity.parity.reference import ReferenceData

# Of 30 right quantized files one lies 7.5 dB below its worst photograph's budget there (Tiny-LaDeDa's score,
# int8_static), the others less; the same file differs by up to 2.3 dB from CPU to CPU.
SLACK_DB = 12.0
_BECAUSE_SLACK = (
    f"{SLACK_DB:g} dB below the worst photograph's budget: right int8 lies up to 7.5 dB below, a file that "
    "takes another way for flat images far below"
)
GREY = 0.5  # of what black is 0 and white 1


def grey(truth: ReferenceData) -> dict[str, Array]:
    """A feed of one mid-grey image, as the network is fed."""
    normal = truth.subject.spec.preprocessing
    shape = truth.reference.feeds[0]["image"].shape
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (normal.mean, normal.std))
    return {"image": np.broadcast_to((np.float32(GREY) - mean) / std, shape).astype(np.float32)}


def image(
    run: Run, truth: ReferenceData, tolerance: FloatTolerance | QuantizedTolerance
) -> tuple[list[Claim], dict[str, str]]:
    """The claims about a mid-grey image, and those that are not asked of this network, with the reason."""
    reference, feed = truth.reference, grey(truth)
    (outputs,) = run([feed])
    expected, floors = truth.drawn.of(feed)
    made: list[Claim] = []
    left: dict[str, str] = {}
    if reference.task == "detection":
        if found := int(np.count_nonzero(expected["score"])):
            left["no_object"] = f"in a grey image the network itself finds {found} objects, so it shows some"
        else:
            made.append(_no_object(outputs, expected))
        left["constant_image"] = _TIED
        return made, left
    pair = paired(reference.task, outputs, expected)
    for name in reference.floors:
        made.append(
            _constant(name, pair.rms(name), max(floors[name], reference.floors[name]), reference, tolerance)
        )
    return made, left


def _constant(
    name: str,
    error: float,
    floor: float,
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
    "in a constant image all places of a layer err alike, and their errors add up instead of averaging out"
)


_TIED = (
    "proposals in a flat image tie, so rounding chooses which come out: a right float file has 5 of 100 "
    "boxes elsewhere, and of right int8 files 0.60 to 0.95 of the detections have a partner there"
)


def _no_object(outputs: Outputs, expected: Outputs) -> Claim:
    """Where the reference finds nothing, every row is its padding."""
    found = int(np.count_nonzero(outputs["score"]))
    odd = [name for name in expected if not np.array_equal(outputs[name], expected[name])]
    observed = f"{found} objects" if found else f"{', '.join(odd)} not as padding" if odd else _NOTHING
    return Claim(
        "no_object",
        verdict(not odd),
        observed,
        _NOTHING,
        "callers must be told of an image without any object: no score, and rows padded as the network does",
        detail="" if not found else f"best score {float(np.max(outputs['score'])):.3g} on a mid-grey image",
    )


_NOTHING = "no object, every row padding"
