"""Computes the reference of a cell: the network in float64, and the noise floor of its own float32.

`modelparity.parity.noise_floor` measures the floor in two summation orders. Each order runs the first image
twice: if the bits differ, it runs the whole evaluation set once more, and the floor covers that run, too.

Other variants were measured and left out: two and four threads and batches raise no floor; channels last
raises one of six by a fifth, which is negligible beside the bound (reports/measurements/noise-floors.md).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import (
    NETWORKS,
    ModelUnderTest,
    Workbench,
    network_digest,
    versions_text,
)
from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.fixtures.inputs.evaluation_sets import EvaluationSet
from modelparity.fixtures.specs import Task
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import OutputError, compare
from modelparity.parity.noise_floor import float32_runs, noise_floors
from modelparity.parity.output_kinds import OUTPUT_KINDS, OutputKind

_FILE = "reference.npz"


@dataclass(frozen=True)
class Reference:
    """Float64 outputs over an evaluation set, one array [1, ...] for each image, and noise floors.

    `floors` has an entry for each output that is compared number by number.
    """

    names: tuple[str, ...]
    feeds: tuple[Mapping[str, Array], ...]
    outputs: Mapping[str, tuple[Array, ...]]
    floors: Mapping[str, float]
    task: Task = "map"

    @property
    def kind(self) -> OutputKind:
        return OUTPUT_KINDS[self.task]

    def paired(self, outputs: Sequence[Outputs]) -> list[Pair]:
        """Each image's outputs, paired with the reference's."""
        truths = ({name: values[i] for name, values in self.outputs.items()} for i in range(len(self.feeds)))
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
        return self._spreads[name]

    @cached_property
    def _spreads(self) -> dict[str, float]:
        return {
            name: float(np.std(np.concatenate([value.ravel() for value in values])))
            for name, values in self.outputs.items()
        }


def feeds_of(images: EvaluationSet) -> tuple[Feeds, ...]:
    """One feed for each image, at batch 1."""
    return tuple({"image": sample.image[None]} for sample in images.samples)


def reference_key(subject: ModelUnderTest, images: EvaluationSet) -> Key:
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


def reference_of(bench: Workbench, subject: ModelUnderTest, images: EvaluationSet) -> Reference:
    """Computed once for a model and an evaluation set, then read from the store."""
    feeds = feeds_of(images)
    names = subject.signature.output_names

    def make(folder: Path) -> dict[str, Any]:
        truth = bench.reference(subject, feeds, precision="float64")
        variants = float32_runs(partial(bench.reference, subject), feeds)
        arrays = {f"{name}/{i}": outputs[name] for i, outputs in enumerate(truth) for name in names}
        np.savez(folder / _FILE, **arrays)  # type: ignore[arg-type]
        return {"floors": noise_floors(subject.spec.task, truth, variants)}

    entry = bench.store.get(reference_key(subject, images), make)
    with np.load(entry.path(_FILE)) as file:
        outputs = {name: tuple(file[f"{name}/{i}"] for i in range(len(feeds))) for name in names}
    floors = {name: float(floor) for name, floor in entry.meta["floors"].items()}
    return Reference(tuple(s.name for s in images.samples), feeds, outputs, floors, subject.spec.task)


class GeneratedReference:
    """References of single generated feeds, kept during a run: every cell of a model draws the same ones.

    If two cells ask for one at the same time, the second waits for the first.
    """

    def __init__(self, bench: Workbench, subject: ModelUnderTest) -> None:
        self._bench = bench
        self._subject = subject
        self._known: dict[bytes, tuple[Outputs, dict[str, float]]] = {}
        self._lock = threading.Lock()

    def of(self, feed: Mapping[str, Array]) -> tuple[Outputs, dict[str, float]]:
        """Float64 outputs by name, and the float32 floor of each on this feed."""
        key = feed["image"].tobytes()
        with self._lock:
            if key not in self._known:
                truth = self._bench.reference(self._subject, [feed], precision="float64")
                run = partial(self._bench.reference, self._subject)
                # The evaluation set has shown already whether the bits vary.
                variants = float32_runs(run, [feed], repeat=False)
                self._known[key] = (truth[0], noise_floors(self._subject.spec.task, truth, variants))
            return self._known[key]


@dataclass(frozen=True)
class ReferenceData:
    """What the cells of a model are compared with; shared by all of them."""

    subject: ModelUnderTest
    reference: Reference
    generated: GeneratedReference
    elements: Mapping[str, int]  # "weights" and "elements" of the network, as exported
