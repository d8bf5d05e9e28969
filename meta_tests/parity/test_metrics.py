"""Numbers: one pass over two arrays finds what plain float64 finds; how a value is rounded; what it costs."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import binom

from modelparity.modelfiles.graph import QuantizationParams
from modelparity.parity.claims import quality, simulated
from modelparity.parity.claims.basic import float_parity
from modelparity.parity.metrics.chance import changed_decisions, most_likely_share
from modelparity.parity.metrics.detection_matching import Pair, matched
from modelparity.parity.metrics.errors import BLOCK, compare, decibels, difference
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import ROUNDED, Reference

KINDS = (np.float16, np.float32, np.float64)
EXACT = 1e-12  # float64 sums of the same terms in another order


def plainly(observed, reference):
    """rms, greatest |error| and its place a sample, spread and SQNR: with every array in memory at once."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing
        errors = [
            a.astype(np.float64) - b.astype(np.float64) for a, b in zip(observed, reference, strict=True)
        ]
        signal = float(np.var(np.concatenate([b.astype(np.float64).ravel() for b in reference])))
        noise = float(np.mean(np.square(np.concatenate([error.ravel() for error in errors]))))
        samples = []
        for error in errors:
            size = np.abs(error)
            flat = int(np.argmax(size)) if error.size else 0
            at = tuple(map(int, np.unravel_index(flat, error.shape))) if error.size else ()
            greatest = float(size.ravel()[flat]) if error.size else math.nan
            samples.append((math.sqrt(np.mean(np.square(error))), greatest, at))
    return math.sqrt(signal), decibels(signal, noise), samples


def same(one, other, scale=0.0):
    return one == pytest.approx(other, rel=EXACT, abs=scale, nan_ok=True)


@st.composite
def streams(draw, finite):
    """Samples of one to three shapes, in any float type, of values whose squares float64 holds."""
    shapes = draw(
        st.lists(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), min_size=1, max_size=3)
    )
    observed, reference = [], []
    for shape in shapes:
        for side in (observed, reference):
            kind = draw(st.sampled_from(KINDS))
            width = np.dtype(kind).itemsize * 8
            limit = 2.0**14 if width == 16 else 2.0**100
            values = st.floats(-limit, limit, width=width)
            if not finite:
                values |= st.sampled_from([math.nan, math.inf, -math.inf])
            side.append(draw(arrays.arrays(kind, shape, elements=values)))
    return observed, reference


@given(streams(finite=True))
@settings(max_examples=150, deadline=None)
def test_finite_arrays(stream):
    observed, reference = stream
    error = compare("out", observed, reference)
    spread, _, samples = plainly(observed, reference)
    magnitude = max((float(np.max(np.abs(b), initial=0)) for b in reference), default=0.0)
    # Two formulations of the same variance part by rounding of the mean, which numpy's own rounds too.
    assert same(error.spread, spread, 1e-7 * magnitude)
    for got, (rms, greatest, at) in zip(error.samples, samples, strict=True):
        assert same(got.rms, rms)
        assert same(got.max_abs, greatest)
        assert got.at == at
        assert same(got.sqnr_db, decibels(error.spread**2, got.rms**2), 1e-9)


@given(streams(finite=False))
@settings(max_examples=150, deadline=None)
def test_nan_and_infinity_are_told_as_numpy_tells_them(stream):
    observed, reference = stream
    error = compare("out", observed, reference)
    spread, sqnr, samples = plainly(observed, reference)
    assert math.isnan(error.spread) == math.isnan(spread)
    assert math.isnan(error.sqnr_db) == math.isnan(sqnr)
    for got, (rms, greatest, at) in zip(error.samples, samples, strict=True):
        assert same(got.rms, rms)
        assert same(got.max_abs, greatest)
        assert got.at == at


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5)),
    st.sampled_from(KINDS),
)
@settings(max_examples=25, deadline=None)
def test_blocks_join_without_a_seam(seed, size, kind):
    """Large values, NaN and infinity anywhere, the first, the last and the block's own edges among them."""
    random = np.random.default_rng(seed)
    reference = random.normal(1, 1e-3, size)
    observed = (reference + random.normal(0, 1e-6, size)).astype(kind)
    for value in (9.0, -9.0, np.nan, np.inf)[: random.integers(5)]:
        observed[random.choice([0, size - 1, BLOCK - 1, BLOCK - 2, random.integers(size)]) % size] = value
    error = compare("out", [observed], [reference])
    spread, _, ((rms, greatest, at),) = plainly([observed], [reference])
    assert error.spread == pytest.approx(spread, rel=1e-9)
    assert same(error.samples[0].rms, rms)
    assert same(error.samples[0].max_abs, greatest)
    assert error.samples[0].at == at
    assert same(difference(observed, reference).rms, rms)


def test_the_spread_bears_an_outlier_in_the_first_place():
    """It is gathered about the first value, so that is where cancellation would show."""
    reference = np.random.default_rng(0).normal(0, 1e-3, 3 * BLOCK)
    reference[0] = 1e6
    assert compare("out", [reference], [reference]).spread == pytest.approx(
        float(np.std(reference)), rel=1e-9
    )


