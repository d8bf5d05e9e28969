"""Proves one cell: converts it, converts it again, judges the file, and records the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelparity.converters.engine.machine import cpu
from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.workbench import Calibration, Workbench, kept_float
from modelparity.converters.engine.workers import (
    CONVERT_TIMEOUT_S,
    WorkerCrashedError,
    WorkerFailedError,
)
from modelparity.converters.recipes import FLOAT
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.models import declared_in
from modelparity.fixtures.programs import ProgramSpec
from modelparity.modelfiles.description import (
    UNKNOWN,
    Artifact,
    BrokenModelError,
    Description,
    NotAModelError,
)
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.claims import basic
from modelparity.parity.judge import Judge
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


@dataclass(frozen=True)
class Variant:
    """How a file is made differently from its cell's own file; a field that is None or "" changes nothing.

    `maker` is the converter of a second route, `calibration` holds other calibration images, `opset` is an
    older ONNX opset, and `mixed` lists the layers that stay float instead of those that the recipe names.
    """

    maker: str = ""
    calibration: Calibration | None = None
    opset: int | None = None
    mixed: tuple[KeepFloat, ...] | None = None


OWN = Variant()  # the cell's own file


def prove(
    bench: Workbench,
    subject: ModelUnderTest,
    truth_of: Callable[[], ReferenceData],
    cell: Cell,
    *,
    calibration: Calibration,
    check_budget: CheckBudget,
    limitation: Limitation | None = None,
) -> CellRecord:
    """Converts a cell and judges the result. Never raises for what the cell did."""
    record = prove_file(bench, subject, truth_of, cell, calibration=calibration, check_budget=check_budget)
    return record if limitation is None else _limited(record, limitation)


def prove_file(
    bench: Workbench,
    subject: ModelUnderTest,
    truth_of: Callable[[], ReferenceData],
    cell: Cell,
    *,
    calibration: Calibration,
    check_budget: CheckBudget,
    variant: Variant = OWN,
) -> CellRecord:
    """The same proof, of a file that may be a variant of the cell's; a declared limitation excuses nothing.

    A second route's file is another toolchain's, so it is judged as a third party's, and converted once.
    """
    calibration = variant.calibration or calibration
    case = _Case(bench, subject, truth_of, cell, calibration, check_budget, variant)
    record = blank_record(cell, subject)
    outcome: Outcome | None = None
    for step in (_converted, _converted_again, _judged):
        record, outcome = step(case, record)
        if outcome is not None:
            break
    return replace(record, outcome=outcome or outcome_of(record.claims))


@dataclass(frozen=True)
class _Case:
    """Inputs that the steps of a proof share."""

    bench: Workbench
    subject: ModelUnderTest
    truth_of: Callable[[], ReferenceData]
    cell: Cell
    calibration: Calibration
    check_budget: CheckBudget
    variant: Variant

    def artifact(self, again: bool = False) -> tuple[Artifact, Mapping[str, Any]]:
        return self._made(self.cell.quantization, again)

    def float_file(self) -> Artifact:
        """The float file that a quantized one was made from, by the same route and at the same opset."""
        return self._made(FLOAT, False)[0]

    def _made(self, quantization: str, again: bool) -> tuple[Artifact, Mapping[str, Any]]:
        variant = self.variant
        maker = variant.maker or self.cell.format
        mixed = None if quantization == FLOAT else variant.mixed
        artifact, meta = self.bench.artifact(
            self.subject, maker, quantization, self.calibration, again=again, mixed=mixed
        )
        return (self.bench.at_opset(artifact, variant.opset) if variant.opset else artifact), meta


def _converted(case: _Case, record: CellRecord) -> tuple[CellRecord, Outcome | None]:
    with _as_outcome("convert") as caught:
        artifact, meta = case.artifact()
        file = ArtifactRecord(
            artifact.sha256, artifact.bytes, artifact.key, kept_float=_kept(case, meta["kept_float"])
        )
        cost = Cost(convert_s=meta["convert_s"], convert_peak_bytes=meta["convert_peak_bytes"])
        record = replace(record, artifact=file, cost=cost)
    return record, caught.outcome


def _judged(case: _Case, record: CellRecord) -> tuple[CellRecord, Outcome | None]:
    with _as_outcome("reference") as caught:
        truth = case.truth_of()
    if caught.outcome:
        return record, caught.outcome
    artifact, _ = case.artifact()
    judge = Judge(
        case.bench,
        truth,
        case.cell,
        artifact.path,
        check_budget=case.check_budget,
        calibration=case.calibration,
        third_party=bool(case.variant.maker),
        float_file=case.float_file,
    )
    return judged_here(record, judge, case.bench, artifact.path, threads=case.check_budget.threads)


def _converted_again(case: _Case, record: CellRecord) -> tuple[CellRecord, Outcome | None]:
    if not case.check_budget.convert_again or case.variant.maker:
        return record, None
    with _as_outcome("convert again") as caught:
        first, _ = case.artifact()
        second, _ = case.artifact(again=True)
        record = replace(record, claims=(*record.claims, basic.reproducible(first.sha256, second.sha256)))
    return record, caught.outcome


def judged(record: CellRecord, judge: Judge) -> tuple[CellRecord, Outcome | None]:
    """The record with the judge's claims, and the outcome if judging crashed."""
    with _as_outcome(judge) as caught:
        judge.judge()
    if judge.description is not None and record.artifact is not None:
        record = replace(record, artifact=_described(record.artifact, judge.description))
    record = replace(
        record,
        claims=(*judge.claims, *record.claims),
        samples=tuple(judge.samples),
        quality=judge.quality,
        worst=tuple(judge.worst),
        headline=judge.headline,
        explanation=judge.explanation,
        not_asked=judge.not_asked,
    )
    return record, caught.outcome


