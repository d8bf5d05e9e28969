"""Any file, from anywhere, judged as the gate judges the cell that the file says it is."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelparity.converters.engine.store import sha256_of
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError
from modelparity.exit_codes import BAD_INPUT, explained
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.description import Description, NotAModelError
from modelparity.modelfiles.formats import sniff
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic
from modelparity.parity.expectations import expectation_of
from modelparity.parity.judge import Judge
from modelparity.parity.prove import judged
from modelparity.parity.results import (
    ArtifactRecord,
    CellRecord,
    Claim,
    Crashed,
    Errored,
    Outcome,
    Passed,
    outcome_of,
)
from modelparity.parity.session import Session
from modelparity.parity.tolerances import Limitation
from modelparity.verification.quick_checks import Checks, checked

UNKNOWN = "unknown"  # the quantization of a file that cannot be read


class NoReferenceError(RuntimeError):
    """The network itself could not be run, so nothing can be said of any file."""


@dataclass(frozen=True)
class Verification:
    """The evidence about one file; `limitation` is what the project declares of such cells, if it does.

    The verdict is on the file alone: a declared limitation is a reason why it fails, not a pass.
    """

    record: CellRecord
    limitation: Limitation | None = None
    checks: Checks | None = None

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """Pass only if every claim was judged and holds."""
        return "pass" if isinstance(self.record.outcome, Passed) else "fail"

    def as_json(self) -> str:
        """What `verify --json` prints; `claims` are written as in report.json."""
        cell: dict[str, Any] = {"status": self.record.status, **asdict(self.record)}
        found = cell.pop("claims")
        cell["limitation"] = self.limitation.reason if self.limitation else None
        checks = asdict(self.checks) if self.checks else None
        data = {"verdict": self.verdict, "cell": cell, "claims": found, "checks": checks}
        return json.dumps(data, indent=1, allow_nan=False)


def verify(
    path: Path,
    spec: ModelSpec,
    checkpoint: Path | None = None,
    size: str = "reduced",
    input_size: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    image: Path | None = None,
) -> Verification:
    """Judges the file at an absolute path; `image` is what the quick checks look at.

    Raises `NotAModelError` for another kind of file, `BadInputError` or `OSError` for what the user
    can put right; whatever a damaged or hostile file does to a runtime becomes the verdict.
    """
    format = sniff(path)
    on_stage(f"reading {path.name}")
    checkpoints = {spec.name: checkpoint} if checkpoint else {}
    with Session() as reader:
        # In a child: a file made to crash a parser must not take the command line with it.
        try:
            description = reader.workers[format].call("modelparity.modelfiles.describe:describe", path).value
        except (WorkerFailedError, WorkerCrashedError) as error:
            return _unreadable(error, path, spec, format)
    n = input_size or declared_input_size(description, spec)
    with Session(
        checkpoints=checkpoints,
        size=size,
        input_size=n,
        models={spec.name: spec},
        on_miss=lambda label, _: on_stage(f"making {label}"),
    ) as session:
        if checkpoint is None:
            _expect_definition(path, description, spec, size)
        on_stage(f"trying {path.name}")
        checks = checked(session, spec.name, path, description, image)
        return replace(_judged(session, path, spec, description, on_stage), checks=checks)


def _expect_definition(path: Path, description: Description, spec: ModelSpec, size: str) -> None:
    """Raises for a file of the other size."""
    have = {port.name: port.shape[1:] for port in description.outputs}

    def fits(definition: str) -> bool:
        outputs = spec.at(definition).signature().outputs
        return all(have.get(output.name) == output.shape[1:] for output in outputs)

    if len(spec.sizes) > 1 and not fits(size):
        other = next((definition for definition in spec.sizes if fits(definition)), None)
        if other:
            raise BadInputError(f"{path}: has the outputs of the {other} definition: use --size {other}")


def verify_in(
    session: Session, path: Path, format: str, spec: ModelSpec, on_stage: Callable[[str], None]
) -> Verification:
    """Judges a file of a known format in a session that is open: against its weights and input size."""
    try:
        description = session.workers[format].call("modelparity.modelfiles.describe:describe", path).value
    except (WorkerFailedError, WorkerCrashedError) as error:
        return _unreadable(error, path, spec, format)
    return _judged(session, path, spec, description, on_stage)


def declared_input_size(description: Description, spec: ModelSpec) -> int:
    """The input size that the file declares, if the model has it; else the model's default."""
    for port in description.inputs:
        *_, height, width = (0, 0, *port.shape)
        if height == width and height in spec.input_sizes:
            return int(height)
    return spec.default_input_size


