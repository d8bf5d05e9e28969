"""Proves a user's own network in every format and quantization that was asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelparity.api.model import Model
from modelparity.converters.engine.store import Key, Store
from modelparity.converters.engine.workbench import PROGRAM
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, Workers
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.errors import BadInputError, nearest
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.inputs.tensors import TensorSet
from modelparity.fixtures.programs import ProgramSpec
from modelparity.modelfiles.description import Artifact
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.claims.captured import captured
from modelparity.parity.prove_cells import Listener, prove_all
from modelparity.parity.results import CellRecord, Claim, Mismatched
from modelparity.parity.session import Session, default_store
from modelparity.verification.own_inputs import samples_of

if TYPE_CHECKING:
    from collections.abc import Mapping


DEFAULT_FORMATS = tuple(CONVERTERS)[:1]


class NotProvenError(AssertionError):
    """At least one file is not proven; the message says which, and why."""


@dataclass(frozen=True)
class Proof:
    """What was found out about a network's files.

    Attributes:
        spec: The network's inputs and outputs.
        program: Claims on the captured program, which all files are made from.
        records: One for each cell, in the order in which they were asked for.
        files: The proven files in the output folder, by cell.
    """

    spec: ProgramSpec
    program: tuple[Claim, ...]
    records: tuple[CellRecord, ...]
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every cell is proven; a program that is not its module's makes all of them fail."""
        return all(record.green for record in self.records)

    def check(self) -> None:
        """Raises `NotProvenError` unless everything is proven."""
        __tracebackhide__ = True
        if not self.passed:
            raise NotProvenError(self.words)

    @property
    def words(self) -> str:
        """What is not proven, one paragraph for each cell."""
        from modelparity.reports.failures import failure_text
        from modelparity.reports.view import Entry

        wrong = []
        for record in self.records:
            if not record.green:
                entry = Entry(record.id, record.model, record.format, record.quantization, record)
                wrong.append(failure_text(entry, lines=0))
        return "\n\n".join(wrong)


def cells_of(name: str, formats: Sequence[str], quantizations: Sequence[str]) -> tuple[Cell, ...]:
    """Every format with every quantization that it can be made in.

    Raises:
        BadInputError: an unknown format or quantization, or none of them can be made.
    """
    for asked, known in ((formats, CONVERTERS), (quantizations, QUANTIZATIONS)):
        if unknown := [name for name in asked if name not in known]:
            kind = "format" if known is CONVERTERS else "quantization"
            raise BadInputError(f"no such {kind}: {unknown[0]!r}{nearest(unknown[0], known)}")
    cells = tuple(
        Cell(name, format, quantization)
        for format in formats
        for quantization in quantizations
        if CONVERTERS[format].makes(quantization)
    )
    if not cells:
        raise BadInputError(f"no file is made in {', '.join(formats)} and {', '.join(quantizations)}")
    return cells


def prove(
    model: Model,
    formats: Sequence[str] = DEFAULT_FORMATS,
    quantizations: Sequence[str] = (FLOAT,),
    *,
    output: Path | None = None,
    store: Path | None = None,
    folder: Path | None = None,
    check_budget: CheckBudget | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    on_spec: Callable[[ProgramSpec], None] = lambda _: None,
    on_cell: Listener = lambda *_: None,
) -> Proof:
    """Captures, converts and judges a network.

    Args:
        formats: Of `modelparity.converters.formats.CONVERTERS`.
        quantizations: Of `modelparity.converters.recipes.QUANTIZATIONS`.
        output: Where proven files go; None for nowhere.
        store: Where work is kept; None for the user's own.
        folder: Where relative targets are found; the current folder by default.
        check_budget: How much work is spent on a cell; None for what the gate spends.
        on_stage: Called with words when something takes a while.
        on_spec: Called once the network is captured.
        on_cell: Called with each cell's record, how many are done, and how many there are.

    Raises:
        BadInputError: something that the user can correct.
        WorkerFailedError, WorkerCrashedError: the network cannot be captured; the message says why.
        TargetError, CaptureError: the same of a module that is at hand.
    """
    cells = cells_of(model.label, formats, quantizations)
    with Workers() as workers, tempfile.TemporaryDirectory(prefix="modelparity-") as scratch:
        brought = bring(model, workers, folder or Path.cwd(), store=store, on_stage=on_stage)
        spec = brought.spec
        on_spec(spec)
        with session_of([brought], store, workers, on_stage=on_stage, check_budget=check_budget) as session:
            program = program_claims(session, brought)
            records = prove_all(
                session,
                cells,
                Path(scratch) / "cells.jsonl",
                on_cell,
                judged=lambda record: with_program(record, program),
            )
            by_id = {record.id: record for record in records}
            files = {}
            if output is not None:
                for cell in cells:
                    if by_id[cell.id].green:
                        files[cell.id] = _delivered(session, cell, output)
    return Proof(spec, program, tuple(by_id[cell.id] for cell in cells), files)


