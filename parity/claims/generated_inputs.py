"""Makes the claims on generated images and on one of another size; shrinks an image that fails a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from modelparity.converters.engine.workbench import ModelUnderTest
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.inputs.strategies import GeneratedImage, images
from modelparity.parity.claims import basic
from modelparity.parity.claims.kind_claims import KindClaims
from modelparity.parity.claims.metamorphic import Run
from modelparity.parity.reference import GENERATED, ReferenceData
from modelparity.parity.results import Claim

# Runs that may be spent on shrinking an example.
SHRINK_RUNS = 25
LARGEST_BATCH = 2


class _SpentError(BaseException):
    """Ends the search from within; not an Exception, so hypothesis lets it through."""


@dataclass(frozen=True)
class Falsified:
    """The simplest generated image for which the check failed, and the check's message."""

    image: GeneratedImage
    message: str


def falsify(
    subject: ModelUnderTest,
    check: Callable[[GeneratedImage], str],
    draws: int,
    seeded: int = 0,
    *,
    shrink: bool = True,
) -> Falsified | None:
    """Generates images until `check` returns a message other than ""; None if it never does.

    A seed generates the same images in every run and every format. Without `shrink`, the image of the answer
    is the first that fails.
    """
    failures: list[Falsified] = []
    runs_since = 0

    @seed(seeded)
    @settings(
        max_examples=draws,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(image=images(subject.spec, st.integers(1, LARGEST_BATCH), subject.input_size))
    def search(image: GeneratedImage) -> None:
        nonlocal runs_since
        if failures:
            runs_since += 1
            if runs_since > SHRINK_RUNS:
                raise _SpentError
        if message := check(image):
            failures.append(Falsified(image, message))
            raise AssertionError(message)

    try:
        search()
    except (_SpentError, AssertionError):
        if not failures:
            raise
    return failures[-1] if failures else None


def generated_inputs(
    subject: ModelUnderTest,
    check: Callable[[GeneratedImage], str],
    draws: int,
    seeded: int = 0,
    *,
    shrink: bool = True,
) -> Claim:
    """Constant, extreme and synthetic images: finite and in range; float files within 60 floors."""
    falsified = falsify(subject, check, draws, seeded, shrink=shrink)
    return Claim(
        "generated_inputs",
        basic.verdict(falsified is None),
        "all hold" if falsified is None else falsified.image.description,
        f"{draws} drawn inputs hold",
        "a network meets more than photographs: black, white, noise, edges, values out of range",
        detail=falsified.message if falsified else "",
    )


def any_size(photograph: Array, check: Callable[[GeneratedImage], str]) -> Claim:
    """A part of a photograph [1, 3, H, W], of another size and shape."""
    height, width = photograph.shape[2] * 3 // 4, photograph.shape[3] * 7 // 8
    part = photograph[:, :, :height, :width].copy()
    problem = check(GeneratedImage(f"{height} x {width} pixels of a photograph", part))
    return Claim(
        "any_size",
        basic.verdict(not problem),
        problem or "holds",
        f"holds at {height} x {width} pixels",
        "the network takes images of any size; exporters silently freeze the traced one",
    )


def problem_on(
    image: GeneratedImage,
    run: Run,
    truth: ReferenceData,
    by_kind: KindClaims,
    *,
    dynamic: bool,
    is_float: bool,
) -> str:
    """What is wrong on an image; "" if outputs are finite, in range and, for float files, right.

    Where the format has no `dynamic` batch, the images of a batch run one at a time.
    """
    signature = truth.subject.signature
    try:
        outputs = _together(run, image.array, dynamic)
    except WorkerFailedError as error:
        return f"does not run: {error}"
    runs = [(image.description, outputs)]
    claims = [
        basic.outputs_as_declared(runs, signature, len(image.array)),
        basic.finite(runs),
        *basic.in_range(runs, signature),
    ]
    for claim in claims:
        if not claim.passed:
            return f"{claim.name}: {claim.observed}, but should be {claim.bound} {claim.detail}"
    return _off_reference(image, outputs, truth, by_kind) if is_float else ""


def _off_reference(image: GeneratedImage, outputs: Outputs, truth: ReferenceData, by_kind: KindClaims) -> str:
    """How a float file's outputs leave the bounds; "" if they do not."""
    reference = truth.reference
    expected, noise = truth.generated.of(image.feeds)
    pair = reference.kind.paired(outputs, expected)
    if matched := by_kind.share_matched(reference, pair, noise):
        share, least = matched
        if share < least:
            return f"{share:.3g} of the detections match, but should be {least:g}"
    for name in noise:
        ratio = pair.rms(name) / max(noise[name].rms, reference.floors[name])
        if not ratio <= GENERATED:
            return f"{name} is {ratio:.3g} floors off, but should be within {GENERATED:g}"
    return ""


def _together(run: Run, images: Array, dynamic: bool) -> Outputs:
    """Outputs of [N, ...] images."""
    if dynamic:
        return run([{"image": images}])[0]
    singles = run([{"image": image[None]} for image in images])
    return {name: np.concatenate([outputs[name] for outputs in singles]) for name in singles[0]}
