"""One cell, one direction: convert, convert again, judge, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from modelparity.converters.engine.workbench import Calibration, ModelUnderTest, Workbench, kept_float
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.modelfiles.description import (
    UNKNOWN,
    Artifact,
    BrokenModelError,
    Description,
    NotAModelError,
)
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic
from modelparity.parity.judge import CheckBudget, Judge
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import (
    ArtifactRecord,
    CellRecord,
    Claim,
    Cost,
    Crashed,
    Errored,
    KeptFloat,
    Mismatched,
    Outcome,
    Unsupported,
    outcome_of,
)
from modelparity.parity.tolerances import Expectation, FloatTolerance, Limitation, QuantizedTolerance


def prove(
    bench: Workbench,
    subject: ModelUnderTest,
    truth_of: Callable[[], ReferenceData],
    cell: Cell,
    expectation: Expectation,
    calibration: Calibration,
    check_budget: CheckBudget,
) -> CellRecord:
    """Converts a cell and judges what came of it. Never raises for what the cell did."""
    limitation = expectation if isinstance(expectation, Limitation) else None
    tolerance = expectation.tolerance if isinstance(expectation, Limitation) else expectation
    record = blank_record(cell, subject)
    outcome: Outcome | None = None
    for step in (_converted, _converted_again, _judged):
        record, outcome = step(
            _Case(bench, subject, truth_of, cell, calibration, tolerance, check_budget), record
        )
        if outcome is not None:
            break
    record = replace(record, outcome=outcome or outcome_of(record.claims))
    return _limited(record, limitation) if limitation else record


@dataclass(frozen=True)
class _Case:
    """What the steps of a proof share."""

    bench: Workbench
    subject: ModelUnderTest
    truth_of: Callable[[], ReferenceData]
    cell: Cell
    calibration: Calibration
    tolerance: FloatTolerance | QuantizedTolerance
    check_budget: CheckBudget

    def artifact(self, again: bool = False) -> tuple[Artifact, Mapping[str, Any]]:
        cell = self.cell
        return self.bench.artifact(self.subject, cell.format, cell.quantization, self.calibration, again)


def _converted(case: _Case, record: CellRecord) -> tuple[CellRecord, Outcome | None]:
    with _as_outcome("convert") as caught:
        artifact, meta = case.artifact()
        made = ArtifactRecord(
            artifact.sha256, artifact.bytes, artifact.key, kept_float=_kept(case.cell, meta["kept_float"])
        )
        cost = Cost(convert_s=meta["convert_s"], convert_peak_bytes=meta["convert_peak_bytes"])
        record = replace(record, artifact=made, cost=cost)
    return record, caught.outcome


def _judged(case: _Case, record: CellRecord) -> tuple[CellRecord, Outcome | None]:
    with _as_outcome("reference") as caught:
        truth = case.truth_of()
    if caught.outcome:
        return record, caught.outcome
    artifact, _ = case.artifact()
    judge = Judge(
        case.bench, truth, case.cell, artifact.path, case.tolerance, case.check_budget, case.calibration
    )
    return judged(record, judge)


def _converted_again(case: _Case, record: CellRecord) -> tuple[CellRecord, Outcome | None]:
    if not case.check_budget.convert_again:
        return record, None
    with _as_outcome("convert again") as caught:
        first, _ = case.artifact()
        second, _ = case.artifact(again=True)
        record = replace(record, claims=(*record.claims, basic.reproducible(first.sha256, second.sha256)))
    return record, caught.outcome


def judged(record: CellRecord, judge: Judge) -> tuple[CellRecord, Outcome | None]:
    """The record with the judge's evidence, and the outcome if the judging itself came to grief."""
    with _as_outcome(judge) as caught:
        judge.judge()
    if judge.description is not None and record.artifact is not None:
        record = replace(record, artifact=_described(record.artifact, judge.description))
    record = replace(
        record,
        claims=(*judge.claims, *record.claims),
        samples=tuple(judge.samples),
        worst=tuple(judge.worst),
        headline=judge.headline,
        not_asked=judge.not_asked,
    )
    return record, caught.outcome


def blank_record(cell: Cell, subject: ModelUnderTest) -> CellRecord:
    return CellRecord(
        cell.id,
        cell.model,
        cell.format,
        cell.quantization,
        subject.size,
        Mismatched(),
        reproduce=(
            f"pytest parity -k {cell.id}",
            f"modelparity convert {cell.model} --format {cell.format} --quantization {cell.quantization} "
            f"--output {cell.id}",
        ),
    )


def _kept(cell: Cell, counts: Sequence[int]) -> tuple[KeptFloat, ...]:
    entries = kept_float(cell.model, cell.format, cell.quantization)
    return tuple(
        KeptFloat(entry.operator, n, entry.because) for entry, n in zip(entries, counts, strict=True)
    )


def _described(artifact: ArtifactRecord, description: Description) -> ArtifactRecord:
    arithmetic = {name: macs for name, macs in description.macs.items() if name != UNKNOWN}
    return replace(
        artifact,
        weight_share=_shares(description.weights),
        arithmetic_share=_shares(arithmetic),
        macs=sum(arithmetic.values()),
    )


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: round(count / total, 4) for name, count in sorted(counts.items())} if total else {}


@dataclass
class _Caught:
    outcome: Outcome | None = None


@contextmanager
def _as_outcome(stage: str | Judge) -> Iterator[_Caught]:
    """Turns what toolchains do to their processes into outcomes; harness bugs pass through."""
    caught = _Caught()

    def name() -> str:
        return stage if isinstance(stage, str) else stage.stage

    try:
        yield caught
    except WorkerCrashedError as error:
        caught.outcome = Crashed(name(), error.signal, str(error), error.log_tail)
    except WorkerFailedError as error:
        caught.outcome = Errored(name(), str(error), error.traceback)
    except (BrokenModelError, NotAModelError) as error:
        caught.outcome = Errored(name(), str(error))


def _limited(record: CellRecord, limitation: Limitation) -> CellRecord:
    """A declared limitation: green only if the cell failed where and how it was foreseen."""
    failed = {claim.name for claim in record.claims if claim.status == "failed"}
    broke = record.outcome.stage if isinstance(record.outcome, Errored | Crashed) else None
    foreseen = broke == limitation.stage if broke else failed == {limitation.stage}
    if foreseen:
        return replace(record, outcome=Unsupported(limitation.stage, limitation.reason, limitation.issue))
    if broke or failed:
        return record
    claim = Claim(
        "limitation",
        "failed",
        "every claim holds",
        f"fails at {limitation.stage}",
        because=limitation.because,
        detail=f"the limitation is gone: delete the entry of {record.id} in parity/expectations.py",
    )
    return replace(record, claims=(*record.claims, claim), outcome=Mismatched())
