"""Measures how the float32 error of a network depends on threads, kernels, memory layout and batch.

    python -m modelparity.benchmarks.noise_floors [MODEL...]

The noise floor that cells are judged by (`modelparity.parity.reference`) is the larger error of the first two
lines of a model's table; the other lines show why these two are enough. Errors are the root mean square
against float64 of the worst image of the evaluation set, by output. The ways to run the ONNX file are shown
beside them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.store import Store
from modelparity.converters.engine.workbench import Workbench
from modelparity.converters.engine.workers import Workers
from modelparity.converters.recipes import FLOAT
from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.fixtures.models import MODELS
from modelparity.parity.metrics.errors import difference
from modelparity.parity.output_kinds import OUTPUT_KINDS

IMAGES = 12
DEFAULT = ("tiny_ladeda", "objectformer", "fasterrcnn")
# Threads, fused kernels, channels last, images per batch.
NETWORK: dict[str, tuple[int, bool, bool, int]] = {
    "1 thread, fused": (1, True, False, 1),
    "1 thread, not fused": (1, False, False, 1),
    "1 thread, fused, again": (1, True, False, 1),
    "2 threads, fused": (2, True, False, 1),
    "2 threads, not fused": (2, False, False, 1),
    "4 threads, fused": (4, True, False, 1),
    "1 thread, fused, channels last": (1, True, True, 1),
    "1 thread, fused, batches of 4": (1, True, False, 4),
}
LEVELS = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")

Array = np.ndarray[Any, Any]


def network_runs(subject: ModelUnderTest, images: Sequence[Array]) -> Iterator[tuple[str, list[Outputs]]]:
    """The outputs in float64, then those of each variant, with its name."""
    import torch

    from modelparity.fixtures.checkpoints.load import weighted

    names = subject.signature.output_names
    module = weighted(subject.photographs, subject.checkpoint)

    def run(batches: Sequence[torch.Tensor]) -> list[Outputs]:
        with torch.no_grad():
            outputs = [[value.numpy().copy() for value in module(batch)] for batch in batches]
        return [
            {name: value[i : i + 1] for name, value in zip(names, values, strict=True)}
            for values in outputs
            for i in range(len(values[0]))
        ]

    feeds = [torch.from_numpy(np.ascontiguousarray(image)) for image in images]
    module = module.double()
    yield "float64", run([feed.double() for feed in feeds])
    module = weighted(subject.photographs, subject.checkpoint)
    for label, (threads, fused, channels_last, size) in NETWORK.items():
        layout = torch.channels_last if channels_last else torch.contiguous_format
        batches = [
            torch.cat(feeds[i : i + size]).contiguous(memory_format=layout)
            for i in range(0, len(feeds), size)
        ]
        torch.set_num_threads(threads)
        with torch.backends.mkldnn.flags(enabled=fused):
            yield f"network, {label}", run(batches)


def file_runs(path: Path, images: Sequence[Array]) -> Iterator[tuple[str, list[Outputs]]]:
    """The outputs of the ONNX file at each level of graph optimisation, on one and two threads."""
    import onnxruntime

    for level in LEVELS:
        for threads in (1, 2):
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            yield (
                f"file, {level}, {threads} thread{'s'[: threads - 1]}",
                [dict(zip(names, session.run(None, {"image": image}), strict=True)) for image in images],
            )


def rows_of(bench: Workbench, model: str) -> list[list[str]]:
    """The table of a model: one line per variant, with the errors of the outputs, also in floors."""
    subject = ModelUnderTest.of(MODELS[model])
    images = [
        sample.image[None] for sample in evaluation_set(subject.photographs, subject.input_size, IMAGES)
    ]
    path = bench.artifact(subject, "onnx", FLOAT)[0].path
    kind = OUTPUT_KINDS[subject.spec.task]
    names = kind.compared(subject.signature.output_names)
    runs = network_runs(subject, images)
    _, truth = next(runs)

    def errors(outputs: list[Outputs]) -> dict[str, float]:
        pairs = [kind.paired(got, want) for got, want in zip(outputs, truth, strict=True)]
        return {n: max(difference(p.observed[n], p.expected[n]).rms for p in pairs) for n in names}

    by_variant: dict[str, dict[str, float]] = {}
    for label, outputs in chain(runs, file_runs(path, images)):
        print(f"{model}: {label}", file=sys.stderr)
        by_variant[label] = errors(outputs)
    first_two = list(by_variant.values())[:2]
    floors = {name: max(error[name] for error in first_two) for name in names}
    return [
        [model, label, *(f"{name} {error[name]:.3g} ({error[name] / floors[name]:.2f})" for name in names)]
        for label, error in by_variant.items()
    ]


def main() -> int:
    workers = Workers()
    try:
        bench = Workbench(Store(Path(os.environ.get("MODELPARITY_STORE", ".modelparity"))), workers)
        for model in sys.argv[1:] or DEFAULT:
            rows = rows_of(bench, model)
            header = ["model", "variant", *(["error (floors)"] * (len(rows[0]) - 2))]
            print(tabulate(rows, header, "pipe", disable_numparse=True), end="\n\n", flush=True)
    finally:
        workers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
