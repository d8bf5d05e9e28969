"""Intervals hold what they should as often as they say, and few samples never prove anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtri, xlogy

from modelparity.parity.metrics.paired_tests import Compared, of_the_whole, per_sample, right_or_wrong

Z = float(ndtri(0.975))


def answers(both: int, lost: int, won: int, neither: int = 0):
    """Right and wrong, of the reference and of the candidate."""
    reference = [True] * (both + lost) + [False] * (won + neither)
    candidate = [True] * both + [False] * lost + [True] * won + [False] * neither
    return reference, candidate


@pytest.mark.parametrize(("both", "lost", "won"), [(43, 0, 1), (30, 4, 2), (10, 1, 12), (180, 15, 9)])
def test_the_ends_are_where_the_score_test_rejects(both, lost, won):
    """With the likeliest chances found by search, not by formula."""
    n = both + lost + won
    found = right_or_wrong(*answers(both, lost, won), margin=0.1)
    for d, sign in zip(found.interval, (1, -1), strict=True):

        def unlikely(q, d=d):
            chances = np.array([q + d, q, 1 - 2 * q - d])
            return -float(np.sum(xlogy([won, lost, both], np.maximum(chances, 1e-300))))

        q = minimize_scalar(
            unlikely, bounds=(max(0, -d), (1 - d) / 2), method="bounded", options={"xatol": 1e-12}
        ).x
        score = (won - lost - n * d) / np.sqrt(n * (2 * q + d - d * d))
        assert score == pytest.approx(sign * Z, rel=1e-4)


@given(st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_where_no_sample_differs_the_interval_is_not_empty(n):
    """Its closed form: z^2 / (n + z^2) on both sides."""
    low, high = right_or_wrong(*answers(n, 0, 0), margin=0.01).interval
    assert (low, high) == pytest.approx((-(Z**2) / (n + Z**2), Z**2 / (n + Z**2)), abs=1e-9)


@given(*[st.integers(0, 40)] * 4)
@settings(max_examples=100, deadline=None)
def test_the_interval_of_shares_turns_round_with_the_sides(both, lost, won, neither):
    if both + lost + won + neither == 0:
        return
    one = right_or_wrong(*answers(both, lost, won, neither), margin=0.01)
    other = right_or_wrong(*answers(both, won, lost, neither), margin=0.01)
    assert -1 <= one.interval[0] <= one.difference <= one.interval[1] <= 1
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-9)
    assert one.p_value == pytest.approx(other.p_value)


def test_a_settled_loss_is_worse_and_a_settled_tie_is_not():
    worse = right_or_wrong(*answers(400, 80, 20), margin=0.01)
    assert worse.verdict == "worse"
    assert worse.p_value < 1e-6
    assert right_or_wrong(*answers(1000, 0, 0), margin=0.01).verdict == "no worse"
    random = np.random.default_rng(0).uniform(0.3, 0.9, 1000)
    assert per_sample(random, random - 1e-4, 0.01).verdict == "no worse"
    assert per_sample(random, random - 0.2, 0.01).verdict == "worse"


@pytest.mark.parametrize("n", [1, 2, 12, 100])
def test_a_few_samples_that_agree_prove_nothing(n):
    same = np.full(n, 0.5)
    for found in (
        right_or_wrong(*answers(n, 0, 0), margin=0.01),
        per_sample(same, same, 0.01),
        of_the_whole(lambda _: (0.5, 0.5), n, 0.01),
    ):
        assert found.verdict == "inconclusive"
        assert found.difference == 0
        assert found.words.startswith("inconclusive: too few samples")
        assert 300 < found.needed < 500


@pytest.mark.parametrize(("both", "lost", "won"), [(40, 2, 1), (95, 5, 0), (300, 12, 14)])
def test_as_many_as_are_needed_settle_it(both, lost, won):
    few = right_or_wrong(*answers(both, lost, won), margin=0.02)
    assert few.verdict == "inconclusive"
    scale = few.needed / few.samples
    assert scale > 1
    many = right_or_wrong(*answers(*(round(k * scale * 1.1) for k in (both, lost, won))), margin=0.02)
    assert many.verdict != "inconclusive"


def test_no_number_settles_a_difference_that_is_the_margin():
    found = right_or_wrong(*answers(90, 10, 0), margin=0.1)
    assert (found.verdict, found.needed) == ("inconclusive", None)
    assert "no number" in found.words


def rare_loss(random: np.random.Generator, n: int):
    """One sample in twenty loses a fifth: a mean loss of 0.01, in a skewed distribution."""
    reference = random.uniform(0.2, 1, n)
    return reference, reference - 0.2 * (random.uniform(size=n) < 0.05)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 300 surveys each; 95 % less four standard errors of that count is 270."""
    random = np.random.default_rng(0)
    shares = means = 0
    for _ in range(300):
        n = 60
        kinds = random.choice(4, n, p=[0.85, 0.06, 0.04, 0.05])  # both, lost, won, neither
        low, high = right_or_wrong((kinds < 2), (kinds == 0) | (kinds == 2), 0.01).interval
        shares += low <= -0.02 <= high
        low, high = per_sample(*rare_loss(random, n), 0.01, resamples=200).interval
        means += low <= -0.01 <= high
    assert shares >= 270
    assert means >= 270


def test_a_metric_of_the_whole_is_resampled_sample_by_sample_on_both_sides():
    """A mean by another way: the interval is that of the means, and pairs stay pairs."""
    random = np.random.default_rng(1)
    reference = random.normal(0, 100, 500)
    candidate = reference + random.normal(0, 1e-3, 500)
    whole = of_the_whole(lambda i: (reference[i].mean(), candidate[i].mean()), 500, 0.05, span=1.0)
    assert whole.interval == pytest.approx(per_sample(reference, candidate, 0.05).interval, abs=1e-9)
    assert whole.verdict == "no worse"  # unpaired, the means' own spread of 4 would hide it


def test_the_same_samples_give_the_same_interval():
    reference, candidate = rare_loss(np.random.default_rng(2), 80)
    assert per_sample(reference, candidate, 0.01) == per_sample(reference, candidate, 0.01)


def test_what_cannot_be_compared_is_refused():
    for compare in (right_or_wrong, per_sample):
        with pytest.raises(ValueError, match="no sample"):
            compare([], [], 0.01)
        with pytest.raises(ValueError, match="2 samples of the reference, but 1"):
            compare([1, 0], [1], 0.01)
    with pytest.raises(ValueError, match="no sample"):
        of_the_whole(lambda _: (0, 0), 0, 0.01)
    with pytest.raises(ValueError, match="not finite"):
        per_sample([0.5, float("nan")], [0.5, 0.5], 0.01)


def test_the_words_name_the_verdict_and_the_numbers():
    found = Compared(100, 0.5, 0.48, -0.02, (-0.03, -0.015), 0.01)
    assert found.words == (
        "worse than 0.01 below the reference: difference -0.02 over 100 samples, 95% interval -0.03 to -0.015"
    )
