"""Replays the worst inputs that searches have found, and measures how bad an input is for a cell.

A float cell has a bound on any input: `generated_floors`. A quantized cell has none: its error grows with the
distance of the layers' values from those that ranges were calibrated on, and a chosen image can make that
distance large. So its outputs must stay finite and in range, and its error is shown beside the worst of the
evaluation set.
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
    Workbench,
    digest_of_arrays,
    network_digest,
    versions_text,
)
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.inputs.worst_inputs import WorstInput
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.claims import basic
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.metrics.errors import decibels, rms
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim, Number, WorstRecord

MATCHED = "detections"
# Claims that tell the error on the worst image of the evaluation set.
SET_CLAIMS = ("float_parity", "worst_sqnr", "detections")
_FILE = "truth.npz"


@dataclass(frozen=True)
class Score:
    """How bad an input is for a cell.

    Attributes:
        share: Error as a multiple of what the cell may have: of `generated_floors` for a float cell; for a
            quantized one, of what its budget allows the worst image of the evaluation set, no bound here.
        errors: By output, in the unit of the claims.
        problem: What is wrong whatever the error, such as an output that is not finite; "" if nothing is.
    """

    share: float
    errors: Mapping[str, float]
    problem: str = ""


def score_of(
    reference: Reference,
    tolerance: FloatTolerance | QuantizedTolerance,
    *,
    outputs: Outputs,
    truth: Outputs,
    floors: Mapping[str, float],
) -> Score:
    """`outputs` of one image against float64; `floors` are float32's on this image, for a float cell."""
    pair = reference.kind.paired(outputs, truth)
    errors: dict[str, float] = {}
    shares = [0.0]
    for name, usual in reference.floors.items():
        error = rms(pair.observed[name].astype(np.float64) - pair.expected[name])
        if math.isnan(error) and not pair.observed[name].size:
            continue  # no detection has a partner: the share matched says so
        if isinstance(tolerance, FloatTolerance):
            errors[name] = error / max(usual, floors.get(name, 0.0))
            shares.append(errors[name] / tolerance.generated_floors)
        else:
            signal = reference.spread(name)
            errors[name] = decibels(signal**2, error**2)
            shares.append(error / (signal * 10 ** (-tolerance.worst_sqnr_db[name] / 20)))
    if matched := KIND_CLAIMS[reference.task].share_matched(reference, pair, floors, tolerance):
        share, least = matched
        errors[MATCHED] = share
        if least < 1:
            shares.append((1 - share) / (1 - least))
    share = math.inf if any(map(math.isnan, shares)) else max(shares)
    return Score(share, errors)


def problem_in(label: str, outputs: Outputs, signature: Any) -> str:
    """What is wrong without a reference: an output missing, not finite, or out of its range; else ""."""
    runs = [(label, outputs)]
    declared = basic.outputs_as_declared(runs, signature)
    claims = [declared]
    if declared.passed:
        claims += [basic.finite(runs), *basic.in_range(runs, signature)]
    for claim in claims:
        if not claim.passed:
            return f"{claim.name}: {claim.observed}, but should be {claim.bound}"
    return ""


def truth_of(bench: Workbench, subject: Any, feed: Feeds) -> Outputs:
    """Float64 outputs on one image, computed once, then read from the store."""
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
    truth: ReferenceData,
    tolerance: FloatTolerance | QuantizedTolerance,
    *,
    run: Callable[[Sequence[Feeds]], Sequence[Outputs]],
    inputs: Sequence[WorstInput],
    claims: Sequence[Claim],
) -> tuple[list[Claim], list[WorstRecord]]:
    """One claim for each input, and the errors on it beside the worst of the evaluation set.

    `run` runs the file. `claims` are those made before, with the errors over the evaluation set.
    """
    subject, new, records = truth.subject, [], []
    for entry in inputs:
        words, feed = entry.recipe.words, {"image": entry.recipe.feed(subject.spec, subject.input_size)}
        try:
            (outputs,) = run([feed])
        except WorkerFailedError as error:
            new.append(claim_of(tolerance, Score(math.inf, {}, f"does not run: {error}"), words))
            continue
        if problem := problem_in(words, outputs, subject.signature):
            new.append(claim_of(tolerance, Score(math.inf, {}, problem), words))
            continue
        expected: Outputs
        floors: Mapping[str, float]
        if isinstance(tolerance, FloatTolerance):
            expected, floors = truth.generated.of(feed)
        else:
            expected, floors = truth_of(bench, subject, feed), {}
        score = score_of(truth.reference, tolerance, outputs=outputs, truth=expected, floors=floors)
        new.append(claim_of(tolerance, score, words))
        records += beside_evaluation_set(tolerance, score, words, claims)
    return new, records


def claim_of(tolerance: FloatTolerance | QuantizedTolerance, score: Score, words: str) -> Claim:
    """The claim on one input, which `words` describe."""
    shown = score.problem or "; ".join(
        f"{name} {error_words(tolerance, name, error)}" for name, error in score.errors.items()
    )
    if isinstance(tolerance, FloatTolerance):
        bound = f"within {tolerance.generated_floors:g} floors"
        if tolerance.generated_matched < 1 and MATCHED in score.errors:
            bound += f", {tolerance.generated_matched:g} of the detections matched"
        because = (
            f"the bound on generated inputs also holds for the worst that a search found: {tolerance.because}"
        )
        holds = not score.problem and score.share <= 1
    else:
        bound = "finite and in range"
        because = (
            "no bound on int8 or float16 rounding holds for an image chosen to break it, because the image "
            "decides how far the layers' values leave the calibrated ranges; the error is shown, not judged"
        )
        holds = not score.problem
    return Claim(
        "worst_input",
        basic.verdict(holds),
        shown,
        bound,
        because,
        detail=words + ("" if holds or score.problem else f"; would pass at {score.share:.3g} x the bound"),
    )


def beside_evaluation_set(
    tolerance: FloatTolerance | QuantizedTolerance, score: Score, words: str, claims: Sequence[Claim]
) -> list[WorstRecord]:
    """The errors on one input, each beside that of the evaluation set's worst image."""
    usual = {claim.output or MATCHED: claim.observed for claim in claims if claim.name in SET_CLAIMS}
    return [
        WorstRecord(name, unit_of(tolerance, name), usual.get(name), shown(error), words)
        for name, error in score.errors.items()
    ]


def shown(error: float) -> Number | str:
    return basic.number(error)


def unit_of(tolerance: FloatTolerance | QuantizedTolerance, name: str) -> str:
    if name == MATCHED:
        return "matched"
    return "floors" if isinstance(tolerance, FloatTolerance) else "dB"


def error_words(tolerance: FloatTolerance | QuantizedTolerance, name: str, error: float) -> str:
    return f"{error:.3g} {unit_of(tolerance, name)}"
