"""Computes the mutation score: plants faults in a proven file, and records whether the judge fails it.

The judge is the gate's own, with less work (`CHECK_BUDGET`), and stops at the first failed claim. A fault is
visible if it moves an output by more than the network's noise floor over the evaluation set, compared with
the original file. A fault that breaks the contract is visible by definition, and so is one that a claim
fails.

The distance to the original has two parts: another function, and another rounding. Only the first is a fault;
the second is float32's, and two right files are up to twice the error of each apart. An example is a mean
subtracted in front of a network that takes differences of pixels: the function is the same, and only rounding
moves (by 1.7 floors on LaDeDa). So where the network itself can be fed the images as the file changes them
(`Fault.feeds`), a survivor is measured in float64, which rounds nothing away. If it is below one floor there,
no right arithmetic distinguishes the two files, and the fault is invisible in principle. No other fault is
excused: all others are visible from one floor on, although right files may be further apart.

For quantized files, the record also has the fault's size relative to the file's own error: some faults are
smaller than rounding, and lineage claims detect them all the same.
"""

from __future__ import annotations

import functools
import json
import re
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import Calibration, Workbench, versions_text
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerCrashedError, WorkerFailedError
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.modelfiles.description import Artifact
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.claims.basic import number
from modelparity.parity.claims.lineage import short
from modelparity.parity.judge import Judge
from modelparity.parity.mutation.catalogue import Fault
from modelparity.parity.mutation.first_failure import (
    LOADS,
    RUNS,
    Verdict,
    distance,
    first_failure,
    share_of_error,
)
from modelparity.parity.mutation.other_rules import refused_by
from modelparity.parity.proof_cache import judge_digest
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import FaultRecord
from modelparity.parity.results_json import fault_from_json

ORIGINAL = "original"  # the unchanged file, which must stay green
# Four images of each network in the gate show both labels.
CHECK_BUDGET = CheckBudget(images=4, draws=1, batches=(3,), convert_again=False, replay=False)
_FILE = "fault.json"
_NAMES = 4  # names of changed constants in a record


def shortened(truth: ReferenceData, count: int) -> ReferenceData:
    """The same reference over the first `count` images of the evaluation set."""
    whole = truth.reference
    outputs = {name: values[:count] for name, values in whole.outputs.items()}
    reference = replace(whole, names=whole.names[:count], feeds=whole.feeds[:count], outputs=outputs)
    return replace(truth, reference=reference)