def test_arrays_are_taken_as_they_lie_in_memory():
    reference = np.random.default_rng(0).normal(size=(3, 4, 5))
    observed = reference.astype(np.float32)
    contiguous = compare("out", [observed], [reference])
    turned = compare("out", [np.asfortranarray(observed)], [np.asfortranarray(reference)])
    assert turned == contiguous
    before = reference.copy()
    compare("out", [reference], [reference])
    assert (reference == before).all()


def test_a_scalar_is_one_value_in_no_axis():
    error = compare("out", [np.float32(1.5).reshape(())], [np.float64(1.0).reshape(())])
    assert (error.samples[0].rms, error.samples[0].max_abs, error.samples[0].at) == (0.5, 0.5, ())
    assert error.spread == 0


def noisy(expected, floor=1e-7) -> Reference:
    return Reference(("one",), ({},), {"out": (expected,)}, {"out": Noise(floor, 3 * floor, 5 * floor)})


@pytest.mark.parametrize(("off", "passes"), [(7.9, True), (8.1, False)])
def test_an_output_is_held_to_a_multiple_of_its_own_noise(off, passes):
    expected = np.zeros((1, 400))
    error = compare("out", [np.full((1, 400), off * 1e-7)], [expected])
    claim = float_parity(noisy(expected), error)
    assert (claim.passed, claim.bound) == (passes, 8)
    assert claim.observed == pytest.approx(off, rel=1e-3)
    assert claim.figures["headroom"] == pytest.approx(8 / off, rel=1e-3)
    assert float_parity(noisy(expected, 2e-7), error).passed


def test_an_empty_output_is_a_finding():
    """No number can be within a bound: not in floors, not in dB."""
    empty = np.zeros((1, 0))
    error = compare("out", [empty.astype(np.float32)], [empty])
    assert math.isnan(error.samples[0].rms)
    assert math.isnan(error.sqnr_db)
    assert float_parity(noisy(empty), error).status == "failed"
    reference = replace(noisy(np.arange(9.0)[None]), multiples=ROUNDED)
    (claim,) = simulated.agree(reference, [Pair({"out": empty}, {"out": empty})])
    assert claim.status == "failed"


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"out: shape \(2,\), but the reference's is \(1,\)"):
        compare("out", [np.zeros(2)], [np.zeros(1)])
    with pytest.raises(ValueError, match="no sample"):
        compare("out", [], [])
    with pytest.raises(ValueError, match="shape"):
        difference(np.zeros((2, 1)), np.zeros((1, 2)))


# --- how activations are rounded ------------------------------------------------------------------


def test_rounding_is_to_the_nearest_step_and_ties_are_to_even():
    import torch

    from modelparity.parity.simulation.network import rounded

    steps = QuantizationParams(0.5, 3, 0, 10)
    given = torch.tensor([0.25, 0.75, 0.26, -9.0, 9.0])
    assert rounded(given, [steps]).tolist() == [0.0, 1.0, 0.5, -1.5, 3.5]


def test_a_range_at_run_time_is_the_one_of_onnx():
    import onnx
    import torch
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    from modelparity.parity.simulation.network import by_range_uint8

    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = ReferenceEvaluator(helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:])))
    assert onnx.__name__
    for offset in (-5, 0, 5):
        given = np.random.default_rng(0).standard_normal((7, 9), np.float32) + np.float32(offset)
        (due,) = model.run(None, {"x": given})
        np.testing.assert_allclose(by_range_uint8(torch.from_numpy(given)).numpy(), due, rtol=1e-6, atol=1e-7)


def test_a_row_has_its_own_range_in_int8():
    import torch

    from modelparity.parity.simulation.network import by_range_int8

    given = torch.tensor([[0.0, 51.0, 255.0], [-100.0, 0.0, 155.0], [0.0, 0.0, 0.0]])
    assert by_range_int8(given, (1,)).tolist() == given.tolist()  # each is whole steps of its own range
    together = by_range_int8(given, (0, 1))
    assert together[0].tolist() != given[0].tolist()


# --- what a precision costs -----------------------------------------------------------------------


@pytest.mark.parametrize("changed", [0, 1, 7])
def test_the_share_of_changed_decisions_has_an_upper_end(changed):
    """At it, so few or fewer changed decisions of twelve are seen in one of twenty evaluation sets."""
    share = most_likely_share(changed, 12)
    assert share > changed / 12
    assert binom.cdf(changed, 12, share) == pytest.approx(0.05)
    record = changed_decisions("label", "labels", changed, 12)
    assert (record.changed, record.of) == (changed, 12)
    assert record.at_most == pytest.approx(share, abs=5e-4)
    assert most_likely_share(12, 12) == 1
    assert most_likely_share(0, 12_000) < 3e-4


