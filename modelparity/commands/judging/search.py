"""`modelparity search`: finds the input on which a cell has the greatest error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelparity import arguments, terminal
from modelparity.arrays import written
from modelparity.commands.judging.gate import selected
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError
from modelparity.exit_codes import StoppedError
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.inputs.worst_inputs import WorstInput
from modelparity.parity.cells import Cell
from modelparity.parity.claims.basic import number
from modelparity.parity.results import Claim
from modelparity.parity.search.search import Search, SearchResult
from modelparity.parity.search.worst_inputs import claim_of, error_words, unit_of
from modelparity.parity.session import Session
from modelparity.reports.words import GLYPHS

LEAST_SECONDS = 1.0
STOPPED = "stopped; inputs of finished cells are kept, nothing of the cell at hand"


@dataclass(frozen=True)
class Searched:
    """What became of one cell; `kept` is the file that the input went to, None if it is there already."""

    cell: Cell
    found: SearchResult
    claim: Claim
    kept: Path | None = None

    @property
    def passed(self) -> bool:
        return self.claim.passed

    @property
    def is_float(self) -> bool:
        return QUANTIZATIONS[self.cell.quantization].is_float


def search(expression: str, seconds: float, *, checkpoints: list[str], keep: bool, as_json: bool) -> bool:
    """Searches each selected cell and prints what was found; returns whether every bound holds."""
    cells = selected(expression)
    if not seconds >= LEAST_SECONDS:
        raise BadInputError(f"--seconds {seconds:g}, but should be at least {LEAST_SECONDS:g}")
    paths = arguments.checkpoint_pairs(checkpoints)
    if keep:
        arguments.writable_folder(worst_inputs.FOLDER)
    results = []
    with (
        terminal.progress("searching", total=len(cells)) as progress,
        Session(checkpoints=paths, on_miss=lambda label, _: progress.hint(f"making {label}")) as session,
    ):
        for cell in cells:
            try:
                result = searched(session, cell, seconds=seconds, keep=keep, on_stage=progress.stage)
            except KeyboardInterrupt:
                raise StoppedError(STOPPED) from None
            results.append(result)
            progress.line(lines(result)[0])
            progress.advance()
    if as_json:
        terminal.say(json.dumps({"cells": [as_data(result) for result in results]}, indent=1))
    else:
        terminal.say("\n".join(line for result in results for line in lines(result)))
    return all(result.passed for result in results)


def searched(
    session: Session,
    cell: Cell,
    *,
    seconds: float,
    keep: bool,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Searched:
    """One cell searched; with `keep`, its input is stored if it beats the one that its weights have."""
    on_stage(f"searching {cell.id} for {seconds:.0f} s")
    try:
        artifact = session.artifact(cell.model, cell.format, cell.quantization)
        climb = Search(
            session.bench,
            session.truth(cell.model),
            cell,
            artifact.path,
            calibration=session.calibration(cell.model),
            on_stage=on_stage,
        )
        before = worst_inputs.stored(cell.id)
        # What the other format's file errs on costs the gate no further truth.
        others = [
            replace(cell, format=format) for format in session.bench.converters if format != cell.format
        ]
        starts = [*before, *(entry for other in others for entry in worst_inputs.stored(other.id))]
        outcome = climb.search(seconds, list(dict.fromkeys(entry.recipe for entry in starts)))
    except (WorkerFailedError, WorkerCrashedError) as error:
        raise BadInputError(f"{cell.id} cannot be searched: {error}") from error
    is_float = QUANTIZATIONS[cell.quantization].is_float
    claim = claim_of(outcome.score, outcome.recipe.words, is_float=is_float)
    result = Searched(cell, outcome, claim)
    weights = session.subject(cell.model).weights_digest
    mine = [entry.recipe for entry in before if entry.weights == weights]
    if not keep or any(climb.tried[recipe].share >= outcome.score.share for recipe in mine):
        return result
    return Searched(
        cell, outcome, claim, _stored(cell, WorstInput(outcome.recipe, weights, claim_text(claim)))
    )


def claim_text(claim: Claim) -> str:
    return f"{claim.observed} on {claim.detail.partition(';')[0]}"


def _stored(cell: Cell, entry: WorstInput) -> Path:
    target = worst_inputs.path_of(cell.id)
    text = worst_inputs.text_with(cell.id, entry)
    with written(target) as file:
        file.write(text.encode())
    return target


def lines(result: Searched) -> list[str]:
    """The cell's result in plain lines."""
    found = result.found
    glyph = GLYPHS["passed" if result.passed else "failed"]
    answer = "holds" if result.passed else "is broken"
    bound = f"the bound ({result.claim.bound}) {answer} on the worst of {found.runs} inputs"
    said = [f"{glyph} {result.cell.id}: {bound}"]

    def errors(score: Any) -> str:
        words = score.problem or "; ".join(
            f"{name} {error_words(name, error, is_float=result.is_float)}"
            for name, error in score.errors.items()
        )
        return f"{words} ({score.share:.3g} x the {_measure(result)})"

    said.append(f"  worst of the stream  {errors(found.evaluation_set)}: {found.worst_image}")
    said.append(f"  worst found          {errors(found.score)}: {found.recipe.words}")
    if found.recipe != found.unshrunk:
        said.append(f"  shrunk from          {found.unshrunk.words}, by {found.by}")
    if result.kept:
        said.append(f"  stored in            {result.kept}; the gate replays it")
    if not result.passed:
        said.append(f"  because              {result.claim.because}")
    return said


def _measure(result: Searched) -> str:
    return "bound" if result.is_float else "output's spread"


def as_data(result: Searched) -> dict[str, Any]:
    """A cell as `search --json` prints it."""
    found = result.found

    def data(score: Any) -> dict[str, Any]:
        return {
            "share": number(score.share),
            "errors": {
                name: {"value": number(error), "unit": unit_of(name, is_float=result.is_float)}
                for name, error in score.errors.items()
            },
            "trouble": score.problem,
        }

    return {
        "cell": result.cell.id,
        "verdict": "pass" if result.passed else "fail",
        "bound": result.claim.bound,
        "because": result.claim.because,
        "inputs": found.runs,
        "stream": {**data(found.evaluation_set), "input": found.worst_image},
        "found": {
            **data(found.score),
            "input": found.recipe.words,
            "recipe": found.recipe.as_data(),
            "by": found.by,
        },
        "stored": str(result.kept) if result.kept else None,
    }
