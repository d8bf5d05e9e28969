"""The worst inputs that a search has found, replayed; and how bad an input is for a cell.

A float cell has a bound on any input: `generated_floors`. A quantized one has none: rounding is as coarse as
the layers' values are far from those that ranges were calibrated on, and who may choose the image chooses
that distance. So its outputs must stay finite and in range, and the error is shown beside the stream's worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import (
    NETWORKS,
    Feeds,
    Outputs,
    Workbench,
    digest_of_arrays,
    network_digest,
    versions_text,
)
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.inputs.worst_inputs import WorstInput
from modelparity.parity.claims import basic
from modelparity.parity.metrics.detection_matching import paired
from modelparity.parity.metrics.errors import decibels, rms
from modelparity.parity.reference import GeneratedReference, Reference
from modelparity.parity.results import Claim, Number, WorstRecord
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

MATCHED = "detections"
STREAM_CLAIMS = ("float_parity", "worst_sqnr", "detections")  # that say how bad the stream's worst image is
_FILE = "truth.npz"


@dataclass(frozen=True)
class Score:
    """How bad an input is: `errors` by output, in the unit of the claims; `share` of what the cell may err.

    For a float cell that is of `generated_floors`, for a quantized one of the error that its budget allows the
    stream's worst image, which is no bound here. `trouble` says what is wrong on it whatever the error.
    """

    share: float
    errors: Mapping[str, float]
    trouble: str = ""


def height(
    reference: Reference,
    tolerance: FloatTolerance | QuantizedTolerance,
    outputs: Outputs,
    truth: Outputs,
    floors: Mapping[str, float],
) -> Score:
    """`outputs` of one image against float64; `floors` are float32's on this image, for a float cell."""
    pair = paired(reference.task, outputs, truth)
    errors: dict[str, float] = {}
    shares = [0.0]
    for name, usual in reference.floors.items():
        error = rms(pair.observed[name].astype(np.float64) - pair.expected[name])
        if math.isnan(error) and not pair.observed[name].size:
            continue  # no detection has a partner, which `share` tells
        if isinstance(tolerance, FloatTolerance):
            errors[name] = error / max(usual, floors.get(name, 0.0))
            shares.append(errors[name] / tolerance.generated_floors)
        else:
            signal = reference.spread(name)
            errors[name] = decibels(signal**2, error**2)
            shares.append(error / (signal * 10 ** (-tolerance.worst_sqnr_db[name] / 20)))
    if reference.task == "detection":
        if isinstance(tolerance, FloatTolerance):
            share, least = basic.share_alike(reference, pair, floors, tolerance), tolerance.generated_matched
        else:
            share, least = pair.share, tolerance.matched
        errors[MATCHED] = share
        if least < 1:
            shares.append((1 - share) / (1 - least))
    share = math.inf if any(map(math.isnan, shares)) else max(shares)
    return Score(share, errors)


def trouble_in(label: str, outputs: Outputs, signature: Any) -> str:
    """What is wrong whatever the truth: an output missing, not finite, or out of its range; else ""."""
    runs = [(label, outputs)]
    declared = basic.outputs_as_declared(runs, signature)
    found = [declared]
    if declared.passed:
        found += [basic.finite(runs), *basic.in_range(runs, signature)]
    for claim in found:
        if not claim.passed:
            return f"{claim.name}: {claim.observed}, but should be {claim.bound}"
    return ""


def truth_of(bench: Workbench, subject: Any, feed: Feeds) -> Outputs:
    """Float64 outputs on one image, computed once and kept in the store."""
    parts = {
        "checkpoint": subject.weights_digest,
        "network": network_digest(subject.spec),
        "definition": subject.definition,
        "image": digest_of_arrays([feed]),
        "harness": source_digest("modelparity.converters.engine.network", apart=[NETWORKS]),
        "toolchain": versions_text(("torch",)),
    }

    def make(folder: Path) -> dict[str, Any]:
        (outputs,) = bench.reference(subject, [feed], precision="float64")
        np.savez(folder / _FILE, **outputs)  # type: ignore[arg-type]
        return {}

    entry = bench.store.get(Key(f"{subject.label} truth of an input", parts), make)
    with np.load(entry.path(_FILE)) as file:
        return {name: file[name] for name in file.files}


