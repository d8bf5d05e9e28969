"""The floor is the worst of the network's own float32 errors, and of nothing else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np

from modelparity.parity.noise_floor import SUMMATION_ORDERS, float32_runs, noise_floors
from modelparity.parity.reference import GeneratedReference

FEEDS = [{"image": np.full((1, 1), k, np.float32)} for k in range(3)]
TRUTH = [{"score": np.ones((1, 1))} for _ in FEEDS]


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
    return noise_floors("map", TRUTH, float32_runs(network, FEEDS))["score"]


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


def test_half_a_unit_in_the_last_place_is_the_least():
    """An exact network would make every error infinitely many floors."""
    exact = [{"score": np.ones((1, 1), np.float32)} for _ in FEEDS]
    assert noise_floors("map", TRUTH, [exact]) == {"score": float(np.spacing(np.float32(1))) / 2}


def test_two_cells_that_draw_the_same_image_ask_the_network_once():
    """Lanes go side by side and draw the same images at nearly the same time."""
    asked = []

    class Bench:
        def reference(self, _subject, feeds, **order):
            asked.append(order)
            time.sleep(0.05)  # so that an unguarded second cell comes in between
            return [{"score": np.full((1, 1), 1.0)} for _ in feeds]

    drawn = GeneratedReference(Bench(), SimpleNamespace(spec=SimpleNamespace(task="map")))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(drawn.of, [{"image": np.zeros((1, 1))}] * 2)
    assert first is second
    assert asked == [{"precision": "float64"}, *SUMMATION_ORDERS]
