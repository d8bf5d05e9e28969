"""Computes what a cell's file is compared with, and how far right arithmetic is from it.

A float file is compared with the network in float64; a right one is off by a multiple of the network's own
float32 error, its noise (`modelparity.parity.noise_floor`). Each summation order runs the first image twice:
if the bits differ, it runs the whole evaluation set once more, and the noise covers that run, too.

A quantized file has a reference of its own (`modelparity.parity.rounded_reference`), of the same type.

Other variants were measured and left out: two and four threads and batches raise no floor; channels last
raises one of six by a fifth, which is negligible beside the bound (reports/measurements/noise-floors.md).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import NETWORKS, Workbench, network_digest, versions_text
from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.inputs.input_sets import InputSet
from modelparity.fixtures.specs import Task
from modelparity.parity.metrics.chance import FALSE_ALARMS
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import OutputError, compare
from modelparity.parity.noise_floor import Noise, float32_runs, noises
from modelparity.parity.output_kinds import OUTPUT_KINDS, OutputKind

_FILE = "reference.npz"


@dataclass(frozen=True)
class Multiples:
    """How far a right file may be from its reference, in multiples of the noise; the same for every network.

    Attributes:
        most: the multiple that no right file exceeds where chance averages out, in an output of many values.
        typical: what right files reach; where an output has few values, chance comes on top of it.
        because: why these numbers.
    """

    most: float
    typical: float
    because: str


FLOAT = Multiples(
    most=8,
    typical=3,
    because=(
        "a right float file reaches 1 to 3 times the error that the network itself has in float32; the "
        "smallest planted fault, 2 % on one row of a weight, 150 times"
    ),
)
ROUNDED = Multiples(
    most=2,
    typical=1,
    because=(
        "a right file is nearer to the simulated rounding than a perturbed run of the simulation, in which "
        "64 times as many values fall to the other side of a step"
    ),
)
FEW = 30  # the root mean square of 30 values scatters by 13 % (one standard deviation), that of 4 by a third
# Bound, in noise floors, of a float file where errors add up instead of averaging out: on generated, flat and
# searched images, and in kernels that sum in sequence. The most that a right file was seen to reach is 27.
GENERATED = 60.0


def multiple(values: float, measured: float, tried: float, multiples: Multiples = FLOAT) -> float:
    """How many times the noise a right file may be off, in any of `tried` errors of so many values each.

    The noise is that of `measured` values.
    """
    from scipy import stats  # a second of imports, which workers that ask for no bound need not spend

    quantile = float(stats.f.isf(FALSE_ALARMS / tried, values, measured))
    return max(multiples.most, multiples.typical * math.sqrt(quantile))


@dataclass(frozen=True)
class Reference:
    """What a right file computes over an evaluation set, and how far right arithmetic is from it.

    Attributes:
        outputs: By name, one float64 array [1, ...] for each image.
        noise: By name, for each output that is compared number by number.
        samples: The number of images that the noise was measured on.
        multiples: How far a right file may be off.
        noise_words: Which runs the noise was measured in.
        right_runs: Outputs of another run on the first images, as right as the reference, where activations
            are rounded: what differs in it may differ in a right file.
        spreads: By name, the standard deviation over the evaluation set, where `outputs` are not all of it.
        batch_axes: By name of an input or output, which axis is the batch; None if there is none.
        unrounded: By name, what the network itself gives in float64, where `outputs` are those of a rounding.
    """

    names: tuple[str, ...]
    feeds: tuple[Mapping[str, Array], ...]
    outputs: Mapping[str, tuple[Array, ...]]
    noise: Mapping[str, Noise]
    task: Task = "map"
    samples: int = 1
    multiples: Multiples = FLOAT
    noise_words: str = "the network's own float32 runs"
    right_runs: tuple[Outputs, ...] = ()
    unrounded: Mapping[str, tuple[Array, ...]] = field(default_factory=dict)
    spreads: Mapping[str, float] = field(default_factory=dict)
    batch_axes: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def floors(self) -> dict[str, float]:
        """The noise floor of each output: the root mean square of its noise."""
        return {name: noise.rms for name, noise in self.noise.items()}

    def first(self, images: int) -> Reference:
        """The same over the first images."""
        return replace(
            self,
            names=self.names[:images],
            feeds=self.feeds[:images],
            outputs={name: values[:images] for name, values in self.outputs.items()},
            unrounded={name: values[:images] for name, values in self.unrounded.items()},
            right_runs=self.right_runs[:images],
        )

    @property
    def rounded(self) -> bool:
        """Whether the reference rounds activations."""
        return self.multiples is ROUNDED

    def error(self, pair: Pair, name: str) -> float:
        """How far a file is from the reference on one image, to be compared with the noise floor."""
        return 0.0 if pair.nothing else pair.error(name, self.rounded)

    def few(self, name: str) -> bool:
        """Whether an image has so few values of an output that their root mean square is mostly chance."""
        return min((of_one.size for of_one in self.outputs[name]), default=0) < FEW

    def allowed(self, name: str, images: int = 1) -> float:
        """How many noise floors a right file may be off, on the worst image of the evaluation set.

        With `images`, the error is the root mean square of so many images together.

        The squares of n errors of a file and of the n values of each of the `samples` images that the noise
        was measured on have a ratio that is distributed as F(n, n samples), if errors are independent and
        normal. So with few values, as a score for each image, chance alone makes a large ratio: it may be
        `typical` times the root of the F distribution's quantile at `FALSE_ALARMS` for all images together.
        """

        values = max(1, min((of_one.size for of_one in self.outputs[name]), default=1))
        tried = max(1, len(self.outputs[name])) / images
        return multiple(images * values, values * self.samples, tried, self.multiples)

    def greatest(self, name: str, differences: bool = False) -> float:
        """The greatest error of a single value of a right file, or of the difference of two of one image.

        It is the greatest error that was measured, times `allowed`, so that nothing is assumed of the tail of
        the distribution.
        """
        noise = self.noise[name]
        return self.allowed(name) * (noise.difference if differences else noise.value)

    @property
    def kind(self) -> OutputKind:
        return OUTPUT_KINDS[self.task]

    def stacked(self, arrays: Sequence[Array], name: str) -> Array:
        """Values of an input or output of several runs as one of a batch."""
        return np.concatenate(arrays, axis=self.batch_axes.get(name, 0) or 0)

    def paired(self, outputs: Sequence[Outputs]) -> list[Pair]:
        """Outputs of the first images, each paired with the reference's."""
        truths = ({name: values[i] for name, values in self.outputs.items()} for i in range(len(outputs)))
        return [self.kind.paired(got, truth) for got, truth in zip(outputs, truths, strict=True)]

    def errors(self, pairs: Sequence[Pair]) -> list[OutputError]:
        """One for each output, over the images in which either run detected anything; [] if none did."""
        seen = [index for index, pair in enumerate(pairs) if not pair.nothing]
        errors = []
        for name in self.floors if seen else ():
            observed, expected = (
                [pairs[i].observed[name] for i in seen],
                [pairs[i].expected[name] for i in seen],
            )
            error = compare(name, observed, expected)
            samples = tuple(replace(sample, sample=seen[sample.sample]) for sample in error.samples)
            errors.append(replace(error, samples=samples))
        return errors

    def spread(self, name: str) -> float:
        """Standard deviation of an output over the evaluation set."""
        return self.spreads[name] if name in self.spreads else self._spreads[name]

    @cached_property
    def _spreads(self) -> dict[str, float]:
        return {
            name: float(np.std(np.concatenate([value.ravel() for value in values])))
            for name, values in self.outputs.items()
        }