def test_quality_is_measured_and_put_in_words():
    expected = [np.array([[-1.0, 1.0]]), np.array([[1.0, -1.0]])]
    off = [np.array([[0.1, 0.1]]), np.array([[0.3, 0.3]])]
    errors = [
        compare("score", [e + o for e, o in zip(expected, off, strict=True)], expected),
        compare("mask", expected, expected),
    ]
    labels = changed_decisions("label", "labels", 1, 12)
    measured = quality.quality(errors, [labels], is_price=True)
    assert measured.decisions == (labels,)
    assert measured.sqnr_db == {"score": pytest.approx(decibels(1, 0.05), abs=0.01), "mask": None}
    assert measured.worst_sqnr_db == {"score": pytest.approx(decibels(1, 0.09), abs=0.01), "mask": None}
    assert quality.words(measured, errors) == "1 of 12 labels change, 13.0 dB"
    assert quality.words(quality.quality(errors[1:], [], is_price=True), errors[1:]) == "equal"


@pytest.mark.parametrize(("value", "said"), [(math.nan, "NaN"), (math.inf, "infinite values")])
def test_outputs_that_are_not_finite_are_never_called_equal(value, said):
    """They have no SQNR, and neither have outputs without an error."""
    expected = [np.array([[-1.0, 1.0]]), np.array([[1.0, -1.0]])]
    errors = [
        compare("score", [expected[0], np.array([[1.0, value]])], expected),
        compare("mask", expected, expected),
    ]
    measured = quality.quality(errors, [], is_price=False)
    assert set(measured.sqnr_db.values()) == {None}
    assert quality.words(measured, errors) == f"{said} in score"


def images_of(seed, count=6, shape=(1, 3, 8, 8)):
    return list(np.random.default_rng(seed).normal(2, 1, (count, *shape)))


def better(expected, observed):
    pairs = [Pair({"map": got}, {"map": due}) for got, due in zip(observed, expected, strict=True)]
    return quality.better_than_constant(pairs, {"map": 1e-7})


def test_a_coarse_output_is_better_than_a_constant():
    """Half of the signal's power is noise: bad, and better than nothing."""
    expected, noise = images_of(0), images_of(1)
    (claim,) = better(expected, [e + 0.7 * (n - 2) for e, n in zip(expected, noise, strict=True)])
    assert (claim.name, claim.status, claim.output) == ("better_than_constant", "passed", "map")
    assert 0.5 < claim.observed < 0.7


@pytest.mark.parametrize("channels", [1, 33])
def test_an_exact_output_is_better_than_a_constant_whatever_the_images(channels):
    """An image that stands out makes signals differ from image to image, and no file worse."""
    for seed in range(20):
        expected = images_of(seed, 12, (1, channels))
        expected[0] *= 10
        (claim,) = better(expected, expected)
        assert claim.passed
        assert "SQNR inf dB" in claim.detail


def of_noise(expected):
    return images_of(1)


def constant(expected):
    return [np.full_like(value, np.mean(expected)) for value in expected]


def not_finite(expected):
    """In one place of the second channel."""
    lost = expected[0].copy()
    lost[0, 1, 2, 3] = np.nan
    return [lost, *expected[1:]]


def lost_on_one_image(expected):
    """Over all six there is a little more signal than noise, which other images might not show."""
    return [*expected[:5], 2 - 0.9 * (expected[5] - 2)]


@pytest.mark.parametrize("fault", [of_noise, constant, not_finite, lost_on_one_image])
def test_an_output_that_a_constant_would_replace_is_red(fault):
    expected = images_of(0)
    observed = fault(expected)
    (claim,) = better(expected, observed)
    assert claim.status == "failed"
    assert "a constant would tell as much" in claim.detail


def test_one_dead_channel_is_red_and_named():
    expected = images_of(0)
    observed = [value.copy() for value in expected]
    for value in observed:
        value[:, 1] = 2  # about its mean
    (claim,) = better(expected, observed)
    assert claim.status == "failed"
    assert "map, channel 1: SQNR" in claim.detail
    dead = [(value[:, 1:2], got[:, 1:2]) for value, got in zip(expected, observed, strict=True)]
    (claim,) = better(*zip(*dead, strict=True))
    assert claim.status == "failed"
    assert "channel" not in claim.detail  # it is the only one


def test_a_constant_channel_and_a_few_images_prove_nothing():
    expected = images_of(0)
    for value in expected:
        value[:, 2] = 0.1  # whose mean is off by an ULP of float64
    off = [value + 0.01 for value in expected]
    assert [claim.status for claim in better(expected, off)] == ["passed"]
    assert better([value[:, 2:] for value in expected], [value[:, 2:] for value in off]) == []
    assert len(better(expected[:3], off[:3])) == 1
    assert better(expected[:2], off[:2]) == []


def test_images_without_a_detection_are_left_out():
    """Two images show an object, so that nothing can be said."""
    found = [
        {
            "location": np.full((1, 1, 4), [0, 0, s, s]),
            "score": np.full((1, 1), s),
            "category": np.ones((1, 1)),
        }
        for s in (0.3, 0.5, 0.7)
    ]
    nothing = {name: np.zeros_like(value) for name, value in found[0].items()}
    names = {"location": 1e-7, "score": 1e-7}
    assert len(quality.better_than_constant([matched(one, one) for one in found], names)) == 2
    pairs = [matched(one, one) for one in (*found[:2], nothing, nothing)]
    assert quality.better_than_constant(pairs, names) == []