def replayed(
    bench: Workbench,
    subject: Any,
    reference: Reference,
    drawn: GeneratedReference,
    tolerance: FloatTolerance | QuantizedTolerance,
    run: Callable[[Sequence[Feeds]], Sequence[Outputs]],
    inputs: Sequence[WorstInput],
    stream: Sequence[Claim],
) -> tuple[list[Claim], list[WorstRecord]]:
    """A claim an input, and the errors on it beside the stream's worst, which `stream`'s claims tell."""
    made, records = [], []
    for entry in inputs:
        feed = {"image": entry.recipe.feed(subject.spec, subject.input_size)}
        try:
            (outputs,) = run([feed])
        except WorkerFailedError as error:
            made.append(
                claim_of(tolerance, Score(math.inf, {}, f"does not run: {error}"), entry.recipe.words)
            )
            continue
        trouble = trouble_in(entry.recipe.words, outputs, subject.signature)
        if trouble:
            made.append(claim_of(tolerance, Score(math.inf, {}, trouble), entry.recipe.words))
            continue
        if isinstance(tolerance, FloatTolerance):
            truth, floors = drawn.of(feed)
        else:
            truth, floors = truth_of(bench, subject, feed), {}
        found = height(reference, tolerance, outputs, truth, floors)
        made.append(claim_of(tolerance, found, entry.recipe.words))
        records += beside_the_stream(tolerance, found, entry.recipe.words, stream)
    return made, records


def claim_of(tolerance: FloatTolerance | QuantizedTolerance, found: Score, words: str) -> Claim:
    """What an input says of the cell."""
    shown = found.trouble or "; ".join(
        f"{name} {error_words(tolerance, name, error)}" for name, error in found.errors.items()
    )
    if isinstance(tolerance, FloatTolerance):
        bound = f"within {tolerance.generated_floors:g} floors"
        if tolerance.generated_matched < 1 and MATCHED in found.errors:
            bound += f", {tolerance.generated_matched:g} of the detections matched"
        because = f"the worst input that a search found is an input like any other: {tolerance.because}"
        holds = not found.trouble and found.share <= 1
    else:
        bound = "finite and in range"
        because = (
            "no bound on int8 or float16 rounding holds for an image that is chosen to break it: how far the "
            "layers' values leave the calibrated ones is the chooser's to say; the error is shown, not judged"
        )
        holds = not found.trouble
    return Claim(
        "worst_input",
        basic.verdict(holds),
        shown,
        bound,
        because,
        detail=words + ("" if holds or found.trouble else f"; would pass at {found.share:.3g} x the bound"),
    )


def beside_the_stream(
    tolerance: FloatTolerance | QuantizedTolerance, found: Score, words: str, stream: Sequence[Claim]
) -> list[WorstRecord]:
    usual = {claim.output or MATCHED: claim.observed for claim in stream if claim.name in STREAM_CLAIMS}
    return [
        WorstRecord(name, unit_of(tolerance, name), usual.get(name), shown(error), words)
        for name, error in found.errors.items()
    ]


def shown(error: float) -> Number | str:
    return basic.number(error)


def unit_of(tolerance: FloatTolerance | QuantizedTolerance, name: str) -> str:
    if name == MATCHED:
        return "matched"
    return "floors" if isinstance(tolerance, FloatTolerance) else "dB"


def error_words(tolerance: FloatTolerance | QuantizedTolerance, name: str, error: float) -> str:
    return f"{error:.3g} {unit_of(tolerance, name)}"
