"""Makes the claims on the same input in another setting, which must give the same output.

Images are run in batches and alone, in another order, again, in a file loaded anew, and on more threads
(metamorphic relations: Chen et al., ACM Computing Surveys 51(1), 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.parity.claims.basic import number, same_bytes, verdict
from modelparity.parity.claims.detection.matches import unlike
from modelparity.parity.metrics.errors import difference
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

PADDED = "padded"  # how `rounded_reference` is asked for the padded image
NOT_KNOWN = "what a right file computes is not known: see `simulated`"
NOT_SIMULATED = "what a right file gives here is not simulated for a network of this size"
THREADS = 2  # enough to split every loop, and every machine has two


class Run(Protocol):
    """Runs the file: outputs by name, one dictionary a feed."""

    def __call__(self, feeds: Sequence[Feeds], fresh: bool = ..., threads: int = ...) -> list[Outputs]: ...


def batches(
    run: Run, right: RoundedReference, singles: Sequence[Outputs], *, sizes: Sequence[int]
) -> list[Claim]:
    """Batches, in reversed order, against their images one at a time; one claim for each output.

    Where ranges span the batch, `right` has what a right file gives for a batch of each size, and what a
    perturbed run gives: a wider range has coarser steps, so that ties move more.
    """
    reference = right.reference
    names = tuple(reference.outputs)
    wanted = ", ".join(map(str, sizes))
    because = (
        f"a batch (of {wanted}) equals its images one at a time; exporters silently freeze the traced batch"
    )
    worst: dict[str, tuple[float, str]] = {}
    for size in sizes:
        try:
            (together,) = run([batch_of(reference, size)])
        except WorkerFailedError as error:
            return [Claim("batch", "failed", str(error), f"runs batch {size}", because)]
        apart = {name: reference.stacked([o[name] for o in singles[:size][::-1]], name) for name in names}
        detail = f"worst at batch {size}, reversed, against {size} single runs"
        if (simulated := right.others.get(batch_name(size))) is not None:
            apart = dict(simulated)
            detail = f"worst at batch {size}, reversed, against its simulated rounding, whose ranges span it"
        for name in names:
            got = together.get(name)
            if got is None or got.shape != apart[name].shape:
                shape = "no output" if got is None else str(list(got.shape))
                return [Claim("batch", "failed", shape, str(list(apart[name].shape)), because, output=name)]
        errors = _distances(reference, together, apart, claim="batch", because=because, detail=detail)
        if isinstance(errors, Claim):
            return [errors]
        wider = _wider(reference, apart, right.perturbed.get(batch_name(size)))
        for name, distance in errors.items():
            apart_by = distance / wider.get(name, 1.0)
            if name not in worst or not apart_by <= worst[name][0]:
                worst[name] = (apart_by, detail)
    return [
        _within(reference, name, apart_by, detail=detail, claim="batch", because=because)
        for name, (apart_by, detail) in worst.items()
    ]


def asked_of_batches(
    run: Run, right: RoundedReference | None, singles: Sequence[Outputs], sizes: Sequence[int]
) -> tuple[list[Claim], dict[str, str]]:
    """The claims on batches of these sizes, or the reason why they are not asked, by their name."""
    known, reason = right.batches(sizes) if right else ([], NOT_KNOWN)
    if right and known:
        return batches(run, right, singles, sizes=known), {}
    return [], {"batch": reason}


def _wider(reference: Reference, simulated: Outputs, perturbed: Outputs | None) -> dict[str, float]:
    """By output, how many times as far ties move it in a batch as in a single image; 1 at least."""
    if not perturbed:
        return {}
    pair = reference.kind.paired(perturbed, simulated)
    return {name: max(1.0, reference.error(pair, name) / floor) for name, floor in reference.floors.items()}


def batch_name(size: int) -> str:
    return f"batch {size}"


def batch_of(reference: Reference, size: int) -> dict[str, Array]:
    """The first images of the evaluation set in one feed, in reversed order."""
    feeds = reference.feeds[:size][::-1]
    return {name: reference.stacked([feed[name] for feed in feeds], name) for name in feeds[0]}


def again(run: Run, reference: Reference, outputs: Sequence[Outputs]) -> list[Claim]:
    """The first image again, in the same session and in the file loaded anew: the same bytes."""
    feed = reference.feeds[0]
    same, *_ = run([feed])
    fresh, *_ = run([feed], fresh=True)
    return [
        same_bytes("repeatable", outputs[0], same, "same file, same image, same session: same bytes"),
        same_bytes("reloadable", outputs[0], fresh, "same file loaded anew, same image: same bytes"),
    ]


def threads(run: Run, reference: Reference, outputs: Sequence[Outputs], *, ran: int = 1) -> list[Claim]:
    """The first image on two threads, or on one if the outputs `ran` on two; one claim for each output."""
    because = "threads may change the order of summation, and nothing else"
    other = 1 if ran == THREADS else THREADS
    (split,) = run(reference.feeds[:1], threads=other)
    detail = f"{other} threads against {ran}, on {reference.names[0]}"
    errors = _distances(reference, split, outputs[0], claim="threads", because=because, detail=detail)
    if isinstance(errors, Claim):
        return [errors]
    return [
        _within(reference, name, error, detail=detail, claim="threads", because=because)
        for name, error in errors.items()
    ]


def padded(reference: Reference) -> dict[str, Array]:
    """The first image with its last eighth of rows and columns blank."""
    image = reference.feeds[0]["image"].copy()
    image[:, :, image.shape[2] * 7 // 8 :] = 0
    image[:, :, :, image.shape[3] * 7 // 8 :] = 0
    return {"image": image}


def padding(
    run: Run, truth: ReferenceData, right: RoundedReference | None, singles: Sequence[Outputs]
) -> tuple[list[Claim], dict[str, str]]:
    """An image with a blank border (`padded`): values far from there do not change.

    One claim for each output that is a map of the image, or the reason why it is not asked. A map is judged
    only if the network in float64 passes this test itself. A blank border changes ranges that are found at
    run time; so where the reference rounds, a file is compared with what a right one gives for the padded
    image. `right` is None where it is not known what a right file computes.
    """
    exact = truth.reference
    maps = [name for name in exact.floors if exact.outputs[name][0].ndim == 4]
    if not maps:
        return [], {"padding": "no output is a map of the image, so every value depends on the padding"}
    feed = padded(exact)
    expected, _ = truth.generated.of(feed)
    moved = {name: difference(_away(expected[name]), _away(exact.outputs[name][0])).rms for name in maps}
    local = [name for name in maps if moved[name] <= exact.floors[name] / 1000]
    if not local:
        shares = ", ".join(f"{name} by {moved[name] / exact.spread(name):.2g} of its spread" for name in maps)
        reason = f"every value depends on the whole image: in float64, padding in a corner moves {shares}"
        return [], {"padding": reason}
    if right is None:
        return [], {"padding": NOT_KNOWN}
    reference = right.reference
    if reference.rounded and PADDED not in right.others:
        return [], {"padding": NOT_SIMULATED}
    simulated = right.others[PADDED] if reference.rounded else None
    (got,) = run([feed])
    detail = f"{exact.names[0]}, its last eighth of rows and columns blank, against the whole image"
    if simulated is None:
        # Each of the two runs has its error: half of the power of their difference is one run's.
        apart = {n: difference(_away(got[n]), _away(singles[0][n])).rms / math.sqrt(2) for n in local}
    else:
        apart = {n: difference(_away(got[n]), _away(simulated[n])).rms for n in local}
        detail = detail.replace("the whole image", "its simulated rounding")
    because = "values far from the padding do not change, unless a file pads, tiles or pools differently"
    claims = [_within(reference, n, apart[n], detail=detail, claim="padding", because=because) for n in local]
    return claims, {}


def _away(value: Array) -> Array:
    """The part of a map [B, C, H, W] that is an eighth of the image or more from the padding."""
    return value[:, :, : value.shape[2] * 3 // 4, : value.shape[3] * 3 // 4]


RESIZED = (
    "the network resizes every image to one size, so padding makes its objects smaller: in float64, 0.20 to "
    "0.36 of the detections had a partner after 32 of 320 pixels were added"
)


def _distances(
    reference: Reference, got: Outputs, expected: Outputs, *, claim: str, because: str, detail: str
) -> dict[str, float] | Claim:
    """Differences by output, as `Reference.error` has them, or the claim that too many detections differ."""
    pair = reference.kind.paired(got, expected)
    different, allowed = unlike(reference, [pair])
    if different > allowed:
        return Claim(
            claim, "failed", different, allowed, because, unit="detections", detail=detail, sense="<="
        )
    return {name: reference.error(pair, name) for name in reference.floors}


def _within(reference: Reference, name: str, error: float, *, detail: str, claim: str, because: str) -> Claim:
    ratio, bound = error / reference.floors[name], reference.allowed(name)
    status = verdict(ratio <= bound)
    return Claim(claim, status, number(ratio), number(bound, 3), because, name, "floors", detail, "<=")
