"""Measures the error that each stage adds, from the network in float64 to the file that users run.

Each stage differs from the one before in one thing: precision, export, converter, optimisation or kernels,
quantization. All run the same image. Independent errors add up as squares, so a stage's share is its square
among the sum of squares; the total is the last stage's distance from float64.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.workbench import PROGRAM, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.parity.cells import Cell
from modelparity.parity.claims.kernels import REFERENCE, skipped
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import decibels, rms
from modelparity.parity.output_kinds import OUTPUT_KINDS

_TRUTH = "network, float64"


@dataclass(frozen=True)
class Distance:
    """One output at one stage: rms from float64 and from the stage before, and the stage's share, 0..1."""

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
    *,
    quantization: str,
    feed: Feeds,
    on_stage: Callable[[str], None] = lambda _: None,
    float_path: Path | None = None,
) -> tuple[Stage, ...]:
    """The stages of a float file, or of a quantized one with the float file that it was made from."""
    names = subject.signature.output_names
    runs: list[tuple[str, Outputs, float]] = []
    not_run: list[Stage] = []

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
        converter = bench.converters[format]
        plain = converter.plain_kernels
        ways = [(plain.title, REFERENCE)] if plain else []
        for name, kernels in (*ways, (converter.fast_kernels, "")):  # "" is what users run
            label = f"{format} {kind}, {name}"
            if kernels and not QUANTIZATIONS[kind].is_float:
                continue  # a quantized file is one stage: how users run it
            if kernels and plain and (because := skipped(Cell(subject.spec.name, format, kind), plain)):
                not_run.append(Stage(label, skipped=because))  # too slow for the gate, so too slow here
            else:
                run(label, lambda f=file, k=kernels: bench.run(format, f, [feed], kernels=k)[0])  # type: ignore[misc]
    return (*_measured(subject, runs), *not_run)


def _files(quantization: str, path: Path, float_path: Path | None) -> list[tuple[str, Path]]:
    if QUANTIZATIONS[quantization].is_float:
        return [(quantization, path)]
    return [*([(FLOAT, float_path)] if float_path else []), (quantization, path)]


def _measured(subject: ModelUnderTest, runs: Sequence[tuple[str, Outputs, float]]) -> list[Stage]:
    kind = OUTPUT_KINDS[subject.spec.task]
    names = kind.compared(subject.signature.output_names)
    truth = runs[0][1]
    added = [
        {name: _apart(kind.paired(after[1], before[1]), name) for name in names}
        for before, after in pairwise(runs)
    ]
    squares = {name: sum(stage[name] ** 2 for stage in added) for name in names}
    stages = []
    for (label, outputs, seconds), own in zip(runs[1:], added, strict=True):
        pair = kind.paired(outputs, truth)
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
