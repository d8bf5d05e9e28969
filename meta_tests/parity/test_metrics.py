"""The one pass over two arrays says what a plain float64 formulation of the same numbers says."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.claims.basic import float_parity, quantized_parity
from modelparity.parity.metrics.errors import BLOCK, compare, decibels, difference
from modelparity.parity.reference import Reference

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


@pytest.mark.parametrize(("off", "passes"), [(19, True), (21, False)])
def test_an_output_is_held_to_floors_of_its_own(off, passes):
    expected = np.zeros((1, 4))
    error = compare("out", [np.full((1, 4), off * 1e-7)], [expected])
    reference = Reference(("one",), ({},), {"out": (expected,)}, {"out": 1e-7})
    tolerance = FloatTolerance(8, 60, because="as the real cells", output_floors={"out": 20})
    claim = float_parity(reference, error, tolerance)
    assert (claim.passed, claim.bound) == (passes, 20)
    assert claim.figures["headroom"] == pytest.approx(20 / off, rel=1e-3)
    assert float_parity(reference, error, replace(tolerance, output_floors={"other": 99})).bound == 8


def test_an_empty_output_is_a_finding():
    """No number can be within a bound: not in floors, not in dB."""
    empty = np.zeros((1, 0))
    error = compare("out", [empty.astype(np.float32)], [empty])
    assert math.isnan(error.samples[0].rms)
    assert math.isnan(error.sqnr_db)
    reference = Reference(("one",), ({"image": empty},), {"out": (empty,)}, {"out": 1e-7})
    tolerance = FloatTolerance(8, 60, because="as the real cells")
    assert float_parity(reference, error, tolerance).status == "failed"
    budget = QuantizedTolerance({"out": 1.0}, {"out": 1.0}, because="as the real cells")
    assert {claim.status for claim in quantized_parity(reference, error, budget)} == {"failed"}


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"out: shape \(2,\), but the reference's is \(1,\)"):
        compare("out", [np.zeros(2)], [np.zeros(1)])
    with pytest.raises(ValueError, match="no sample"):
        compare("out", [], [])
    with pytest.raises(ValueError, match="shape"):
        difference(np.zeros((2, 1)), np.zeros((1, 2)))
