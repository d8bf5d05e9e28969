"""Generates images with hypothesis, and shrinks the one that fails a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from modelparity.converters.engine.workbench import ModelUnderTest
from modelparity.fixtures.inputs.strategies import GeneratedImage, images

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
    subject: ModelUnderTest, check: Callable[[GeneratedImage], str], draws: int, seeded: int = 0
) -> Falsified | None:
    """Generates images until `check` returns a message other than ""; None if it never does.

    A seed generates the same images in every run and every format.
    """
    failures: list[Falsified] = []
    runs_since = 0

    @seed(seeded)
    @settings(
        max_examples=draws,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
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
