"""Detections are matched, not zipped: order means nothing, a lost, moved or relabelled box does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import poisson

from modelparity.parity.claims import simulated
from modelparity.parity.claims.detection import matches as detections
from modelparity.parity.metrics.detection_matching import matched, overlaps, ties, ties_like
from modelparity.parity.noise_floor import Noise
from modelparity.parity.output_kinds import OUTPUT_KINDS
from modelparity.parity.reference import ROUNDED, Reference


def outputs_of(seed: int, batch: int = 2, rows: int = 12, found: int = 9) -> dict[str, np.ndarray]:
    """Boxes on a grid, so that none overlaps another by half; the rest is padding."""
    generator = np.random.default_rng(seed)
    cells = np.stack([generator.permutation(25)[:rows] for _ in range(batch)])
    corner = np.stack([cells % 5, cells // 5], axis=-1) / 5 + generator.uniform(0, 0.05, (batch, rows, 2))
    location = np.concatenate([corner, corner + generator.uniform(0.1, 0.15, (batch, rows, 2))], axis=-1)
    score = -np.sort(-generator.uniform(0.1, 1, (batch, rows)), axis=1)
    category = generator.integers(1, 3, (batch, rows)).astype(np.int32)
    location[:, found:], score[:, found:], category[:, found:] = 0, 0, 1
    return {"location": location, "score": score, "category": category}


def reordered(outputs, seed):
    order = np.random.default_rng(seed).permutation(outputs["score"].shape[1])
    return {name: value[:, order] for name, value in outputs.items()}


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_order_means_nothing(seed, order):
    expected = outputs_of(seed)
    pair = matched(reordered(expected, order), expected)
    assert pair.share == 1
    assert pair.lost is None
    assert len(pair.expected["score"]) == 18
    for name in ("location", "score"):
        np.testing.assert_array_equal(pair.observed[name], pair.expected[name])


def test_what_has_no_partner_is_counted_and_named():
    expected = outputs_of(1)
    observed = {name: value.copy() for name, value in expected.items()}
    observed["category"][1, 3] = 3 - observed["category"][1, 3]
    pair = matched(observed, expected)
    assert pair.share == pytest.approx(17 / 18)
    assert pair.lost == (1, 3, expected["score"][1, 3])

    observed = {name: value.copy() for name, value in expected.items()}
    observed["location"][0, 0] += 0.08  # half out of its place
    assert matched(observed, expected).share == pytest.approx(17 / 18)

    observed["score"][0, 1] = np.nan
    assert matched(observed, expected).share == pytest.approx(16 / 18)

    one_more = {name: value.copy() for name, value in expected.items()}
    one_more["location"][0, 9], one_more["score"][0, 9] = (0.9, 0.9, 1, 1), 0.05
    assert matched(one_more, expected).share == pytest.approx(2 * 18 / 37)
    assert matched(expected, expected).share == 1


def test_small_moves_stay_errors_of_the_matched():
    expected = outputs_of(2)
    observed = reordered({**expected, "score": expected["score"] * 0.99}, 5)
    pair = matched(observed, expected)
    assert pair.share == 1
    np.testing.assert_allclose(pair.observed["score"], pair.expected["score"] * 0.99)


def test_nothing_found_agrees_with_nothing_found():
    nothing = {name: np.zeros_like(value) for name, value in outputs_of(3).items()}
    assert matched(nothing, nothing).share == 1
    assert matched(outputs_of(3), nothing).share == 0


def test_maps_are_left_as_they_are():
    outputs = {"score": np.ones((1, 1))}
    pair = OUTPUT_KINDS["map"].paired(outputs, outputs)
    assert pair.observed is outputs
    assert pair.share == 1


def test_overlap():
    boxes = np.array([[0, 0, 1, 1], [0.5, 0, 1.5, 1], [2, 2, 2, 2]])
    np.testing.assert_allclose(overlaps(boxes, boxes), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])


def reference_of_two(expected):
    truths = [{name: value[i : i + 1] for name, value in expected.items()} for i in range(2)]
    outputs = {name: tuple(truth[name] for truth in truths) for name in expected}
    feeds = ({"image": np.zeros(1)}, {"image": np.ones(1)})
    return Reference(("first", "second"), feeds, outputs, dict.fromkeys(NOISY, NOISE), "detection", samples=2)


NOISY, NOISE = ("location", "score"), Noise(rms=1e-7, value=3e-7, difference=5e-7)


def singly(outputs):
    return [{name: value[i : i + 1] for name, value in outputs.items()} for i in range(2)]


def test_the_claim_counts_both_ways_and_names_the_worst_image():
    expected = outputs_of(4)
    reference = reference_of_two(expected)
    observed = {name: value.copy() for name, value in expected.items()}
    observed["location"][1, :3] = 1 - observed["location"][1, :3][:, [2, 3, 0, 1]]
    share = detections.detections(reference, reference.paired(singly(observed)))[0]
    assert share.status == "failed"
    assert "second" in share.detail
    assert "row 0" in share.detail
    assert detections.detections(reference, reference.paired(singly(expected)))[0].status == "passed"


def test_photographs_of_one_category_are_enough():
    """Every detector of one class shows one category only; another category in the file differs."""
    expected = outputs_of(5)
    expected["category"][:] = 1
    reference = reference_of_two(expected)
    (claim,) = detections.detections(reference, reference.paired(singly(expected)))
    assert claim.status == "passed"
    other = {**expected, "category": expected["category"] + 1}
    (claim,) = detections.detections(reference, reference.paired(singly(other)))
    assert claim.status == "failed"


@pytest.mark.parametrize("fault", ["crossed corners", "rising scores"])
def test_order_of_corners_and_scores(fault):
    outputs = outputs_of(6)
    assert detections.ordered_corners([("it", outputs)]).status == "passed"
    if fault == "crossed corners":
        outputs["location"] = outputs["location"][..., [2, 1, 0, 3]]
    else:
        outputs["score"] = outputs["score"][:, ::-1]
    claim = detections.ordered_corners([("it", outputs)])
    assert claim.status == "failed"
    assert "for it" in claim.detail


def test_two_runs_without_a_detection_agree_and_an_empty_output_is_a_finding():
    nothing = {"location": np.zeros((1, 3, 4)), "score": np.zeros((1, 3)), "category": np.ones((1, 3))}
    pair = matched(nothing, nothing)
    assert (pair.nothing, pair.share, pair.rms("score")) == (True, 1.0, 0.0)
    some = {**nothing, "score": np.array([[0.5, 0, 0]])}
    assert not matched(some, nothing).nothing
    assert np.isnan(matched(some, nothing).rms("score"))
    empty = {"score": np.zeros((1, 0))}
    assert np.isnan(OUTPUT_KINDS["map"].paired(empty, empty).rms("score"))


def moved(outputs, rows, by):
    """The same, with the first image's first rows a little elsewhere, which still overlap."""
    location = outputs["location"].copy()
    location[0, :rows] += by
    return {**outputs, "location": location}


