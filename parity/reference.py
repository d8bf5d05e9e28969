"""The truth a cell is judged by: the network in float64, and how far its own float32 strays from it.

The noise floor of an output is the root-mean-square difference of float32 and float64, worst
image, worst of two summation orders (fused kernels on and off): both are the same network, so no
difference between them can be held against a conversion. Each is asked twice for the first image: a network
that answers in other bits is run over the stream once more, and the floor holds that run, too.

Other variants were measured and left out: two and four threads and batches raise no floor, channels last
one of six by a fifth, which is nothing beside the bound (reports/noise-floors.md).
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
    Feeds,
    ModelUnderTest,
    Outputs,
    Workbench,
    network_digest,
    versions_text,
)
from modelparity.fixtures.inputs.evaluation_sets import EvaluationSet
from modelparity.fixtures.specs import Task
from modelparity.parity.metrics.detection_matching import Pair, paired
from modelparity.parity.metrics.errors import Array, OutputError, compare
from modelparity.parity.noise_floor import float32_runs, noise_floors

_FILE = "reference.npz"


@dataclass(frozen=True)
class Reference:
    """Float64 outputs of a stream, one array [1, ...] a sample, and each output's noise floor.

    `floors` are of the outputs that are compared number by number.
    """

    names: tuple[str, ...]
    feeds: tuple[Mapping[str, Array], ...]
    outputs: Mapping[str, tuple[Array, ...]]
    floors: Mapping[str, float]
    task: Task = "map"

    def paired(self, outputs: Sequence[Outputs]) -> list[Pair]:
        """Each sample's outputs beside the reference's, which they are to be compared with."""
        truths = ({name: values[i] for name, values in self.outputs.items()} for i in range(len(self.feeds)))
        return [paired(self.task, got, truth) for got, truth in zip(outputs, truths, strict=True)]

    def errors(self, pairs: Sequence[Pair]) -> list[OutputError]:
        """One an output, of the images in which either run detected anything; [] if there are none."""
        seen = [index for index, pair in enumerate(pairs) if not pair.nothing]
        found = []
        for name in self.floors if seen else ():
            observed, expected = (
                [pairs[i].observed[name] for i in seen],
                [pairs[i].expected[name] for i in seen],
            )
            error = compare(name, observed, expected)
            samples = tuple(replace(sample, sample=seen[sample.sample]) for sample in error.samples)
            found.append(replace(error, samples=samples))
        return found

    def spread(self, name: str) -> float:
        """Standard deviation of an output over the stream."""
        return self._spreads[name]

    @cached_property
    def _spreads(self) -> dict[str, float]:
        return {
            name: float(np.std(np.concatenate([value.ravel() for value in values])))
            for name, values in self.outputs.items()
        }


def feeds_of(stream: EvaluationSet) -> tuple[Feeds, ...]:
    """One feed a sample, at batch 1."""
    return tuple({"image": sample.image[None]} for sample in stream.samples)


def reference_key(subject: ModelUnderTest, stream: EvaluationSet) -> Key:
    parts = {
        "checkpoint": subject.weights_digest,
        "network": network_digest(subject.spec),
        "definition": subject.definition,
        "stream": stream.digest,
        "harness": source_digest(
            "modelparity.converters.engine.network",
            "modelparity.parity.noise_floor",
            apart=[NETWORKS],
        ),
        "toolchain": versions_text(("torch",)),
    }
    return Key(f"{subject.label} reference", parts)


def reference_of(bench: Workbench, subject: ModelUnderTest, stream: EvaluationSet) -> Reference:
    """Computed once for a subject and a stream, then read from the store."""
    feeds = feeds_of(stream)
    names = subject.signature.output_names

    def make(folder: Path) -> dict[str, Any]:
        truth = bench.reference(subject, feeds, precision="float64")
        variants = float32_runs(partial(bench.reference, subject), feeds)
        arrays = {f"{name}/{i}": outputs[name] for i, outputs in enumerate(truth) for name in names}
        np.savez(folder / _FILE, **arrays)  # type: ignore[arg-type]
        return {"floors": noise_floors(subject.spec.task, truth, variants)}

    entry = bench.store.get(reference_key(subject, stream), make)
    with np.load(entry.path(_FILE)) as file:
        outputs = {name: tuple(file[f"{name}/{i}"] for i in range(len(feeds))) for name in names}
    floors = {name: float(floor) for name, floor in entry.meta["floors"].items()}
    return Reference(tuple(s.name for s in stream.samples), feeds, outputs, floors, subject.spec.task)


class GeneratedReference:
    """References of single drawn feeds, kept while a run lasts: every cell of a model draws the same.

    Of two cells that ask for the same one at a time, the second waits for the first.
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
                variants = float32_runs(run, [feed], repeat=False)  # the stream has shown whether it varies
                self._known[key] = (truth[0], noise_floors(self._subject.spec.task, truth, variants))
            return self._known[key]


@dataclass(frozen=True)
class ReferenceData:
    """What a subject's cells are judged by; shared by all of them."""

    subject: ModelUnderTest
    reference: Reference
    drawn: GeneratedReference
    elements: Mapping[str, int]  # "weights" and "elements" of the network, as exported
