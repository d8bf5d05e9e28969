"""Tells outputs that are in each other's files from outputs that are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.parity.claims.detection.matches import unlike
from modelparity.parity.reference import Reference


def exchanged(reference: Reference, outputs: Sequence[Outputs]) -> dict[int, int]:
    """By image, the image whose outputs it was given, where images got one another's; {} if none did.

    Images are exchanged if each of them is outside the bounds in its own place and nearest to another one's
    reference, if these others are the same images, and if each is beyond doubt the other's: inside the bounds
    there, or nearer to its reference than half the distance to any further image (the unique decoding of an
    error-correcting code: Hamming, Bell System Technical Journal 29, 1950). Of outputs of few values, which
    are near one another by chance, only the bounds decide.

    Right outputs are inside the bounds in their own places, so that they are never called exchanged.
    """
    images = range(min(len(outputs), len(reference.feeds)))
    wrong = [image for image in images if not _right(reference, outputs[image], image)]
    if len(wrong) < 2:
        return {}
    apart = np.array([[_apart(reference, outputs[i], j) for j in images] for i in images])
    nearest = {image: int(np.argmin(apart[image])) for image in wrong if np.isfinite(apart[image]).any()}
    moved = {image: other for image, other in nearest.items() if other != image}
    if set(moved) != set(moved.values()):
        return {}
    certain = all(
        _right(reference, outputs[image], other) or apart[image, other] < _radius(reference, other, images)
        for image, other in moved.items()
    )
    return moved if certain else {}


def _right(reference: Reference, outputs: Outputs, image: int) -> bool:
    """Whether outputs are inside the bounds of an image's reference."""
    pair = reference.kind.paired(outputs, _expected(reference, image))
    different, allowed = unlike(reference, [pair])
    return different <= allowed and _apart(reference, outputs, image) <= 1


def _apart(reference: Reference, outputs: Outputs, image: int) -> float:
    """How far outputs are from an image's reference, in bounds, by the output that is farthest."""
    pair = reference.kind.paired(outputs, _expected(reference, image))
    if pair.rows != (0, 0) and pair.share == 0:
        return np.inf  # no detection has a partner
    errors = [
        reference.error(pair, name) / (floor * reference.allowed(name))
        for name, floor in reference.floors.items()
    ]
    return float(np.nan_to_num(max(errors), nan=np.inf))


def _radius(reference: Reference, image: int, images: range) -> float:
    """Half of the distance from an image's reference to the nearest other one; 0 where that says nothing."""
    if all(map(reference.few, reference.floors)) or reference.kind.rows_vary:
        return 0.0
    own = _expected(reference, image)
    return min((_apart(reference, own, other) for other in images if other != image), default=0.0) / 2


def _expected(reference: Reference, image: int) -> dict[str, Array]:
    return {name: values[image] for name, values in reference.outputs.items()}
