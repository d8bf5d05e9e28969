"""Claims that need no reference: the same question asked another way, the same answer.

Images together and apart, in another order, once more, in a file loaded anew, on more threads
(metamorphic relations: Chen et al., ACM Computing Surveys 51(1), 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from modelparity.converters.engine.workbench import Feeds, Outputs
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.parity.claims.basic import number, same_bytes, unlike, verdict
from modelparity.parity.metrics.detection_matching import paired
from modelparity.parity.metrics.errors import Array, decibels, difference
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

Tolerance = FloatTolerance | QuantizedTolerance
THREADS = 2  # two are enough to split every loop, and every machine has them


class Run(Protocol):
    """Runs the file: outputs by name, one dictionary a feed."""

    def __call__(self, feeds: Sequence[Feeds], fresh: bool = ..., threads: int = ...) -> list[Outputs]: ...


def batches(
    run: Run, reference: Reference, singles: Sequence[Outputs], sizes: Sequence[int], tolerance: Tolerance
) -> list[Claim]:
    """Batches, in reversed order, against their images one at a time; one claim an output."""
    names = tuple(reference.outputs)
    wanted = ", ".join(map(str, sizes))
    because = f"a batch (of {wanted}) is its images one at a time; exporters freeze the traced batch silently"
    if isinstance(tolerance, QuantizedTolerance):
        because += "; where int8 ranges span the batch, that must cost no more than int8 itself"
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
        found = _distances(reference, together, apart, tolerance, "batch", because, detail)
        if isinstance(found, Claim):
            return [found]
        for name, noise in found.items():
            if name not in worst or not noise <= worst[name][0]:
                worst[name] = (noise, detail)
    return [_within(reference, name, *worst[name], tolerance, "batch", because) for name in worst]


def again(run: Run, reference: Reference, outputs: Sequence[Outputs]) -> list[Claim]:
    """The first image once more, and in the file loaded anew: the same bytes."""
    feed = reference.feeds[0]
    same, *_ = run([feed])
    fresh, *_ = run([feed], fresh=True)
    return [
        same_bytes("repeatable", outputs[0], same, "same file, same image, same session: same bytes"),
        same_bytes("reloadable", outputs[0], fresh, "same file loaded anew, same image: same bytes"),
    ]


def threads(
    run: Run, reference: Reference, outputs: Sequence[Outputs], tolerance: Tolerance, ran: int = 1
) -> list[Claim]:
    """The first image on two threads, or on one if the outputs `ran` on two; one claim an output."""
    because = "threads sum in another order, and may change nothing else"
    other = 1 if ran == THREADS else THREADS
    (split,) = run(reference.feeds[:1], threads=other)
    detail = f"{other} threads against {ran}, on {reference.names[0]}"
    found = _distances(reference, split, outputs[0], tolerance, "threads", because, detail)
    if isinstance(found, Claim):
        return [found]
    return [
        _within(reference, name, noise, detail, tolerance, "threads", because)
        for name, noise in found.items()
    ]


def padding(
    run: Run,
    reference: Reference,
    truth_of: Callable[[Feeds], tuple[Outputs, Mapping[str, float]]],
    singles: Sequence[Outputs],
    tolerance: Tolerance,
) -> tuple[list[Claim], str]:
    """The first image with its last eighth of rows and columns made blank: what does not see them stays.

    One claim a map of the image, or why there is none: the network in float64 says whether it is so local.
    """
    if reference.task == "detection":
        return [], _RESIZED
    maps = [name for name in reference.floors if reference.outputs[name][0].ndim == 4]
    if not maps:
        return [], "no output is a map of the image, so every value of it sees the padding"
    image = reference.feeds[0]["image"].copy()
    image[:, :, image.shape[2] * 7 // 8 :] = 0
    image[:, :, :, image.shape[3] * 7 // 8 :] = 0
    expected, _ = truth_of({"image": image})
    moved = {name: difference(_away(expected[name]), _away(reference.outputs[name][0])).rms for name in maps}
    local = [name for name in maps if moved[name] <= reference.floors[name] / 1000]
    if not local:
        shares = ", ".join(
            f"{name} by {moved[name] / reference.spread(name):.2g} of its spread" for name in maps
        )
        return (
            [],
            f"the network sees the whole image everywhere: padding in a corner moves {shares}, in float64",
        )
    (padded,) = run([{"image": image}])
    # Two runs of an error each: a half of the power of their difference is one's.
    apart = {n: difference(_away(padded[n]), _away(singles[0][n])).rms / math.sqrt(2) for n in local}
    detail = f"{reference.names[0]}, its last eighth of rows and columns blank, against the whole image"
    because = "a value that does not see the padding stays; files that pad, tile or pool otherwise move it"
    return [_within(reference, n, apart[n], detail, tolerance, "padding", because) for n in local], ""


def _away(value: Array) -> Array:
    """The part of a map [B, C, H, W] that is an eighth of the image or more from the padding."""
    return value[:, :, : value.shape[2] * 3 // 4, : value.shape[3] * 3 // 4]


_RESIZED = (
    "the network resizes every image to one size, so padding makes its objects smaller: in float64, 0.20 to "
    "0.36 of the detections found a partner after 32 of 320 pixels were added"
)


def _distances(
    reference: Reference,
    got: Outputs,
    expected: Outputs,
    tolerance: Tolerance,
    claim: str,
    because: str,
    detail: str,
) -> dict[str, float] | Claim:
    """Root-mean-square differences by output, or the claim that too few detections match."""
    pair = paired(reference.task, got, expected)
    if isinstance(tolerance, FloatTolerance):
        otherwise, allowed = unlike(reference, [pair], tolerance)
        if otherwise > allowed:
            return Claim(
                claim, "failed", otherwise, allowed, because, unit="detections", detail=detail, sense="<="
            )
    elif pair.share < tolerance.matched:
        return Claim(
            claim, "failed", number(pair.share), tolerance.matched, because, detail=detail, sense=">="
        )
    return {name: pair.rms(name) for name in reference.floors}


def _within(
    reference: Reference, name: str, noise: float, detail: str, tolerance: Tolerance, claim: str, because: str
) -> Claim:
    """Float files within their bound in floors, quantized ones within the budget of the worst image."""
    bound: Any
    if isinstance(tolerance, FloatTolerance):
        ratio, bound = noise / reference.floors[name], tolerance.floors
        status = verdict(ratio <= bound)
        return Claim(claim, status, number(ratio), bound, because, name, "floors", detail, "<=")
    sqnr, bound = decibels(reference.spread(name) ** 2, noise**2), tolerance.worst_sqnr_db[name]
    return Claim(claim, verdict(sqnr >= bound), number(sqnr), bound, because, name, "dB", detail, ">=")