def reference_key(subject: ModelUnderTest, images: InputSet) -> Key:
    parts = {
        "checkpoint": subject.weights_digest,
        "network": network_digest(subject.spec),
        "definition": subject.definition,
        "images": images.digest,
        "harness": source_digest(
            "modelparity.converters.engine.network",
            "modelparity.parity.noise_floor",
            apart=[NETWORKS],
        ),
        "toolchain": versions_text(("torch",)),
    }
    return Key(f"{subject.label} reference", parts)


def reference_of(bench: Workbench, subject: ModelUnderTest, images: InputSet) -> Reference:
    """Computed once for a model and an evaluation set, then read from the store."""
    feeds = images.feeds
    names = subject.signature.output_names

    def make(folder: Path) -> dict[str, Any]:
        truth = bench.reference(subject, feeds, precision="float64")
        variants = float32_runs(partial(bench.reference, subject), feeds)
        arrays = {f"{name}/{i}": outputs[name] for i, outputs in enumerate(truth) for name in names}
        np.savez(folder / _FILE, **arrays)  # type: ignore[arg-type]
        found = noises(subject.spec, truth, variants)
        return {"noise": {name: [noise.rms, noise.value, noise.difference] for name, noise in found.items()}}

    entry = bench.store.get(reference_key(subject, images), make)
    with np.load(entry.path(_FILE)) as file:
        outputs = {name: tuple(file[f"{name}/{i}"] for i in range(len(feeds))) for name in names}
    noise = {name: Noise(*map(float, numbers)) for name, numbers in entry.meta["noise"].items()}
    return Reference(
        images.names,
        feeds,
        outputs,
        noise,
        subject.spec.task,
        samples=len(feeds),
        batch_axes={
            port.name: port.batch_axis for port in (*subject.signature.inputs, *subject.signature.outputs)
        },
    )


class GeneratedReference:
    """References of single generated feeds, kept during a run: every cell of a model draws the same ones.

    If two cells ask for one at the same time, the second waits for the first.
    """

    def __init__(self, bench: Workbench, subject: ModelUnderTest) -> None:
        self._bench = bench
        self._subject = subject
        self._known: dict[bytes, tuple[Outputs, dict[str, Noise]]] = {}
        self._lock = threading.Lock()

    def of(self, feed: Mapping[str, Array]) -> tuple[Outputs, dict[str, Noise]]:
        """Float64 outputs by name, and the float32 noise of each on this feed."""
        key = b"".join(f"{n}{feed[n].shape}".encode() + feed[n].tobytes() for n in sorted(feed))
        with self._lock:
            if key not in self._known:
                truth = self._bench.reference(self._subject, [feed], precision="float64")
                run = partial(self._bench.reference, self._subject)
                # The evaluation set has shown already whether the bits vary.
                variants = float32_runs(run, [feed], repeat=False)
                self._known[key] = (truth[0], noises(self._subject.spec, truth, variants))
            return self._known[key]


@dataclass(frozen=True)
class ReferenceData:
    """What the cells of a model are compared with; shared by all of them."""

    subject: ModelUnderTest
    reference: Reference
    generated: GeneratedReference
    elements: Mapping[str, int]  # "weights" and "elements" of the network, as exported
    opposite: Reference | None = None  # images of the other decision, where the evaluation set has only one
