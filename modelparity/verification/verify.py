"""Judges a file from anywhere as the gate judges the cell that the file says it is.

Such a file is always judged as a third party's, even if this project wrote it: the verdict must not depend on
what this machine's store holds. `modelparity convert` proves the files that it makes as the gate does.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelparity.converters.engine.store import sha256_of
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.recipes import JUDGED
from modelparity.errors import BadInputError
from modelparity.exit_codes import BAD_INPUT, explained
from modelparity.fixtures.inputs.tensors import TensorSet
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.specs import ModelSpec, NetworkSpec
from modelparity.modelfiles.description import Description, NotAModelError
from modelparity.modelfiles.formats import sniff
from modelparity.modelfiles.ports import AS_NETWORK, FIRST, Ports
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic
from modelparity.parity.judge import Judge
from modelparity.parity.prove import judged_here
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
from modelparity.verification.file_names import remark
from modelparity.verification.own_inputs import samples_of
from modelparity.verification.port_names import options, ports_of, proposal
from modelparity.verification.quick_checks import Checks, checked

UNKNOWN = "unknown"  # the quantization of a file that cannot be read


@dataclass(frozen=True)
class Meant:
    """What the user says of a file and of its judging.

    Attributes:
        quantization: What the file is meant to be; "" for what it is.
        renames: `THEIRS=OURS` texts: the file's names of inputs and outputs, and the network's.
        layouts: Of the file's inputs and outputs, "nchw" or "nhwc".
        feeds: An `.npz` of inputs, on which it is judged instead of the evaluation set.
    """

    quantization: str = ""
    renames: tuple[str, ...] = ()
    layouts: tuple[str, str] = (FIRST, FIRST)
    feeds: Path | None = None

    @property
    def options(self) -> list[str]:
        """The command-line options that say the same."""
        return [
            *(("--as", self.quantization) if self.quantization else ()),
            *options(self.renames, self.layouts),
            *(("--feeds", str(self.feeds)) if self.feeds else ()),
        ]


AS_IT_IS = Meant()


class NoReferenceError(RuntimeError):
    """The network itself could not be run, so no file can be judged."""


@dataclass(frozen=True)
class Verification:
    """The evidence about one file; `limitation` is the declared one of such a cell, if there is one.

    `ports` is how the file's ports were mapped to the network's.

    The verdict is on the file alone: a declared limitation explains why the file fails, and excuses nothing.
    """

    record: CellRecord
    limitation: Limitation | None = None
    checks: Checks | None = None
    ports: Ports = AS_NETWORK

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
        ports = {
            "renamed": self.ports.renames,
            "input_layout": self.ports.input_layout,
            "output_layout": self.ports.output_layout,
        }
        data = {"verdict": self.verdict, "cell": cell, "claims": claims, "ports": ports, "checks": checks}
        return json.dumps(data, indent=1, allow_nan=False)


def verify(
    path: Path,
    spec: NetworkSpec,
    *,
    checkpoint: Path | None = None,
    size: str = "reduced",
    input_size: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    image: Path | None = None,
    meant: Meant = AS_IT_IS,
    data: TensorSet | None = None,
) -> Verification:
    """Judges the file at an absolute path; the quick checks run on `image`, by default on a sample.

    `data` are the samples of a network's owner; those of `meant` come before them.

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
    ports = ports_of(description, spec.signature(), meant.renames, layouts=meant.layouts)
    seen = ports.seen(description)
    n = input_size or declared_input_size(seen, spec)
    if meant.feeds:
        data = samples_of(meant.feeds, spec, n)
    with Session(
        checkpoints=checkpoints,
        size=size,
        input_size=n,
        models={spec.name: spec},
        data={spec.name: data} if data else None,
        limitations=None if isinstance(spec, ModelSpec) else {},  # another network may bear the same name
        on_miss=lambda label, _: on_stage(f"making {label}"),
    ) as session:
        session.bench.ports[path] = ports
        if checkpoint is None and isinstance(spec, ModelSpec):
            expect_definition(path, seen, spec, size)
        on_stage(f"trying {path.name}")
        checks = checked(session, spec.name, path=path, description=seen, image=image)
        verification = judge_file(session, path, spec=spec, description=seen, on_stage=on_stage, meant=meant)
        record = verification.record
        if verification.verdict == "fail" and (
            words := proposal(description, session.subject(spec.name).signature, ports)
        ):
            record = replace(record, explanation=words)
        if not meant.quantization and (words := remark(path, description)):
            record = replace(record, remarks=(*record.remarks, words))
        if said := options(meant.renames, meant.layouts):
            record = replace(record, remarks=(*record.remarks, f"its ports are read by {shlex.join(said)}"))
        if meant.feeds:
            words = f"judged on {len(session.feeds(spec.name))} samples of {meant.feeds.name}"
            record = replace(record, remarks=(*record.remarks, words))
        return replace(verification, record=record, checks=checks, ports=ports)


