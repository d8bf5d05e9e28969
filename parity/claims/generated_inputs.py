"""Makes the claims on generated images and on one of another size; shrinks an image that fails a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.fixtures.inputs.strategies import GeneratedImage, images
from modelparity.fixtures.inputs.tensors import GeneratedFeeds, feeds_strategy, sample
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import BATCH
from modelparity.parity.claims import basic
from modelparity.parity.claims.kind_claims import KindClaims
from modelparity.parity.claims.metamorphic import Run
from modelparity.parity.reference import GENERATED, Reference, ReferenceData
from modelparity.parity.results import Claim

Generated = GeneratedImage | GeneratedFeeds
# Runs that may be spent on shrinking an example.
SHRINK_RUNS = 25
LARGEST_BATCH = 2
TELLS_NOTHING = "the network itself does not run, or is not finite"


class _SpentError(BaseException):
    """Ends the search from within; not an Exception, so hypothesis lets it through."""


@dataclass(frozen=True)
class Falsified:
    """The simplest generated image for which the check failed, and the check's message."""

    input: Generated
    message: str


def falsify(
    subject: ModelUnderTest,
    check: Callable[[Generated], str],
    draws: int,
    seeded: int = 0,
    *,
    shrink: bool = True,
) -> Falsified | None:
    """Generates inputs until `check` returns a message other than ""; None if it never does.

    A seed generates the same inputs in every run and every format. Without `shrink`, the input of the answer
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
    @given(generated=_strategy(subject))
    def search(generated: Generated) -> None:
        nonlocal runs_since
        if failures:
            runs_since += 1
            if runs_since > SHRINK_RUNS:
                raise _SpentError
        if message := check(generated):
            failures.append(Falsified(generated, message))
            raise AssertionError(message)

    try:
        search()
    except (_SpentError, AssertionError):
        if not failures:
            raise
    return failures[-1] if failures else None


def _strategy(subject: ModelUnderTest) -> st.SearchStrategy[Generated]:
    if isinstance(subject.spec, ProgramSpec):
        return feeds_strategy(subject.spec, LARGEST_BATCH)
    return images(subject.photographs, st.integers(1, LARGEST_BATCH), subject.input_size)


def generated_inputs(
    subject: ModelUnderTest,
    check: Callable[[Generated], str],
    draws: int,
    seeded: int = 0,
    *,
    shrink: bool = True,
) -> Claim:
    """Constant, extreme and synthetic images: finite and in range; float files within 60 floors."""
    told = 0

    def counted(generated: Generated) -> str:
        nonlocal told
        problem = check(generated)
        told += problem != TELLS_NOTHING
        return "" if problem == TELLS_NOTHING else problem

    falsified = falsify(subject, counted, draws, seeded, shrink=shrink)
    if not told:
        return Claim(
            "generated_inputs",
            "inconclusive",
            "none runs",
            f"{draws} drawn inputs hold",
            "an input on which the network itself does not run, or is not finite, tells nothing",
            detail=f"{TELLS_NOTHING}: declare what it takes with --range, or give samples with --data",
        )
    return Claim(
        "generated_inputs",
        basic.verdict(falsified is None),
        "all hold" if falsified is None else falsified.input.description,
        f"{draws} drawn inputs hold",
        "a network meets more than ordinary inputs: constants, extremes, noise, values out of range",
        detail=falsified.message if falsified else "",
    )


def any_size(photograph: Array, check: Callable[[Generated], str]) -> Claim:
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


def other_extents(
    subject: ModelUnderTest, check: Callable[[Generated], str]
) -> tuple[list[Claim], dict[str, str]]:
    """The claim on inputs whose dynamic axes, but the batch, have another extent, or why it is not asked."""
    spec = subject.spec
    assert isinstance(spec, ProgramSpec)
    usual = {
        axis: extent
        for port in spec.inputs
        for axis, extent in zip(port.shape, port.extents(), strict=True)
        if isinstance(axis, str) and axis != BATCH
    }
    if not usual:
        return [], {}
    extents = {name: spec.another_extent(name, extent) for name, extent in usual.items()}
    words = ", ".join(f"{name} {extent}" for name, extent in extents.items())
    problem = check(GeneratedFeeds(words, sample(spec, "modelparity:extents", extents=extents)))
    if problem == TELLS_NOTHING:
        return [], {"any_size": f"{TELLS_NOTHING} at {words}: declare what it takes with --dim"}
    claim = Claim(
        "any_size",
        basic.verdict(not problem),
        problem or "holds",
        f"holds at {words}",
        "these axes are dynamic; exporters silently freeze the traced extent",
    )
    return [claim], {}


def problem_on(
    generated: Generated,
    run: Run,
    truth: ReferenceData,
    by_kind: KindClaims,
    *,
    dynamic: bool,
    is_float: bool,
) -> str:
    """What is wrong on an input; "" if outputs are finite, in range and, for float files, right.

    Where the format has no `dynamic` batch, the samples of a batch run one at a time. An input on which the
    network itself is not finite, or does not run, tells nothing.
    """
    signature, feeds = truth.subject.signature, generated.feeds
    expected: Outputs = {}
    if isinstance(truth.subject.spec, ProgramSpec):
        try:
            expected, _ = truth.generated.of(feeds)
        except WorkerFailedError:
            return TELLS_NOTHING
        if not all(np.isfinite(value).all() for value in expected.values()):
            return TELLS_NOTHING
    try:
        outputs = _together(run, feeds, truth.reference, dynamic)
    except WorkerFailedError as error:
        return f"does not run: {error}"
    runs = [(generated.description, outputs)]
    claims = [
        _shaped_as(outputs, expected)
        if expected
        else basic.outputs_as_declared(runs, signature, _samples(feeds, truth.reference)),
        basic.finite(runs),
        *basic.in_range(runs, signature),
    ]
    for claim in claims:
        if not claim.passed:
            return f"{claim.name}: {claim.observed}, but should be {claim.bound} {claim.detail}"
    return _off_reference(generated, outputs, truth, by_kind) if is_float else ""


def _shaped_as(outputs: Outputs, expected: Outputs) -> Claim:
    """Outputs of the shapes that the network itself gives."""
    got, due = (
        ", ".join(f"{name} {list(value.shape)}" for name, value in sorted(each.items()))
        for each in (outputs, expected)
    )
    return Claim("outputs", basic.verdict(got == due), got, due, "as the network gives them")


def _off_reference(generated: Generated, outputs: Outputs, truth: ReferenceData, by_kind: KindClaims) -> str:
    """How a float file's outputs leave the bounds; "" if they do not."""
    reference = truth.reference
    expected, noise = truth.generated.of(generated.feeds)
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


def _samples(feeds: Feeds, reference: Reference) -> int:
    """How many samples the feeds hold."""
    name = next(iter(feeds))
    return feeds[name].shape[reference.batch_axes.get(name, 0) or 0]


def _together(run: Run, feeds: Feeds, reference: Reference, dynamic: bool) -> Outputs:
    """Outputs of the feeds, which may hold a batch."""
    axes = {name: reference.batch_axes.get(name, 0) for name in feeds}
    if dynamic or None in axes.values():
        return run([feeds])[0]
    singles = run(
        [
            {name: value.take([index], axis=axes[name]) for name, value in feeds.items()}
            for index in range(_samples(feeds, reference))
        ]
    )
    return {name: reference.stacked([outputs[name] for outputs in singles], name) for name in singles[0]}
