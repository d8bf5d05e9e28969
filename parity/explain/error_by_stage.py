"""From the network in float64 to the file that users run, stage by stage, and what each stage adds.

Stages differ from the one before in one thing each: precision, export, converter, optimisation or kernels,
quantization. All run the same image. Errors that do not know of one another add up as squares, so a stage's
share is its own square among all of them; the total is what the last stage is away from float64.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from modelparity.converters.engine.workbench import PROGRAM, Feeds, ModelUnderTest, Outputs, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.parity.cells import Cell
from modelparity.parity.claims.kernels import REFERENCE, skipped
from modelparity.parity.metrics.detection_matching import COMPARED, Pair, paired
from modelparity.parity.metrics.errors import decibels, rms

_TRUTH = "network, float64"


@dataclass(frozen=True)
class Distance:
    """Of one output at one stage: rms from float64 and from the stage before, and the stage's share, 0..1."""

    output: str
    total: float
    added: float
    share: float
    sqnr_db: float


@dataclass(frozen=True)
class Stage:
    """`skipped` says why it was not run."""

    name: str
    distances: tuple[Distance, ...] = ()
    seconds: float = 0.0
    skipped: str = ""


def waterfall(
    bench: Workbench,
    subject: ModelUnderTest,
    format: str,
    path: Path,
    quantization: str,
    feed: Feeds,
    on_stage: Callable[[str], None] = lambda _: None,
    float_path: Path | None = None,
) -> tuple[Stage, ...]:
    """The stages of a float file, or of a quantized one with the float file that it was made from."""
    names = subject.signature.output_names
    runs: list[tuple[str, Outputs, float]] = []
    left: list[Stage] = []

    def run(name: str, call: Callable[[], Outputs]) -> None:
        on_stage(name)
        start = time.monotonic()
        outputs = call()
        runs.append((name, {key: np.asarray(outputs[key]) for key in names}, time.monotonic() - start))

    run(_TRUTH, lambda: bench.reference(subject, [feed], precision="float64")[0])
    run("network, float32", lambda: bench.reference(subject, [feed])[0])
    program = bench.exported(subject).path(PROGRAM)
    call = functools.partial(bench.workers["torch"].call, timeout=CONVERT_TIMEOUT_S)
    arguments = (program, subject.spec, subject.checkpoint, feed)
    run(
        "exported program",
        lambda: call("modelparity.parity.explain.trace_network:run_program", *arguments).value,
    )
    for kind, file in _files(quantization, path, float_path):
        for name, kernels in _KERNELS[format]:
            label = f"{format} {kind}, {name}"
            if kernels and kind != "fp32":
                continue  # a quantized file is one stage: how users run it
            if kernels and (because := skipped(Cell(subject.spec.name, format, kind))):
                left.append(Stage(label, skipped=because))  # what is too slow for the gate is too slow here
            else:
                run(label, lambda f=file, k=kernels: bench.run(format, f, [feed], kernels=k)[0])  # type: ignore[misc]
    return (*_measured(subject, runs), *left)


# Names of ways to run a file, and what the format's runner calls them; "" is what users run.
_KERNELS = {
    "onnx": (("not optimised", REFERENCE), ("optimised", "")),
    "tflite": (("reference kernels", REFERENCE), ("XNNPACK", "")),
}


def _files(quantization: str, path: Path, float_path: Path | None) -> list[tuple[str, Path]]:
    if quantization == "fp32":
        return [("fp32", path)]
    return [*([("fp32", float_path)] if float_path else []), (quantization, path)]


def _measured(subject: ModelUnderTest, runs: Sequence[tuple[str, Outputs, float]]) -> list[Stage]:
    task = subject.spec.task
    names = COMPARED if task == "detection" else subject.signature.output_names
    truth = runs[0][1]
    added = [
        {name: _apart(paired(task, after[1], before[1]), name) for name in names}
        for before, after in pairwise(runs)
    ]
    squares = {name: sum(stage[name] ** 2 for stage in added) for name in names}
    stages = []
    for (label, outputs, seconds), own in zip(runs[1:], added, strict=True):
        pair = paired(task, outputs, truth)
        distances = []
        for name in names:
            total = _apart(pair, name)
            signal = float(np.var(pair.expected[name])) or rms(pair.expected[name]) ** 2
            share = own[name] ** 2 / squares[name] if squares[name] else 0.0
            distances.append(Distance(name, total, own[name], share, decibels(signal, total**2)))
        stages.append(Stage(label, tuple(distances), seconds))
    return stages


def _apart(pair: Pair, name: str) -> float:
    observed, expected = pair.observed[name], pair.expected[name]
    return rms(np.asarray(observed, np.float64) - expected)