def judged_here(
    record: CellRecord, judge: Judge, bench: Workbench, path: Path, *, threads: int
) -> tuple[CellRecord, Outcome | None]:
    """As `judged`; the record also has this CPU, the runtime, and the options of the file's session."""
    record, outcome = judged(record, judge)
    record = replace(record, ran_on=cpu())
    if outcome is not None or not judge.outputs:
        return record, outcome
    with _as_outcome("load") as caught:
        reply = bench.workers[record.format].call(
            "modelparity.converters.engine.tasks:session_options",
            bench.converters[record.format].module,
            path,
            threads=threads,
            timeout=CONVERT_TIMEOUT_S,
        )
        record = replace(record, ran_on={**cpu(), **reply.value})
    return record, caught.outcome


def blank_record(cell: Cell, subject: ModelUnderTest) -> CellRecord:
    return CellRecord(
        cell.id,
        cell.model,
        cell.format,
        cell.quantization,
        subject.size,
        Mismatched(),
        reproduce=_reproduce(cell, subject),
    )


def _reproduce(cell: Cell, subject: ModelUnderTest) -> tuple[str, ...]:
    made = f"--format {cell.format} --quantization {cell.quantization}"
    if isinstance(subject.spec, ProgramSpec):
        return (f"modelparity prove {subject.spec.title} {made}",)
    return (f"pytest parity -k {cell.id}", f"modelparity convert {cell.model} {made} --output {cell.id}")


def _kept(case: _Case, counts: Sequence[int]) -> tuple[KeptFloat, ...]:
    cell, entries = case.cell, case.variant.mixed
    if entries is None:
        entries = kept_float(case.subject.spec, cell.format, cell.quantization)
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
    """Turns errors and crashes of toolchains into outcomes; bugs of the harness pass through."""
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
    """Applies a declared limitation: green only if the cell fell short where and how it declares."""
    short = {claim.name for claim in record.claims if not claim.passed}
    broke = record.outcome.stage if isinstance(record.outcome, Errored | Crashed) else None
    as_declared = broke == limitation.stage if broke else short == limitation.claims
    if as_declared:
        return replace(record, outcome=Unsupported(limitation.stage, limitation.reason, limitation.issue))
    if broke or short:
        return record
    claim = Claim(
        "limitation",
        "failed",
        "every claim holds",
        f"fails at {', '.join([limitation.stage, *limitation.also])}",
        because="a declared limitation is strict, so that nothing that works is called broken",
        detail=f"the limitation is gone: delete the entry of {record.id} in {declared_in(record.model)}",
    )
    return replace(record, claims=(*record.claims, claim), outcome=Mismatched())
