"""Measures the noise floor: how far a network's own float32 arithmetic is from float64.

The floor of an output is the root-mean-square difference between float32 and float64 on the worst image, for
the worse of two summation orders (fused kernels on and off). Both orders are the same network, so no
difference between them counts against a conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.specs import Task
from modelparity.parity.output_kinds import OUTPUT_KINDS

# Float32 variants whose spread makes the floor; one thread each, because toolchains run beside them.
SUMMATION_ORDERS: tuple[dict[str, Any], ...] = ({"fused_kernels": True}, {"fused_kernels": False})


def float32_runs(
    run: Callable[..., list[Outputs]], feeds: Sequence[Feeds], repeat: bool = True
) -> list[list[Outputs]]:
    """Outputs of the network in float32 for each summation order, by `run(feeds, **order)`.

    With `repeat`, the first feed is run again; an order whose bits then differ is run over all feeds twice.
    """
    runs = []
    for order in SUMMATION_ORDERS:
        runs.append(run(feeds, **order))
        if repeat:
            (again,) = run(feeds[:1], **order)
            if any(again[name].tobytes() != value.tobytes() for name, value in runs[-1][0].items()):
                runs.append(run(feeds, **order))
    return runs


def noise_floors(
    task: Task, truth: Sequence[Outputs], variants: Sequence[Sequence[Outputs]]
) -> dict[str, float]:
    """By output, the worst rms error of the float32 variants; at least half an ULP of its greatest value."""
    kind = OUTPUT_KINDS[task]
    pairs = [
        kind.paired(got, expected)
        for variant in variants
        for got, expected in zip(variant, truth, strict=True)
    ]
    floors = {}
    for name in kind.compared(truth[0]):
        worst = max(pair.rms(name) for pair in pairs)
        magnitude = max(float(np.max(np.abs(expected[name]))) for expected in truth)
        floors[name] = max(worst, float(np.spacing(np.float32(magnitude))) / 2)
    return floors