@dataclass(frozen=True)
class Brought:
    """A captured network: its description, its program in the store, and its owner's samples.

    `feeds` and `outputs` are the example inputs, and what the module itself gives for them.
    """

    spec: ProgramSpec
    program: Path
    data: TensorSet | None
    feeds: Mapping[str, Array]
    outputs: Mapping[str, Array]


def bring(
    model: Model,
    workers: Workers,
    folder: Path,
    *,
    store: Path | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Brought:
    """Captures a network and keeps its program in the store. Raises as `prove` does."""
    on_stage(f"capturing {model.target if isinstance(model.target, str) else model.label}")
    with tempfile.TemporaryDirectory(prefix="modelparity-") as scratch:
        path = Path(scratch) / PROGRAM
        found = _captured(model, workers, folder, path)
        workers.close("capture")
        data = samples_of(folder / model.data, found.spec) if model.data else None
        kept = _kept(Store(store or default_store()), found.spec, path)
    return Brought(found.spec, kept, data, found.feeds, found.outputs)


def session_of(
    networks: Sequence[Brought],
    store: Path | None,
    workers: Workers,
    *,
    on_stage: Callable[[str], None],
    check_budget: CheckBudget | None = None,
) -> Session:
    """A session that proves captured networks."""
    return Session(
        store=store,
        checkpoints={each.spec.name: each.program for each in networks},
        check_budget=check_budget,
        models={each.spec.name: each.spec for each in networks},
        limitations={},
        on_miss=lambda label, _: None if label.endswith("evidence") else on_stage(f"making {label}"),
        workers=workers,
        data={each.spec.name: each.data for each in networks if each.data},
    )


def _captured(model: Model, workers: Workers, folder: Path, path: Path) -> Any:
    if isinstance(model.target, str):
        if model.examples is not None and not isinstance(model.examples, str):
            raise BadInputError("examples of a named target are given by name, as module:name")
        call = workers["capture"].call
        function = "modelparity.converters.capture.capture:capture"
        options = model.as_options()
        return call(function, model.target, folder, path, timeout=CONVERT_TIMEOUT_S, **options).value
    if not hasattr(model.target, "forward"):
        kind = type(model.target).__name__
        raise BadInputError(f"a target is a text or a torch.nn.Module, not {kind}")
    from modelparity.converters.capture.capture import capture_module

    options = model.as_options()
    return capture_module(model.target, model.examples, path, title=model.label, **options)


def _kept(store: Store, spec: ProgramSpec, path: Path) -> Path:
    """The program in the store, under its own digest."""

    def make(target: Path) -> dict[str, Any]:
        shutil.copyfile(path, target / PROGRAM)
        return {}

    key = Key(f"{spec.name} program", {"digest": spec.digest})
    return store.get(key, make).path(PROGRAM)


def program_claims(session: Session, brought: Brought) -> tuple[Claim, ...]:
    """Whether the program computes what the module computes; nothing for one that came as a program."""
    if not brought.feeds:
        return ()
    reference = partial(session.bench.reference, session.subject(brought.spec.name))
    outputs = {name: np.asarray(value) for name, value in brought.outputs.items()}
    return captured(brought.spec, reference, brought.feeds, outputs)


def with_program(record: CellRecord, claims: Sequence[Claim]) -> CellRecord:
    """The record with the claims on the program that its file is made from."""
    wrong = any(not claim.passed for claim in claims)
    outcome = Mismatched() if wrong and record.green else record.outcome
    return replace(record, claims=(*claims, *record.claims), outcome=outcome)


def _delivered(session: Session, cell: Cell, output: Path) -> Path:
    from modelparity.copy_artifact import copy_artifact

    artifact: Artifact = session.artifact(cell.model, cell.format, cell.quantization)
    suffix = CONVERTERS[cell.format].suffix
    tail = "" if QUANTIZATIONS[cell.quantization].is_float else f"_{cell.quantization}"
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{cell.model}{tail}{suffix}"
    copy_artifact(session, artifact, target)
    return target