def test_a_row_that_is_another_box_is_counted_and_not_compared():
    expected = outputs_of(7, batch=1, rows=25, found=24)
    pair = matched(moved(expected, 1, 0.01), expected)
    assert pair.share == 1  # it overlaps by half
    assert pair.rms("location") == 0
    assert len(pair.expected["location"]) == 23
    assert pair.unlike({"location": 1e-6, "score": 1e-6}) == 1
    assert pair.unlike({"location": 0.02, "score": 1e-6}) == 0
    assert matched(moved(expected, 2, 0.01), expected).rms("location") > 1e-3  # a twentieth, and no more


def test_rows_without_a_partner_come_first_in_what_is_not_compared():
    expected = outputs_of(7, batch=1, rows=25, found=24)
    observed = moved(expected, 1, 0.01)
    observed["category"] = observed["category"].copy()
    observed["category"][0, 5] = 3
    pair = matched(observed, expected)
    assert pair.rms("location") > 1e-3
    assert pair.unlike({"location": 1e-6, "score": 1e-6}) == 2


def test_what_one_run_has_more_of_counts():
    expected = outputs_of(8, found=9)
    fewer = {name: value.copy() for name, value in expected.items()}
    fewer["score"][0, 8] = 0
    bounds = {"location": 1e-6, "score": 1e-6}
    assert matched(fewer, expected).unlike(bounds) == matched(expected, fewer).unlike(bounds) == 1
    assert OUTPUT_KINDS["map"].paired(expected, expected).unlike(bounds) == 0


def test_an_ordinary_error_in_every_row_is_no_tie():
    expected = outputs_of(4)
    reference = reference_of_two(expected)
    runs = singly(moved(expected, 9, 1e-3))
    otherwise = detections.detections(reference, reference.paired(runs))[0]
    assert otherwise.status == "failed"
    assert otherwise.observed == 9
    assert "first" in otherwise.detail


