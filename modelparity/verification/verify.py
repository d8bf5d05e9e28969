"""Judges a file from anywhere as the gate judges the cell that the file says it is.

Such a file is always judged as a third party's, even if this project wrote it: the verdict must not depend on
what this machine's store holds. `modelparity convert` proves the files that it makes as the gate does.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelparity.converters.engine.store import sha256_of
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.recipes import JUDGED
from modelparity.errors import BadInputError
from modelparity.exit_codes import BAD_INPUT, explained
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.description import Description, NotAModelError
from modelparity.modelfiles.formats import sniff
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic
from modelparity.parity.judge import Judge
from modelparity.parity.prove import judged
from modelparity.parity.reference import ReferenceData
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
from modelparity.verification.quick_checks import Checks, checked

UNKNOWN = "unknown"  # the quantization of a file that cannot be read


class NoReferenceError(RuntimeError):
    """The network itself could not be run, so no file can be judged."""


@dataclass(frozen=True)
class Verification:
    """The evidence about one file; `limitation` is the declared one of such a cell, if there is one.

    The verdict is on the file alone: a declared limitation explains why the file fails, and excuses nothing.
    """

    record: CellRecord
    limitation: Limitation | None = None
    checks: Checks | None = None

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """ "pass" only if every claim was judged and holds."""
        return "pass" if isinstance(self.record.outcome, Passed) else "fail"

    def as_json(self) -> str:
        """What `verify --json` prints; claims are written as in `report.json`."""
        cell: dict[str, Any] = {"status": self.record.status, **asdict(self.record)}
        claims = cell.pop("claims")
        cell["limitation"] = self.limitation.reason if self.limitation else None
        checks = asdict(self.checks) if self.checks else None
        data = {"verdict": self.verdict, "cell": cell, "claims": claims, "checks": checks}
        return json.dumps(data, indent=1, allow_nan=False)


def verify(
    path: Path,
    spec: ModelSpec,
    *,
    checkpoint: Path | None = None,
    size: str = "reduced",
    input_size: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    image: Path | None = None,
) -> Verification:
    """Judges the file at an absolute path; the quick checks run on `image`, by default on a photograph.

    A damaged or hostile file that stops a runtime fails.

    Raises:
        NotAModelError: the file is no model of a known format.
        BadInputError, OSError: something that the user can correct.
        NoReferenceError: the network itself could not be run.
    """
    format = sniff(path)
    on_stage(f"reading {path.name}")
    checkpoints = {spec.name: checkpoint} if checkpoint else {}
    with Session() as reader:
        # In a child process, because a hostile file may crash a parser.
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
        checks = checked(session, spec.name, path=path, description=description, image=image)
        verification = judge_file(session, path, spec=spec, description=description, on_stage=on_stage)
        return replace(verification, checks=checks)


def _expect_definition(path: Path, description: Description, spec: ModelSpec, size: str) -> None:
    """Raises `BadInputError` for a file of another definition of the network."""
    have = {port.name: port.shape[1:] for port in description.outputs}

    def fits(definition: str) -> bool:
        outputs = spec.at(definition).signature().outputs
        return all(have.get(output.name) == output.shape[1:] for output in outputs)

    if len(spec.sizes) > 1 and not fits(size):
        other = next((definition for definition in spec.sizes if fits(definition)), None)
        if other:
            raise BadInputError(f"{path}: has the outputs of the {other} definition: use --size {other}")


def declared_input_size(description: Description, spec: ModelSpec) -> int:
    """The input size that the file declares if the model supports it; otherwise the model's default."""
    for port in description.inputs:
        *_, height, width = (0, 0, *port.shape)
        if height == width and height in spec.input_sizes:
            return int(height)
    return spec.default_input_size


def reference_data(session: Session, model: str) -> ReferenceData:
    """The model's reference.

    Raises:
        NoReferenceError: the network could not be run, for a reason that is not the user's to mend.
    """
    try:
        return session.truth(model)
    except (WorkerFailedError, WorkerCrashedError) as error:
        words, code = explained(error)
        if code == BAD_INPUT:
            raise
        raise NoReferenceError(f"the reference of {model} could not be computed: {words}") from error


def judge_file(
    session: Session,
    path: Path,
    *,
    spec: ModelSpec,
    description: Description,
    on_stage: Callable[[str], None],
) -> Verification:
    """Judges a readable file against the session's weights and input size."""
    cell = Cell(spec.name, description.format, description.quantization)
    subject = session.subject(spec.name)
    record = _blank(cell, path, subject.size, subject.checkpoint)
    if cell.quantization not in JUDGED:
        return Verification(_finished(record, _unknown_quantization(cell, description, session, spec), None))
    limitation = session.limitations.get(cell)
    truth = reference_data(session, spec.name)
    on_stage(f"judging {path.name} as {cell.id}")
    calibration = session.calibration(spec.name)
    judge = Judge(
        session.bench,
        truth,
        cell,
        path,
        check_budget=session.check_budget,
        calibration=calibration,
        third_party=True,
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


def _finished(record: CellRecord, claims: tuple[Claim, ...], outcome: Outcome | None) -> CellRecord:
    """The record with its outcome; if the file stopped the judging, with a failed claim that says so."""
    match outcome:
        case Crashed(stage=stage, signal=signal, message=message):
            claims = (*claims, _ended(stage, signal, message))
        case Errored(stage=stage, message=message):
            claims = (*claims, _ended(stage, "error", message))
    return replace(record, claims=claims, outcome=outcome or outcome_of(claims))


def _ended(stage: str, observed: str, message: str) -> Claim:
    because = "a file that cannot be loaded and run is useless"
    name, bound = ("loads", "a readable file") if stage == "load" else ("runs", "outputs for every image")
    return Claim(name, "failed", observed, bound, because, detail=message)


def _unreadable(
    error: WorkerFailedError | WorkerCrashedError, path: Path, spec: ModelSpec, format: str
) -> Verification:
    """The verdict on a damaged file of a known format; any other error is raised again."""
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


def _unknown_quantization(
    cell: Cell, description: Description, session: Session, spec: ModelSpec
) -> tuple[Claim, ...]:
    """The claims on a file that no known recipe quantized, so that there are no bounds for its numbers."""
    signature = session.subject(spec.name).signature
    dynamic = session.bench.converters[cell.format].dynamic_batch
    return (
        basic.interface(description, signature, dynamic, dynamic and spec.free_size),
        basic.precision(description, " or ".join(JUDGED)),
    )