class Mutation:
    """Scores one cell over as many images as the check budget has.

    `foreseen` are the claims that the file is declared to fail; they kill no fault.
    """

    def __init__(
        self,
        bench: Workbench,
        truth: ReferenceData,
        cell: Cell,
        artifact: Artifact,
        *,
        reference_key: Key,
        calibration: Calibration,
        check_budget: CheckBudget | None = None,
        foreseen: Collection[str] = (),
    ) -> None:
        check_budget = check_budget or CHECK_BUDGET
        self._bench = bench
        self.truth = shortened(truth, check_budget.images)
        self._calibration = calibration
        self._cell = cell
        self._artifact = artifact
        self._budget = check_budget
        self._foreseen = foreseen
        self.toolchain = versions_text((*bench.converters[cell.format].toolchain, "numpy", "hypothesis"))
        self._parts = {
            "artifact": artifact.sha256,
            "reference": reference_key.digest,
            "calibration": calibration.digest,
            "check_budget": repr(check_budget),
            "foreseen": " ".join(sorted(foreseen)),
            "harness": judge_digest(),
            "toolchain": self.toolchain,
        }
        self._original: Verdict | None = None

    def original(self) -> FaultRecord:
        """The record of the unchanged file; if it is `killed`, faults in it would prove nothing."""

        def judged() -> FaultRecord:
            verdict = self._unmutated()
            record = self._record(ORIGINAL, "the original file", strength=None, verdict=verdict, where=None)
            return replace(record, refused_by=self._refused_by(verdict.outputs))

        return self._once(ORIGINAL, None, judged)

    def of(self, fault: Fault) -> list[FaultRecord]:
        """One record for each strength that was tried; with `missing` where the fault does not apply."""
        records, place = [], 0
        for strength in fault.strengths or (None,):
            record = self._at(fault, strength, place)
            while _without_effect(record) and place + 1 < fault.places:
                place += 1
                other = self._at(fault, strength, place)
                if other.missing:
                    break
                record = other
            records.append(record)
            if record.killed or record.missing:
                break
        return records

    def _at(self, fault: Fault, strength: float | None, place: int) -> FaultRecord:
        make = functools.partial(self._planted, fault, strength, place)
        return self._once(f"{fault.name} in place {place}" if place else fault.name, strength, make)

    def _planted(self, fault: Fault, strength: float | None, place: int) -> FaultRecord:
        if fault.judged_as or fault.resampled:
            return self._unedited(fault)
        options = dict(fault.options(self.truth))
        if strength is not None:
            options["strength"] = strength
        if place:
            options["place"] = place
        with tempfile.TemporaryDirectory(prefix="modelparity-") as folder:
            path = Path(folder) / self._artifact.path.name
            try:
                reply = self._bench.workers[self._cell.format].call(
                    "modelparity.modelfiles.mutations.plant:plant",
                    self._file_format,
                    self._artifact.path,
                    path,
                    fault.plant,
                    options=options,
                    timeout=CONVERT_TIMEOUT_S,
                )
            except WorkerFailedError as error:
                if error.kind != "NotApplicableError":
                    raise
                return self._missing(fault, str(error).partition(": ")[2])
            verdict = self._judged(path, self._cell, self.truth)
            outputs = self._outputs(path, verdict)
        record = self._record(
            fault.name,
            fault.because,
            strength=strength,
            verdict=verdict,
            where=reply.value.where,
            contract=fault.contract,
        )
        if fault.feeds and record.visible and not record.killed:
            exactly = self._exactly(fault.feeds(self.truth))
            detail = f"{record.detail}; in float64 it moves {exactly:.2g} floors, the rest is rounding"
            visible, observed = fault.contract or exactly > 1, number(exactly, 3)
            record = replace(record, visible=visible, observed=observed, detail=detail)
        names = reply.value.names
        named = any(_names(verdict.details, short(name)) for name in names)
        return replace(
            record,
            names=names[:_NAMES],
            named=named,
            of_own_error=self._of_own_error(outputs),
            refused_by=self._refused_by(outputs),
        )

    def _outputs(self, path: Path, verdict: Verdict) -> Sequence[Outputs]:
        """Outputs on the first images, also from a file that failed a claim before it ran."""
        if verdict.outputs or verdict.claim in (LOADS, RUNS):
            return verdict.outputs[: CHECK_BUDGET.images]
        try:
            return self._bench.run(self._cell.format, path, self.truth.reference.feeds[: CHECK_BUDGET.images])
        except (WorkerFailedError, WorkerCrashedError):
            return ()

    def _of_own_error(self, outputs: Sequence[Outputs]) -> float | int | str | None:
        if not outputs or QUANTIZATIONS[self._cell.quantization].is_float:
            return None
        reference = shortened(self.truth, len(outputs)).reference
        original = self._unmutated().outputs[: len(outputs)]
        return number(share_of_error(reference, outputs, original), 3)

    def _refused_by(self, outputs: Sequence[Outputs]) -> dict[str, bool]:
        """Which other rules refuse a file with these outputs; with none, it does not run."""
        exact = self.truth.reference.outputs
        count = len(self._float32)
        double = [{name: values[index] for name, values in exact.items()} for index in range(count)]
        return refused_by(outputs[:count], self._float32, double)

    @functools.cached_property
    def _float32(self) -> Sequence[Outputs]:
        """The network's own outputs on the first images."""
        feeds = self.truth.reference.feeds[: CHECK_BUDGET.images]
        return self._bench.reference(self.truth.subject, feeds)

    def _exactly(self, feeds: Sequence[Feeds]) -> float:
        """How far the network's outputs move in float64 on other feeds, in floors."""
        reference = self.truth.reference
        right = [{name: of[i] for name, of in reference.outputs.items()} for i in range(len(feeds))]
        got = self._bench.reference(self.truth.subject, feeds, precision="float64")
        return distance(reference, got, right)

    @property
    def _file_format(self) -> str:
        return self._bench.converters[self._cell.format].format

    def _unedited(self, fault: Fault) -> FaultRecord:
        """The original file, judged as another precision or on images prepared differently."""
        cell, truth = self._cell, self.truth
        if fault.judged_as:
            cell = replace(cell, quantization=fault.judged_as)
        else:
            truth = _resampled(truth)
        verdict = self._judged(self._artifact.path, cell, truth)
        record = self._record(
            fault.name,
            fault.because,
            strength=None,
            verdict=verdict,
            where=fault.because,
            contract=fault.contract,
        )
        outputs = verdict.outputs or self._unmutated().outputs  # of a name that was refused before it ran
        return replace(record, refused_by=self._refused_by(outputs))

    def _unmutated(self) -> Verdict:
        if self._original is None:
            self._original = self._judged(self._artifact.path, self._cell, self.truth)
        return self._original

    def _judged(self, path: Path, cell: Cell, truth: ReferenceData) -> Verdict:
        return first_failure(
            Judge(
                self._bench,
                truth,
                cell,
                path,
                check_budget=self._budget,
                calibration=self._calibration,
            )
        )

    def _record(
        self,
        name: str,
        because: str,
        *,
        strength: float | None,
        verdict: Verdict,
        where: str | None,
        contract: bool = False,
    ) -> FaultRecord:
        moved = None
        if verdict.outputs and where is not None:
            moved = distance(self.truth.reference, verdict.outputs, self._unmutated().outputs)
        beyond = moved is not None and moved > 1
        claim = "" if verdict.claim in self._foreseen else verdict.claim
        return FaultRecord(
            name,
            self._cell.model,
            self._cell.format,
            self._cell.quantization,
            because,
            visible=contract or beyond or bool(claim),
            killed=bool(claim),
            claim=claim,
            strength=strength,
            observed=None if moved is None else number(moved, 3),
            detail="; ".join(filter(None, (where, verdict.detail))),
        )

    def _missing(self, fault: Fault, reason: str) -> FaultRecord:
        cell = self._cell
        return FaultRecord(
            fault.name,
            cell.model,
            cell.format,
            cell.quantization,
            fault.because,
            False,
            False,
            missing=reason,
        )

    def _once(self, name: str, strength: float | None, make: Callable[[], FaultRecord]) -> FaultRecord:
        """The stored record, or one made now. Timeouts and lack of memory are not stored."""
        key = Key(f"{self._cell.id} {name} {strength or ''} fault", self._parts)
        if (entry := self._bench.store.find(key)) is None:
            record = make()
            if record.claim == RUNS and ("timeout" in record.detail or "SIGKILL" in record.detail):
                return record

            def write(folder: Path) -> Mapping[str, Any]:
                (folder / _FILE).write_text(json.dumps(asdict(record)), encoding="utf-8")
                return {}

            entry = self._bench.store.get(key, write)
        return fault_from_json(json.loads(entry.path(_FILE).read_text(encoding="utf-8")))


def _names(text: str, name: str) -> bool:
    """Whether a text has the whole name, not as a part of a longer one."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?=[ ,\n]|$)", text) is not None


def _without_effect(record: FaultRecord) -> bool:
    """Whether a planted fault changed no bit of any output."""
    return not record.killed and record.observed == 0


def _resampled(truth: ReferenceData) -> ReferenceData:
    """The right reference, with feeds that were prepared by the other resampling."""
    subject, reference = truth.subject, truth.reference
    preprocessing = subject.photographs.preprocessing
    other = replace(preprocessing, resample="bilinear" if preprocessing.resample == "bicubic" else "bicubic")
    images = evaluation_set(
        replace(subject.photographs, preprocessing=other), subject.input_size, len(reference.feeds)
    )
    return replace(truth, reference=replace(reference, feeds=images.feeds))
