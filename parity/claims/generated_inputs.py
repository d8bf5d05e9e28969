"""Inputs that nobody photographed: hypothesis draws them, and shrinks the one that breaks a claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from modelparity.converters.engine.workbench import ModelUnderTest
from modelparity.fixtures.inputs.strategies import GeneratedImage, images

# Runs that shrinking may spend on a smaller example, once one is found.
SHRINK_RUNS = 25
LARGEST_BATCH = 2


class _SpentError(BaseException):
    """Ends the search from within; not an Exception, so hypothesis lets it through."""


@dataclass(frozen=True)
class Falsified:
    """The simplest drawn input found for which the check failed, and what the check said."""

    drawn: GeneratedImage
    message: str


def falsify(
    subject: ModelUnderTest, check: Callable[[GeneratedImage], str], draws: int, seeded: int = 0
) -> Falsified | None:
    """Draws inputs until `check` returns a message other than "".

    A seed draws the same in every run and every format.
    """
    found: list[Falsified] = []
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
    @given(drawn=images(subject.spec, st.integers(1, LARGEST_BATCH), subject.input_size))
    def search(drawn: GeneratedImage) -> None:
        nonlocal runs_since
        if found:
            runs_since += 1
            if runs_since > SHRINK_RUNS:
                raise _SpentError
        if message := check(drawn):
            found.append(Falsified(drawn, message))
            raise AssertionError(message)

    try:
        search()
    except (_SpentError, AssertionError):
        if not found:
            raise
    return found[-1] if found else None
