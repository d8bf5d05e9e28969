"""Noise is the worst of the network's own errors; bounds are the multiples of it that chance allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import TensorSpec
from modelparity.parity.claims import simulated
from modelparity.parity.claims.basic import float_parity
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import compare
from modelparity.parity.noise_floor import SUMMATION_ORDERS, Noise, float32_runs, noises
from modelparity.parity.reference import ROUNDED, GeneratedReference, Reference
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

FEEDS = [{"image": np.full((1, 1), k, np.float32)} for k in range(3)]
TRUTH = [{"score": np.ones((1, 1))} for _ in FEEDS]
SPEC = SimpleNamespace(task="map", outputs=(TensorSpec("score", (1, 1), "a logit"),))
HALF_ULP = 2.0**-24  # of float32, of 1


class Network:
    """Off by `error` in an order, by `drift` more each time that it is asked anew."""

    def __init__(self, drift: float) -> None:
        self.calls: list[tuple[int, bool]] = []
        self.drift = drift

    def __call__(self, feeds, fused_kernels):
        off = (1e-6 if fused_kernels else 2e-6) + self.drift * len(self.calls)
        self.calls.append((len(feeds), fused_kernels))
        return [{"score": np.full((1, 1), 1 + off, np.float32)} for _ in feeds]


def floor_of(network: Network) -> float:
    return noises(SPEC, TRUTH, float32_runs(network, FEEDS))["score"].rms


def test_the_worst_order_makes_the_floor():
    network = Network(drift=0)
    assert abs(floor_of(network) - 2e-6) < 1e-7
    # One image more an order, to see whether it answers the same.
    assert network.calls == [(3, True), (1, True), (3, False), (1, False)]
    assert len(SUMMATION_ORDERS) == 2


def test_a_network_that_varies_from_run_to_run_has_a_floor_that_holds_it():
    network = Network(drift=1e-5)
    assert floor_of(network) > 5e-5 - 1e-7
    assert [count for count, _ in network.calls] == [3, 1, 3, 3, 1, 3]


def test_noise_is_the_worst_image_s():
    def off(*errors: float) -> Pair:
        expected = np.ones((1, len(errors)))
        return Pair({"x": expected + errors}, {"x": expected})

    pairs = [off(0, 3, 0, -4), off(1, 1, 1, 1), off(5, 0, 0, 0)]
    noise = Noise.between(pairs, "x")
    assert (noise.rms, noise.value, noise.difference) == (pytest.approx(2.5), 5, 7)
    together = Noise.between(pairs, "x", together=True)
    usual = pytest.approx(np.sqrt((25 + 4 + 25) / 12))
    assert (together.rms, together.value, together.difference / np.sqrt(2)) == (usual, usual, usual)
    empty = Pair({"x": np.zeros((0, 4))}, {"x": np.zeros((0, 4))})
    assert Noise.between([empty, *pairs], "x") == noise
    assert Noise.between([empty], "x") == Noise.between([empty], "x", together=True) == Noise(0, 0, 0)


def test_the_greater_noise_is_taken_number_by_number():
    assert Noise.greater(Noise(1, 5, 3), Noise(2, 4, 3)) == Noise(2, 5, 3)
    assert Noise(1, 2, 3).times(4) == Noise(4, 8, 12)
    assert Noise(1, 2, 3).at_least(1.8) == Noise(1.8, 2, 3.6)  # of two values that differ, both may be off


# --- the least noise ------------------------------------------------------------------------------


def test_half_a_unit_in_the_last_place_is_the_least():
    """An exact network would make every error infinitely many floors."""
    exact = [{"score": np.ones((1, 1), np.float32)} for _ in FEEDS]
    assert noises(SPEC, TRUTH, [exact]) == {"score": Noise(HALF_ULP, HALF_ULP, 2 * HALF_ULP)}


def saturated(spec) -> Claim:
    """The claim on scores of 1.5e-5 and more that are off by 4e-8, as ONNX Runtime's sigmoid is."""
    truth = [{"score": np.full((1, 1), value)} for value in (1.5e-5, 1.6e-5, 1.7e-5)]
    float32 = [{"score": out["score"].astype(np.float32)} for out in truth]  # PyTorch's error is relative
    values = tuple(out["score"] for out in truth)
    noise = noises(spec, truth, [float32])
    reference = Reference(("a", "b", "c"), ({},) * 3, {"score": values}, noise, "map", samples=3)
    return float_parity(reference, compare("score", [value + 4e-8 for value in values], values))


