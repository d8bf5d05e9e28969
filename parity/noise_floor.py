"""Measures a network's noise: how far its own float32 arithmetic is from float64.

The noise of an output is that of its worst image, in the worse of two summation orders (fused kernels on and
off). Both orders are the same network, so no difference between them counts against a conversion. Its root
mean square is the noise floor.

The noise is at least half an ULP of the greatest value that an output can have, since runtimes compute some
functions with an absolute error. ONNX Runtime's sigmoid is off by 3e-8 whatever the probability, where
PyTorch's error is relative to it: of a probability of 1.5e-5, 4e-8 is 1,700 times PyTorch's own error.

`torch._dynamo.utils.same(fp64_ref=...)` is a published precedent: it, too, allows a multiple of the error
that the eager network itself has against float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.fixtures.specs import NetworkSpec
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.output_kinds import OUTPUT_KINDS, OutputKind

# Float32 variants whose errors make the noise; one thread each, because toolchains run beside them.
SUMMATION_ORDERS: tuple[dict[str, Any], ...] = ({"fused_kernels": True}, {"fused_kernels": False})


@dataclass(frozen=True)
class Noise:
    """How far right arithmetic is from a reference in one output: the greatest that was measured.

    Attributes:
        rms: Root mean square of one sample's errors.
        value: The error of a single value.
        difference: The error in the difference of two values of one sample.
    """

    rms: float
    value: float
    difference: float

    @staticmethod
    def between(pairs: Sequence[Pair], name: str, *, rounded: bool = False, together: bool = False) -> Noise:
        """Of an output in pairs of one sample each; 0 where nothing is compared.

        `rounded` says that they round activations (`Pair.error`). `together` takes the root mean square of
        all samples for each number, instead of the greatest: for outputs of few values.
        """
        compared = [pair for pair in pairs if pair.expected[name].size]
        errors = [_error(pair, name) for pair in compared]
        if together and errors:
            usual = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
            return Noise(usual, usual, math.sqrt(2) * usual)
        return Noise(
            rms=max((pair.error(name, rounded) for pair in compared), default=0.0),
            value=max((float(np.abs(error).max()) for error in errors), default=0.0),
            difference=max((float(np.ptp(error)) for error in errors), default=0.0),
        )

    @staticmethod
    def greater(one: Noise, other: Noise) -> Noise:
        """The greater of two, number by number."""
        return Noise(
            max(one.rms, other.rms), max(one.value, other.value), max(one.difference, other.difference)
        )

    def times(self, factor: float) -> Noise:
        return Noise(factor * self.rms, factor * self.value, factor * self.difference)

    def at_least(self, error: float) -> Noise:
        """With `error` as the least that a single value may be off."""
        return Noise(max(self.rms, error), max(self.value, error), max(self.difference, 2 * error))


def _error(pair: Pair, name: str) -> Array:
    return pair.observed[name].astype(np.float64).ravel() - pair.expected[name].astype(np.float64).ravel()


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


def noises(
    spec: NetworkSpec, truth: Sequence[Outputs], variants: Sequence[Sequence[Outputs]]
) -> dict[str, Noise]:
    """The noise of each output that is compared: that of the float32 variants against float64."""
    kind = OUTPUT_KINDS[spec.task]
    pairs = [
        kind.paired(got, expected)
        for variant in variants
        for got, expected in zip(variant, truth, strict=True)
    ]
    least = last_places(spec, kind, truth)
    return {name: Noise.between(pairs, name).at_least(error) for name, error in least.items()}


def last_places(spec: NetworkSpec, kind: OutputKind, truth: Sequence[Outputs]) -> Mapping[str, float]:
    """By output, half an ULP (float32) of the greatest value that it has, or could have by its range."""
    ranges = {output.name: output.range for output in spec.outputs}
    places = {}
    for name in kind.compared(truth[0]):
        greatest = max(float(np.max(np.abs(expected[name]), initial=0.0)) for expected in truth)
        for end in ranges.get(name) or ():
            greatest = max(greatest, abs(end or 0.0))
        places[name] = float(np.spacing(np.float32(greatest))) / 2
    return places
