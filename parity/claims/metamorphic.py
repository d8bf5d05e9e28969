"""Makes the claims that need no reference: the same input in another setting must give the same output.

Images are run in batches and alone, in another order, again, in a file loaded anew, and on more threads
(metamorphic relations: Chen et al., ACM Computing Surveys 51(1), 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.claims.basic import number, same_bytes, verdict
from modelparity.parity.claims.detections import unlike
from modelparity.parity.metrics.errors import decibels, difference
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim

Tolerance = FloatTolerance | QuantizedTolerance
THREADS = 2  # enough to split every loop, and every machine has two


class Run(Protocol):
    """Runs the file: outputs by name, one dictionary a feed."""

    def __call__(self, feeds: Sequence[Feeds], fresh: bool = ..., threads: int = ...) -> list[Outputs]: ...


def batches(
    run: Run, reference: Reference, singles: Sequence[Outputs], *, sizes: Sequence[int], tolerance: Tolerance
) -> list[Claim]:
    """Batches, in reversed order, against their images one at a time; one claim for each output."""
    names = tuple(reference.outputs)
    wanted = ", ".join(map(str, sizes))
    because = (
        f"a batch (of {wanted}) equals its images one at a time; exporters silently freeze the traced batch"
    )
    if isinstance(tolerance, QuantizedTolerance):
        because += "; int8 ranges that span the batch must cost no more than int8 itself"
    worst: dict[str, tuple[float, str]] = {}
    for size in sizes:
        feeds = reference.feeds[:size][::-1]
        stacked = {"image": np.concatenate([feed["image"] for feed in feeds])}
        try:
            (together,) = run([stacked])
        except WorkerFailedError as error:
            return [Claim("batch", "failed", str(error), f"runs batch {size}", because)]
        apart = {name: np.concatenate([o[name] for o in singles[:size][::-1]]) for name in names}
        for name in names:
            got = together.get(name)
            if got is None or got.shape != apart[name].shape:
                shape = "no output" if got is None else str(list(got.shape))
                return [Claim("batch", "failed", shape, str(list(apart[name].shape)), because, output=name)]
        detail = f"worst at batch {size}, reversed, against {size} single runs"
        noises = _distances(
            reference, together, apart, tolerance=tolerance, claim="batch", because=because, detail=detail
        )
        if isinstance(noises, Claim):
            return [noises]
        for name, noise in noises.items():
            if name not in worst or not noise <= worst[name][0]:
                worst[name] = (noise, detail)
    return [
        _within(reference, name, noise, detail=detail, tolerance=tolerance, claim="batch", because=because)
        for name, (noise, detail) in worst.items()
    ]


def again(run: Run, reference: Reference, outputs: Sequence[Outputs]) -> list[Claim]:
    """The first image again, in the same session and in the file loaded anew: the same bytes."""
    feed = reference.feeds[0]
    same, *_ = run([feed])
    fresh, *_ = run([feed], fresh=True)
    return [
        same_bytes("repeatable", outputs[0], same, "same file, same image, same session: same bytes"),
        same_bytes("reloadable", outputs[0], fresh, "same file loaded anew, same image: same bytes"),
    ]


def threads(
    run: Run, reference: Reference, outputs: Sequence[Outputs], tolerance: Tolerance, *, ran: int = 1
) -> list[Claim]:
    """The first image on two threads, or on one if the outputs `ran` on two; one claim for each output."""
    because = "threads may change the order of summation, and nothing else"
    other = 1 if ran == THREADS else THREADS
    (split,) = run(reference.feeds[:1], threads=other)
    detail = f"{other} threads against {ran}, on {reference.names[0]}"
    noises = _distances(
        reference, split, outputs[0], tolerance=tolerance, claim="threads", because=because, detail=detail
    )
    if isinstance(noises, Claim):
        return [noises]
    return [
        _within(reference, name, noise, detail=detail, tolerance=tolerance, claim="threads", because=because)
        for name, noise in noises.items()
    ]


def padding(
    run: Run, truth: ReferenceData, singles: Sequence[Outputs], tolerance: Tolerance
) -> tuple[list[Claim], dict[str, str]]:
    """The first image with its last eighth of rows and columns blank: values far from there do not change.

    One claim for each output that is a map of the image, or the reason why it is not asked. A map is judged
    only if the network in float64 passes this test itself.
    """
    reference = truth.reference
    maps = [name for name in reference.floors if reference.outputs[name][0].ndim == 4]
    if not maps:
        return [], {"padding": "no output is a map of the image, so every value depends on the padding"}
    image = reference.feeds[0]["image"].copy()
    image[:, :, image.shape[2] * 7 // 8 :] = 0
    image[:, :, :, image.shape[3] * 7 // 8 :] = 0
    expected, _ = truth.generated.of({"image": image})
    moved = {name: difference(_away(expected[name]), _away(reference.outputs[name][0])).rms for name in maps}
    local = [name for name in maps if moved[name] <= reference.floors[name] / 1000]
    if not local:
        shares = ", ".join(
            f"{name} by {moved[name] / reference.spread(name):.2g} of its spread" for name in maps
        )
        reason = f"every value depends on the whole image: in float64, padding in a corner moves {shares}"
        return [], {"padding": reason}
    (padded,) = run([{"image": image}])
    # Each of the two runs has its error: half of the power of their difference is one run's.
    apart = {n: difference(_away(padded[n]), _away(singles[0][n])).rms / math.sqrt(2) for n in local}
    detail = f"{reference.names[0]}, its last eighth of rows and columns blank, against the whole image"
    because = "values far from the padding do not change, unless a file pads, tiles or pools differently"
    claims = [
        _within(reference, n, apart[n], detail=detail, tolerance=tolerance, claim="padding", because=because)
        for n in local
    ]
    return claims, {}


def _away(value: Array) -> Array:
    """The part of a map [B, C, H, W] that is an eighth of the image or more from the padding."""
    return value[:, :, : value.shape[2] * 3 // 4, : value.shape[3] * 3 // 4]


RESIZED = (
    "the network resizes every image to one size, so padding makes its objects smaller: in float64, 0.20 to "
    "0.36 of the detections had a partner after 32 of 320 pixels were added"
)


def _distances(
    reference: Reference,
    got: Outputs,
    expected: Outputs,
    *,
    tolerance: Tolerance,
    claim: str,
    because: str,
    detail: str,
) -> dict[str, float] | Claim:
    """Root-mean-square differences by output, or the claim that too few detections match."""
    pair = reference.kind.paired(got, expected)
    if isinstance(tolerance, FloatTolerance):
        different, allowed = unlike(reference, [pair], tolerance)
        if different > allowed:
            return Claim(
                claim, "failed", different, allowed, because, unit="detections", detail=detail, sense="<="
            )
    elif pair.share < tolerance.matched:
        return Claim(
            claim, "failed", number(pair.share), tolerance.matched, because, detail=detail, sense=">="
        )
    return {name: pair.rms(name) for name in reference.floors}


def _within(
    reference: Reference,
    name: str,
    noise: float,
    *,
    detail: str,
    tolerance: Tolerance,
    claim: str,
    because: str,
) -> Claim:
    """Float files stay within their bound in floors, quantized ones within the worst image's budget."""
    bound: Any
    if isinstance(tolerance, FloatTolerance):
        ratio, bound = noise / reference.floors[name], tolerance.floors
        status = verdict(ratio <= bound)
        return Claim(claim, status, number(ratio), bound, because, name, "floors", detail, "<=")
    sqnr, bound = decibels(reference.spread(name) ** 2, noise**2), tolerance.worst_sqnr_db[name]
    return Claim(claim, verdict(sqnr >= bound), number(sqnr), bound, because, name, "dB", detail, ">=")