def test_a_saturated_probability_may_be_off_by_an_ulp_of_1():
    """Runtimes compute a sigmoid with an error that is absolute."""
    objectformer = MODELS["objectformer"]
    score = next(output for output in objectformer.outputs if output.name == "score")
    assert score.range == (0, 1)
    claim = saturated(objectformer)
    assert claim.passed
    assert claim.observed == pytest.approx(4e-8 / HALF_ULP, rel=1e-3)
    unlimited = SimpleNamespace(task="map", outputs=(replace(score, range=(0, None)),))
    assert saturated(unlimited).status == "failed"


# --- how many noise floors a right file may be off ------------------------------------------------


def reference_of(values: int, images: int = 12, samples: int = 12) -> Reference:
    outputs = {"x": (np.zeros((1, values)),) * images}
    names = tuple(map(str, range(images)))
    return Reference(names, ({},) * images, outputs, {"x": Noise(1, 2, 3)}, samples=samples)


def test_the_bound_is_8_floors_or_2_for_many_values_and_grows_for_few():
    for reference, most in ((reference_of, 8), (rounding, 2)):
        bounds = [reference(values).allowed("x") for values in (1, 2, 4, 8, 100, 10_000)]
        assert bounds == sorted(bounds, reverse=True)
        assert bounds[-2:] == [most, most]
        assert bounds[0] > bounds[1] > most
    assert reference_of(1, samples=4).allowed("x") > reference_of(1).allowed("x")  # less is known
    assert reference_of(1, images=100).allowed("x") > reference_of(1).allowed("x")  # more may go wrong
    one_is_small = replace(reference_of(100), outputs={"x": (np.zeros((1, 100)), np.zeros((1, 1)))})
    assert one_is_small.allowed("x") > 8


def rounding(values: int, images: int = 12, samples: int = 12) -> Reference:
    return replace(reference_of(values, images, samples), multiples=ROUNDED)


def test_all_images_together_are_many_values():
    assert rounding(1).allowed("x", images=12) < rounding(1).allowed("x") / 2
    assert rounding(30).few("x") is False
    assert rounding(29).few("x") is True


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("values", [1, 3])
def test_one_right_file_in_a_thousand_is_beyond_the_bound(values, together):
    """The file's errors are as great as the noise, which is their root mean square over all images."""
    trials, images = 40_000, 12
    generator = np.random.default_rng(0)
    noise = np.sqrt(np.mean(generator.normal(size=(trials, images * values)) ** 2, axis=1))
    squares = np.mean(generator.normal(size=(trials, images, values)) ** 2, axis=2)
    error = np.sqrt(squares.mean(axis=1) if together else squares.max(axis=1))
    bound = rounding(values).allowed("x", images if together else 1)
    alarms = int((error / noise > bound).sum())
    assert alarms <= 1.5e-3 * trials
    assert alarms >= 0.3e-3 * trials or bound == 2  # nor is it idle


def test_single_values_and_differences_have_the_same_multiple():
    for values in (1, 100):
        reference = reference_of(values)
        assert reference.greatest("x") == 2 * reference.allowed("x")
        assert reference.greatest("x", differences=True) == 3 * reference.allowed("x")


def test_two_cells_that_draw_the_same_image_ask_the_network_once():
    """Lanes go side by side and draw the same images at nearly the same time."""
    asked = []

    class Bench:
        def reference(self, _subject, feeds, **order):
            asked.append(order)
            time.sleep(0.05)  # so that an unguarded second cell comes in between
            return [{"score": np.full((1, 1), 1.0)} for _ in feeds]

    drawn = GeneratedReference(Bench(), SimpleNamespace(spec=SPEC))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(drawn.of, [{"image": np.zeros((1, 1))}] * 2)
    assert first is second
    assert asked == [{"precision": "float64"}, *SUMMATION_ORDERS]


# --- the claims on a rounding ---------------------------------------------------------------------


def rounded(values: int, errors: Sequence[float], noise: float = 1) -> tuple[Reference, list[Pair]]:
    """A rounding whose output has a spread of about 100, and pairs with these errors, one for each image."""
    generator = np.random.default_rng(0)
    outputs = tuple(generator.normal(0, 100, (1, values)) for _ in errors)
    count = len(errors)
    names = tuple(f"image{i}" for i in range(count))
    reference = Reference(
        names, ({},) * count, {"x": outputs}, {"x": Noise(noise, noise, noise)}, samples=count
    )
    reference = replace(reference, multiples=ROUNDED)
    return reference, reference.paired([{"x": v + e} for v, e in zip(outputs, errors, strict=True)])


def test_of_many_values_the_worst_image_counts():
    (claim,) = simulated.agree(*rounded(400, [0.5] * 11 + [1.9]))
    assert claim.passed
    assert "worst of 12 images, image11" in claim.detail
    assert claim.bound == pytest.approx(20 * np.log10(100 / 2), abs=0.3)
    (claim,) = simulated.agree(*rounded(400, [0.5] * 11 + [2.1]))
    assert claim.status == "failed"
    assert claim.observed < claim.bound
    assert simulated.agree(*rounded(400, [0.5] * 11 + [np.nan]))[0].status == "failed"


