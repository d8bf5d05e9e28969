"""Compares a task metric of two runs on the same samples, with an interval for the difference.

    right_or_wrong(reference, candidate, margin)           what each got right, sample by sample
    per_sample(reference, candidate, margin, span)         a metric of each sample (an IoU), averaged
    of_the_whole(metric, samples, margin, span)            a metric of all samples together (AP)

Each returns a `Compared`: the difference, candidate less reference, where more is better; its 95 % interval;
and a verdict. "no worse": the whole interval is above -margin. "worse": the whole interval is below.
"inconclusive": neither, so the samples are too few, and `needed` is about how many would decide.

The samples are assumed to be a random selection of what the network will meet. Resampling says nothing about
kinds of samples that are not among them: if n samples all agree, the bootstrap's interval has no width. So
the interval is widened by what n samples cannot exclude: with 97.5 %, a kind of sample that is missing makes
up at most u = 1 - 0.025^(1/n) of all (the exact binomial bound for none in n; "rule of three": Hanley and
Lippman-Hand, JAMA 249, 1983), and changes the metric by at most u `span`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
_MOST = 10_000_000
_TINY = 1e-12

Verdict = Literal["no worse", "worse", "inconclusive"]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Compared:
    """Two runs on the same samples; `difference` is `candidate` less `reference`, in the metric's own unit.

    `needed` is about how many samples like these would decide an inconclusive verdict; None if it is decided,
    or if no number would. `p_value` is McNemar's exact one, for both being right equally often; only
    `right_or_wrong` has one.
    """

    samples: int
    reference: float
    candidate: float
    difference: float
    interval: tuple[float, float]
    margin: float
    needed: int | None = None
    p_value: float | None = None

    @property
    def verdict(self) -> Verdict:
        low, high = self.interval
        if low >= -self.margin:
            return "no worse"
        return "worse" if high < -self.margin else "inconclusive"

    @property
    def words(self) -> str:
        """One line: the difference, its interval, the verdict and why."""
        low, high = self.interval
        difference = (
            f"difference {self.difference:+.4g} over {self.samples} samples, {CONFIDENCE:.0%} interval "
            f"{low:+.4g} to {high:+.4g}"
        )
        if self.verdict == "inconclusive":
            enough = (
                f"about {self.needed} would decide"
                if self.needed
                else "no number of such samples would decide"
            )
            few = f"inconclusive: too few samples to tell a loss of {self.margin:g} from none"
            return f"{few}: {difference}; {enough}"
        than = "no worse than" if self.verdict == "no worse" else "worse than"
        return f"{than} {self.margin:g} below the reference: {difference}"


def right_or_wrong(reference: Sequence[bool], candidate: Sequence[bool], margin: float) -> Compared:
    """Compares which samples each run got right; the metric is the share of right samples, 0..1.

    The interval is Tango's score interval of paired proportions (Statistics in Medicine 17, 1998), which
    covers as promised even if few samples differ; the p-value is McNemar's exact one.

    Raises:
        ValueError: There is no sample, or lengths differ.
    """
    from scipy.stats import binomtest

    first, second = _pair(reference, candidate, bool)
    n = len(first)
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    p_value = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    difference = (won - lost) / n

    def interval(size: int) -> tuple[float, float]:
        return _tango(won * size / n, lost * size / n, size)

    needed = _needed(n, margin, interval)
    return Compared(
        n, float(first.mean()), float(second.mean()), difference, interval(n), margin, needed, p_value
    )


def per_sample(
    reference: Sequence[float],
    candidate: Sequence[float],
    margin: float,
    *,
    span: float = 1.0,
    resamples: int = RESAMPLES,
) -> Compared:
    """Compares the means of a metric of each sample, where more is better.

    `span` is the most that one sample can lose: 1 for a metric in 0..1.

    Raises:
        ValueError: There is no sample, lengths differ, or a value is not finite.
    """
    first, second = _pair(reference, candidate, float)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a metric of a sample is not finite, so there is no mean to compare")
    differences = second - first

    def metric(indices: Indices) -> float:
        return float(differences[indices].mean())

    means = float(first.mean()), float(second.mean())
    return _resampled(metric, means, len(first), margin=margin, span=span, resamples=resamples)


def of_the_whole(
    metric: Callable[[Indices], tuple[float, float]],
    samples: int,
    margin: float,
    *,
    span: float = 1.0,
    resamples: int = RESAMPLES,
) -> Compared:
    """Compares a metric of all samples together: `metric(indices)` gives the reference's and the candidate's.

    `indices` [samples] may name a sample more than once. `span` is the most that the metric could lose if all
    samples were lost.

    Raises:
        ValueError: There is no sample.
    """
    if samples < 1:
        raise ValueError("no sample to compare")
    both = metric(np.arange(samples))

    def difference(indices: Indices) -> float:
        reference, candidate = metric(indices)
        return candidate - reference

    return _resampled(difference, both, samples, margin=margin, span=span, resamples=resamples)


def _resampled(
    difference: Callable[[Indices], float],
    both: tuple[float, float],
    samples: int,
    *,
    margin: float,
    span: float,
    resamples: int,
) -> Compared:
    """The paired percentile bootstrap (Efron and Tibshirani, 1993): a resampled sample has both runs."""
    from scipy.stats import bootstrap

    observed = both[1] - both[0]
    low = high = observed
    if samples > 1:
        resampled = bootstrap(
            (np.arange(samples),),
            difference,
            n_resamples=resamples,
            vectorized=False,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(resampled.low), float(resampled.high)

    def interval(size: int) -> tuple[float, float]:
        narrower, unseen = math.sqrt(samples / size), _unseen(size) * span
        return (
            observed + (low - observed) * narrower - unseen,
            observed + (high - observed) * narrower + unseen,
        )

    return Compared(samples, *both, observed, interval(samples), margin, _needed(samples, margin, interval))


def _unseen(samples: int) -> float:
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / samples))


def _needed(samples: int, margin: float, interval: Callable[[int], tuple[float, float]]) -> int | None:
    """The least number, to a twentieth, whose interval excludes -margin; None if these samples decide."""

    def decided(size: int) -> bool:
        low, high = interval(size)
        return low >= -margin or high < -margin

    if decided(samples):
        return None
    size = samples
    while not decided(size):
        size = math.ceil(size * 1.05)
        if size > _MOST:
            return None
    return size


def _tango(won: float, lost: float, n: int) -> tuple[float, float]:
    """The differences d of the two shares that the score test does not reject.

    Its statistic is (won - lost - n d) / sqrt(n (2 q + d (1 - d))), q the likeliest chance to lose under d:
    the greater root of 2n q^2 + b q - lost d (1 - d), where b = (2n - won + lost) d - won - lost.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))

    def score(d: float) -> float:
        b = (2 * n - won + lost) * d - won - lost
        q = (math.sqrt(max(b * b + 8 * n * lost * d * (1 - d), 0.0)) - b) / (4 * n)
        return (won - lost - n * d) / math.sqrt(max(n * (2 * q + d * (1 - d)), _TINY))

    def end(outer: float, sign: float) -> float:
        def beyond(d: float) -> float:
            return sign * score(d) - z

        return float(brentq(beyond, (won - lost) / n, outer, xtol=_TINY)) if beyond(outer) > 0 else outer

    return end(-1.0, 1), end(1.0, -1)


def _pair(reference: Sequence[object], candidate: Sequence[object], kind: type) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
    if len(reference) != len(candidate):
        raise ValueError(f"{len(reference)} samples of the reference, but {len(candidate)} of the candidate")
    if not len(reference):
        raise ValueError("no sample to compare")
    return np.asarray(reference, kind), np.asarray(candidate, kind)