def test_one_corner_out_of_place_is_another_box():
    expected = outputs_of(4, batch=1)
    observed = {**expected, "location": expected["location"].copy()}
    observed["location"][0, 2, 3] += 1e-3
    assert matched(observed, expected).unlike({"location": 1e-6, "score": 1e-6}) == 1


def test_a_few_of_many_may_tie():
    assert [ties(0), ties(100), ties(300), ties(1200)] == [0, 1, 2, 3]
    assert ties(1200) < 12  # one of a hundred lost in each of twelve images is a fault


@pytest.mark.parametrize("seen", [0, 3, 20])
def test_as_many_may_differ_as_a_right_run_makes_likely(seen):
    """At the greatest rate that shows so few in one run of twenty, one run in a thousand shows more."""
    rate = brentq(lambda expected: poisson.cdf(seen, expected) - 0.05, seen, seen + 20)
    most = ties_like(seen, 1200, 1200)
    assert poisson.sf(most, rate) <= 1e-3 < poisson.sf(most - 1, rate)
    most = ties_like(seen, 400, 1200)  # a third as many images say less
    assert poisson.sf(most, 3 * rate) <= 1e-3 < poisson.sf(most - 1, 3 * rate)
    assert ties_like(seen, 0, 1200) == ties_like(seen, 1200, 0) == 0


def test_of_a_rounded_file_as_many_may_differ_as_in_a_right_run():
    expected = outputs_of(4, rows=25, found=24)
    reference = replace(
        reference_of_two(expected),
        multiples=ROUNDED,
        right_runs=tuple(singly(moved(expected, 1, 0.01))),  # 1 of both images' 48
        noise_words="a perturbed run",
    )
    allowed = ties_like(2 * 1, 48, 48)  # twice as many, as for errors
    pairs = reference.paired(singly(moved(expected, 24, 1e-4)))
    claim = detections.detections(reference, pairs)[0]
    assert (claim.observed, claim.bound) == (24, allowed)
    assert "as many as in a perturbed run" in claim.because
    near = reference.paired(singly(moved(expected, 24, 5e-7)))  # within twice the noise
    assert detections.unlike(reference, near) == (0, allowed)
    float_file = replace(reference, multiples=reference_of_two(expected).multiples)
    assert detections.unlike(float_file, pairs) == (24, ties(48))


def test_ties_are_many_where_patterns_repeat_and_leave_the_numbers_alone():
    expected = outputs_of(9, batch=1, rows=25, found=20)
    reference = reference_of_two({n: np.concatenate([v, v]) for n, v in expected.items()})
    for rows, share in ((0, 1.0), (2, 0.9), (3, 0.85)):
        pair = matched(moved(expected, rows, 0.01), expected)
        found, least = detections.share_matched(reference, pair, reference.noise)
        assert (found, least) == (pytest.approx(share), 0.9)
    nothing = {name: np.zeros_like(value) for name, value in expected.items()}
    assert detections.share_matched(reference, matched(nothing, nothing), reference.noise)[0] == 1


@pytest.mark.parametrize(("by", "alike"), [(59, True), (61, False)])
def test_on_a_generated_image_boxes_may_be_off_by_60_times_the_noise_there(by, alike):
    expected = outputs_of(9, batch=1, rows=25, found=20)
    reference = reference_of_two({n: np.concatenate([v, v]) for n, v in expected.items()})
    there = {name: Noise(1e-6, 2e-6, 4e-6) for name in NOISY}  # greater than on photographs
    pair = matched(moved(expected, 20, by * 2e-6), expected)
    share, _ = detections.share_matched(reference, pair, there)
    assert share == alike


@pytest.mark.parametrize(("rows", "by", "holds"), [(24, 1e-3, True), (24, 5e-3, False), (6, 0.015, True)])
def test_rounded_detections_are_held_to_their_median_row(rows, by, holds):
    """Of a few that come from another proposal nothing follows, of all a little farther much."""
    truth = outputs_of(3, batch=1, rows=25, found=24)
    outputs = {name: (value,) for name, value in truth.items()}
    reference = Reference(("first",), ({},), outputs, {}, "detection", multiples=ROUNDED)
    perturbed = reference.paired([moved(truth, 24, 1e-3)])
    noise = {"location": Noise.between(perturbed, "location", rounded=True)}
    reference = replace(reference, noise=noise)
    (claim,) = simulated.agree(reference, reference.paired([moved(truth, rows, by)]))
    assert claim.passed == holds
    assert claim.name == "simulated"