def test_of_few_values_all_images_count_together():
    """One image of twelve may be far, as chance has it; all of them may not."""
    (claim,) = simulated.agree(*rounded(1, [0.5] * 11 + [5.5]))
    assert claim.passed
    assert claim.detail.startswith("12 images together: 1.66 from the simulated rounding")
    (claim,) = simulated.agree(*rounded(1, [2.7] * 12))
    assert claim.status == "failed"
    assert simulated.agree(*rounded(1, [2.6] * 12))[0].passed
    assert simulated.agree(*rounded(1, [0.5] * 11 + [np.nan]))[0].status == "failed"


@pytest.mark.parametrize("values", [1, 400])
def test_where_ties_move_an_output_as_much_as_it_varies_nothing_is_decided(values):
    reference, pairs = rounded(values, [0.5] * 12, noise=70)
    (claim,) = simulated.agree(reference, pairs)
    assert claim.status == "inconclusive"
    assert claim.bound <= 0
    assert "ties alone move it by as much as it varies" in claim.detail
    (claim,) = simulated.agree(*rounded(values, [1000.0] * 12, noise=70))
    assert claim.status == "failed"
    (claim,) = simulated.agree(*rounded(values, [0.5] * 12, noise=20))
    assert claim.passed


def test_the_farthest_layers_are_named():
    wrong = tuple((f"layer {i}", i, 0.5 + i) for i in (1, 4, 2, 3))
    right = RoundedReference(rounding(1), {}, layers=7, wrong=wrong)
    claim, why = simulated.weights(right, third_party=False)
    assert (claim.name, claim.status, claim.observed, why) == ("network_weights", "failed", 4, "")
    assert claim.detail == (
        "of 7 layers: layer 4: 4 off, up to 4.5 steps; layer 3: 3 off, up to 3.5 steps; "
        "layer 2: 2 off, up to 2.5 steps"
    )
    # Most layers of a file from elsewhere: another recipe's rounding, or another network's weights.
    claim, _ = simulated.weights(right, third_party=True)
    assert claim.status == "inconclusive"
    near = tuple((name, count, 0.9) for name, count, _ in wrong)
    claim, why = simulated.weights(replace(right, wrong=near), third_party=True)
    assert claim is None
    assert why.endswith("4 of 7 layers are not rounded to the nearest")
    claim, _ = simulated.weights(replace(right, wrong=wrong[:1], layers=1), third_party=True)
    assert claim.status == "failed"
    claim, _ = simulated.weights(replace(right, wrong=wrong[:3]), third_party=True)
    assert claim.status == "failed"
    claim, _ = simulated.weights(replace(right, wrong=()), third_party=False)
    assert claim.passed


def test_both_ends_of_a_symmetric_range_leave_their_edge_in_a_perturbed_run():
    """A difference of pixels gives x and -x at the ends of a flat image: 127.5 steps, on an edge."""
    import torch

    from modelparity.parity.simulation.rounding import by_range_int8

    end = 3.01408314704895  # 127.49999 of its steps in float32
    value = torch.tensor([end, 0.0, -end]).reshape(1, 1, 1, 3)
    step = 2 * end / 255
    runs = [by_range_int8(value, (1, 2, 3), flip) for flip in (False, True)]
    steps = [sorted(float(each.abs().round()) for each in run.flatten()[::2] / step) for run in runs]
    assert steps == [[127, 127], [127, 128]]
    assert [float(run[0, 0, 0, 1]) for run in runs] == [0, 0]


def test_a_perturbed_run_misses_no_value_on_an_edge():
    """As pixels are whose range is symmetric; values in between stay where they are."""
    import torch

    from modelparity.modelfiles.graph import QuantizationParams
    from modelparity.parity.simulation.rounding import rounded

    steps = torch.arange(-100, 100) + 0.5
    by_one = [QuantizationParams(1.0, 0, -128, 127)]
    assert torch.equal((rounded(steps, by_one, flip=True) - rounded(steps, by_one)).abs(), torch.ones(200))
    near = steps * (1 + 8 * 2.0**-24)
    assert (rounded(near, by_one, flip=True) != rounded(near, by_one)).all()
    between = torch.linspace(-100.4, 100.4, 200)[(torch.linspace(-100.4, 100.4, 200) % 1 - 0.5).abs() > 1e-3]
    assert torch.equal(rounded(between, by_one, flip=True), rounded(between, by_one))