def expect_definition(path: Path, description: Description, spec: ModelSpec, size: str) -> None:
    """Raises `BadInputError` for a file of another definition of the network."""
    have = {port.name: port.shape[1:] for port in description.outputs}

    def fits(definition: str) -> bool:
        outputs = spec.at(definition).signature().outputs
        return all(have.get(output.name) == output.shape[1:] for output in outputs)

    if len(spec.sizes) > 1 and not fits(size):
        other = next((definition for definition in spec.sizes if fits(definition)), None)
        if other:
            raise BadInputError(f"{path}: has the outputs of the {other} definition: use --size {other}")


def declared_input_size(description: Description, spec: NetworkSpec) -> int:
    """The input size that the file declares if the model supports it; otherwise the model's default."""
    sizes = spec.input_sizes if isinstance(spec, ModelSpec) else ()
    for port in description.inputs:
        *_, height, width = (0, 0, *port.shape)
        if height == width and height in sizes:
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
    spec: NetworkSpec,
    description: Description,
    on_stage: Callable[[str], None],
    meant: Meant = AS_IT_IS,
) -> Verification:
    """Judges a readable file against the session's weights and input size.

    Every claim judges the file as what it is, but for `precision`: that is what it is meant to be.
    """
    cell = Cell(spec.name, description.format, description.quantization)
    subject = session.subject(spec.name)
    words = (*_words(path, spec, subject.checkpoint), *meant.options)
    record = blank_record(cell, path, size=subject.size, words=words)
    if cell.quantization not in JUDGED:
        unknown = _unknown_quantization(cell, description, session, spec)
        return Verification(finished(record, _as_meant(unknown, description, meant), None))
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
    threads = session.check_budget.threads
    record, outcome = judged_here(record, judge, session.bench, path, threads=threads)
    return Verification(finished(record, _as_meant(record.claims, description, meant), outcome), limitation)


def _as_meant(claims: tuple[Claim, ...], description: Description, meant: Meant) -> tuple[Claim, ...]:
    """The claims, `precision` being on what the file is meant to be."""
    if meant.quantization in ("", description.quantization):
        return claims
    detail = (
        f"meant to be {meant.quantization}, but what is in it is {description.quantization}; every other "
        "claim judges it as that"
    )
    claim = replace(basic.precision(description, meant.quantization), detail=detail)
    return tuple(claim if each.name == claim.name else each for each in claims)


def _words(path: Path, spec: NetworkSpec, checkpoint: Path | None) -> tuple[str, ...]:
    """The command that verifies the file again."""
    if not isinstance(spec, ModelSpec):
        return ("modelparity", "verify", str(path), "--against", spec.title)
    weights = ["--checkpoint", str(checkpoint)] if checkpoint else []
    return ("modelparity", "verify", str(path), "--model", spec.name, *weights)


def blank_record(cell: Cell, path: Path, *, size: str, words: Sequence[str]) -> CellRecord:
    """The record of a file before it is judged; `words` are the command that judges it again."""
    return CellRecord(
        cell.id,
        cell.model,
        cell.format,
        cell.quantization,
        size,
        Passed(),
        artifact=ArtifactRecord(sha256_of(path), path.stat().st_size),
        reproduce=(shlex.join(words),),
    )


def finished(record: CellRecord, claims: tuple[Claim, ...], outcome: Outcome | None) -> CellRecord:
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
    error: WorkerFailedError | WorkerCrashedError, path: Path, spec: NetworkSpec, format: str
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
    cell = Cell(spec.name, format, UNKNOWN)
    record = blank_record(cell, path, size=spec.size, words=_words(path, spec, None))
    return Verification(finished(record, (), outcome))


def _unknown_quantization(
    cell: Cell, description: Description, session: Session, spec: NetworkSpec
) -> tuple[Claim, ...]:
    """The claims on a file that no known recipe quantized, so that there are no bounds for its numbers."""
    signature = session.subject(spec.name).signature
    dynamic = session.bench.converters[cell.format].dynamic_batch
    return (
        basic.interface(description, signature, dynamic, dynamic and spec.free_size),
        basic.precision(description, " or ".join(JUDGED)),
    )
