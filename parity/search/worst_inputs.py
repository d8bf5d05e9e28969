"""Replays the worst inputs that searches have found, and measures how bad an input is for a cell.

A float cell has a bound on any input: `GENERATED` noise floors. A quantized cell has none, because what a
right file gives is not simulated for these images, and its distance from float64 depends on the image. So its
outputs must stay finite and in range, and its error is shown beside the worst of the evaluation set.
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
from modelparity.parity.claims import basic
from modelparity.parity.claims.detection.matches import GENERATED_MATCHED
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.metrics.errors import OutputError, decibels, rms
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import GENERATED, Reference, ReferenceData
from modelparity.parity.results import Claim, WorstRecord

MATCHED = "detections"
_FILE = "truth.npz"


@dataclass(frozen=True)
class Score:
    """How bad an input is for a cell.

    Attributes:
        share: Error as a multiple of what a float cell may have; for a quantized one, of the output's spread,
            which is no bound.
        errors: By output, in the unit of the claims.
        problem: What is wrong whatever the error, such as an output that is not finite; "" if nothing is.
    """

    share: float
    errors: Mapping[str, float]
    problem: str = ""


def score_of(
    reference: Reference,
    *,
    is_float: bool,
    outputs: Outputs,
    truth: Outputs,
    noise: Mapping[str, Noise],
) -> Score:
    """`outputs` of one image against float64; `noise` is float32's on this image, for a float cell."""
    pair = reference.kind.paired(outputs, truth)
    errors: dict[str, float] = {}
    shares = [0.0]
    for name, usual in reference.floors.items():
        error = rms(pair.observed[name].astype(np.float64) - pair.expected[name])
        if math.isnan(error) and not pair.observed[name].size:
            continue  # no detection has a partner: the share matched says so
        if is_float:
            errors[name] = error / max(usual, noise[name].rms if name in noise else 0.0)
            shares.append(errors[name] / GENERATED)
        else:
            signal = reference.spread(name)
            errors[name] = decibels(signal**2, error**2)
            shares.append(error / signal if signal else 0.0)
    if not is_float and pair.rows != (0, 0):
        errors[MATCHED] = pair.share
        shares.append(1 - pair.share)
    elif is_float and (matched := KIND_CLAIMS[reference.task].share_matched(reference, pair, noise)):
        share, least = matched
        errors[MATCHED] = share
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
    *,
    is_float: bool,
    run: Callable[[Sequence[Feeds]], Sequence[Outputs]],
    inputs: Sequence[WorstInput],
    errors: Sequence[OutputError],
) -> tuple[list[Claim], list[WorstRecord]]:
    """One claim for each input, and the errors on it beside the worst of the evaluation set.

    `run` runs the file. `errors` are those over the evaluation set.
    """
    floors = truth.reference.floors
    usual = {
        error.output: basic.number(error.worst_rms.rms / floors[error.output])
        if is_float
        else basic.number(error.worst_rms.sqnr_db)
        for error in errors
    }
    subject, new, records = truth.subject, [], []
    for entry in inputs:
        words, feed = (
            entry.recipe.words,
            {"image": entry.recipe.feed(subject.photographs, subject.input_size)},
        )
        try:
            (outputs,) = run([feed])
        except WorkerFailedError as error:
            new.append(claim_of(Score(math.inf, {}, f"does not run: {error}"), words, is_float=is_float))
            continue
        if problem := problem_in(words, outputs, subject.signature):
            new.append(claim_of(Score(math.inf, {}, problem), words, is_float=is_float))
            continue
        expected: Outputs
        noise: Mapping[str, Noise]
        if is_float:
            expected, noise = truth.generated.of(feed)
        else:
            expected, noise = truth_of(bench, subject, feed), {}
        score = score_of(truth.reference, is_float=is_float, outputs=outputs, truth=expected, noise=noise)
        new.append(claim_of(score, words, is_float=is_float))
        records += [
            WorstRecord(name, unit_of(name, is_float=is_float), usual.get(name), basic.number(error), words)
            for name, error in score.errors.items()
        ]
    return new, records


def claim_of(score: Score, words: str, *, is_float: bool) -> Claim:
    """The claim on one input, which `words` describe."""
    observed = score.problem or "; ".join(
        f"{name} {error_words(name, error, is_float=is_float)}" for name, error in score.errors.items()
    )
    if is_float:
        bound = f"within {GENERATED:g} floors"
        if MATCHED in score.errors:
            bound += f", {GENERATED_MATCHED:g} of the detections matched"
        because = (
            "the bound on generated inputs also holds for the worst that a search found: a right file "
            "reaches 27 floors on a flat image, where errors add up"
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
        observed,
        bound,
        because,
        detail=words + ("" if holds or score.problem else f"; would pass at {score.share:.3g} x the bound"),
    )


def unit_of(name: str, *, is_float: bool) -> str:
    if name == MATCHED:
        return "matched"
    return "floors" if is_float else "dB"


def error_words(name: str, error: float, *, is_float: bool) -> str:
    return f"{error:.3g} {unit_of(name, is_float=is_float)}"