def _judged(
    session: Session, path: Path, spec: ModelSpec, description: Description, on_stage: Callable[[str], None]
) -> Verification:
    cell = Cell(spec.name, description.format, description.quantization)
    subject = session.subject(spec.name)
    record = _blank(cell, path, subject.size, subject.checkpoint)
    if cell.quantization not in QUANTIZATIONS:
        return Verification(_finished(record, _foreign_quantization(cell, description, session, spec), None))
    try:
        expectation = expectation_of(cell, session.expectations)
    except KeyError as error:
        raise BadInputError(str(error.args[0])) from error
    limitation = expectation if isinstance(expectation, Limitation) else None
    tolerance = expectation.tolerance if isinstance(expectation, Limitation) else expectation
    try:
        truth = session.truth(spec.name)
    except (WorkerFailedError, WorkerCrashedError) as error:
        words, code = explained(error)
        if code == BAD_INPUT:
            raise
        raise NoReferenceError(f"the reference of {spec.name} could not be computed: {words}") from error
    on_stage(f"judging {path.name} as {cell.id}")
    calibration = session.calibration(spec.name)
    judge = Judge(
        session.bench, truth, cell, path, tolerance, session.check_budget, calibration, third_party=True
    )
    record, outcome = judged(record, judge)
    return Verification(_finished(record, record.claims, outcome), limitation)


def _blank(cell: Cell, path: Path, size: str, checkpoint: Path | None) -> CellRecord:
    artifact = ArtifactRecord(sha256_of(path), path.stat().st_size)
    weights = ["--checkpoint", str(checkpoint)] if checkpoint else []
    reproduce = (shlex.join(["modelparity", "verify", str(path), "--model", cell.model, *weights]),)
    return CellRecord(
        cell.id,
        cell.model,
        cell.format,
        cell.quantization,
        size,
        Passed(),
        artifact=artifact,
        reproduce=reproduce,
    )


def _finished(record: CellRecord, found: tuple[Claim, ...], outcome: Outcome | None) -> CellRecord:
    """The record with its outcome; a file that ended the judging has a failed claim that says so."""
    match outcome:
        case Crashed(stage=stage, signal=signal, message=message):
            found = (*found, _ended(stage, signal, message))
        case Errored(stage=stage, message=message):
            found = (*found, _ended(stage, "error", message))
    return replace(record, claims=found, outcome=outcome or outcome_of(found))


def _ended(stage: str, observed: str, message: str) -> Claim:
    because = "a file that cannot be loaded and run is of no use, whatever else holds"
    name, bound = ("loads", "a readable file") if stage == "load" else ("runs", "outputs for every image")
    return Claim(name, "failed", observed, bound, because, detail=message)


def _unreadable(
    error: WorkerFailedError | WorkerCrashedError, path: Path, spec: ModelSpec, format: str
) -> Verification:
    """Right format, but damaged; anything that is not a matter of the file goes on up."""
    outcome: Outcome
    if isinstance(error, WorkerCrashedError):
        outcome = Crashed("load", error.signal, str(error), error.log_tail)
    elif error.kind == "NotAModelError":
        raise NotAModelError(explained(error)[0]) from error
    elif error.kind == "BrokenModelError":
        outcome = Errored("load", explained(error)[0])
    else:
        raise error
    record = _blank(Cell(spec.name, format, UNKNOWN), path, spec.size, None)
    return Verification(_finished(record, (), outcome))


def _foreign_quantization(
    cell: Cell, description: Description, session: Session, spec: ModelSpec
) -> tuple[Claim, ...]:
    """A file quantized as no recipe here does: there is nothing to hold its numbers against."""
    signature = session.subject(spec.name).signature
    dynamic = session.bench.converters[cell.format].dynamic_batch
    return (
        basic.interface(description, signature, dynamic, dynamic and spec.free_size),
        basic.precision(description, " or ".join(QUANTIZATIONS)),
    )
