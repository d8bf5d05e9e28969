"""The mutation score: faults are planted in a proven file, and the judge is asked whether it notices.

The judge is the gate's own, looking less hard (`CHECK_BUDGET`) and stopping at the first false claim.
A fault is visible if it moves an output by more than the network's own noise floor, over the stream,
against the honest file; a fault of the contract is visible by definition, and so is what a claim kills.

That distance has two parts: what the file computes otherwise, and what it rounds otherwise. The first alone
is a fault; the second is float32's, and two right files are as far apart as twice the error of each. A mean
subtracted in front of a network that takes differences of pixels is such a case: the same function, and
nothing but rounding moves (by 1.7 floors on LaDeDa). So where the network itself can be fed what the file
makes of the image (`Fault.feeds`), a survivor is measured in float64, where nothing is rounded away: below
a floor there, no output of any right arithmetic tells the two files apart, and the fault is invisible in
principle. Nothing else is excused: other faults are visible from one floor on, though the band is wider.

Of a quantized file it is also measured how the fault compares with the file's own error: lineage names
faults that hide in rounding, and this says how deep.
"""

from __future__ import annotations

import functools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import Calibration, Feeds, Outputs, Workbench, versions_text
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerCrashedError, WorkerFailedError
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.modelfiles.description import Artifact
from modelparity.parity.cells import Cell
from modelparity.parity.claims.basic import number
from modelparity.parity.claims.lineage import short
from modelparity.parity.judge import CheckBudget, Judge
from modelparity.parity.mutation.catalogue import Fault
from modelparity.parity.mutation.first_failure import LOADS, RUNS, Verdict, distance, noticed, share_of_error
from modelparity.parity.proof_cache import judge_digest
from modelparity.parity.reference import ReferenceData, feeds_of
from modelparity.parity.results import FaultRecord, fault_from_json
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

HONEST = "honest"  # the file as it is, which must stay green
CHECK_BUDGET = CheckBudget(stream=3, draws=1, batches=(3,), convert_again=False, replay=False)
# Budgets of quantized cells are for the gate's own stream: three images may miss them by chance.
INT8_CHECK_BUDGET = replace(CHECK_BUDGET, stream=CheckBudget().stream)
_FILE = "fault.json"
_NAMES = 4  # of changed numbers, that a record keeps


def shortened(truth: ReferenceData, count: int) -> ReferenceData:
    """The same truth over the first `count` images of the stream."""
    whole = truth.reference
    outputs = {name: values[:count] for name, values in whole.outputs.items()}
    reference = replace(whole, names=whole.names[:count], feeds=whole.feeds[:count], outputs=outputs)
    return replace(truth, reference=reference)


class Mutation:
    """Scores one cell over as much of the truth as the check_budget asks for.

    `foreseen` is the claim that the file is declared to fail; that claim notices nothing, then.
    """

    def __init__(
        self,
        bench: Workbench,
        truth: ReferenceData,
        cell: Cell,
        artifact: Artifact,
        tolerance: FloatTolerance | QuantizedTolerance,
        reference_key: Key,
        calibration: Calibration,
        check_budget: CheckBudget | None = None,
        foreseen: str = "",
    ) -> None:
        check_budget = check_budget or (CHECK_BUDGET if cell.quantization == "fp32" else INT8_CHECK_BUDGET)
        self._bench = bench
        self.truth = shortened(truth, check_budget.stream)
        self._calibration = calibration
        self._cell = cell
        self._artifact = artifact
        self._tolerance = tolerance
        self._effort = check_budget
        self._foreseen = foreseen
        self.toolchain = versions_text((*bench.converters[cell.format].toolchain, "numpy", "hypothesis"))
        self._parts = {
            "artifact": artifact.sha256,
            "reference": reference_key.digest,
            "calibration": calibration.digest,
            "expectation": repr(tolerance),
            "check_budget": repr(check_budget),
            "foreseen": foreseen,
            "harness": judge_digest(),
            "toolchain": self.toolchain,
        }
        self._honest: Verdict | None = None

    def honest(self) -> FaultRecord:
        """The file as it is under the same look; `killed` if it is not green, and then nothing is known."""

        def judged() -> FaultRecord:
            verdict = self._unmutated()
            return self._record(HONEST, "the file as it is", None, verdict, None)

        return self._once(HONEST, None, judged)

    def of(self, fault: Fault) -> list[FaultRecord]:
        """One record a strength that was tried; one with `missing` where the file has no such thing."""
        found, place = [], 0
        for strength in fault.strengths or (None,):
            record = self._at(fault, strength, place)
            while _dead(record) and place + 1 < fault.places:
                place += 1
                other = self._at(fault, strength, place)
                if other.missing:
                    break
                record = other
            found.append(record)
            if record.killed or record.missing:
                break
        return found

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
                    self._suffix,
                    self._artifact.path,
                    path,
                    fault.plant,
                    options,
                    timeout=CONVERT_TIMEOUT_S,
                )
            except WorkerFailedError as error:
                if error.kind != "NotApplicableError":
                    raise
                return self._missing(fault, str(error).partition(": ")[2])
            verdict = self._noticed(path, self._cell, self.truth)
            outputs = self._outputs(path, verdict)
        record = self._record(fault.name, fault.because, strength, verdict, reply.value.where, fault.contract)
        if fault.feeds and record.visible and not record.killed:
            exactly = self._exactly(fault.feeds(self.truth))
            detail = f"{record.detail}; in float64 it moves {exactly:.2g} floors, the rest is rounding"
            visible, observed = fault.contract or exactly > 1, number(exactly, 3)
            record = replace(record, visible=visible, observed=observed, detail=detail)
        names = reply.value.names
        named = any(_says(verdict.said, short(name)) for name in names)
        return replace(record, names=names[:_NAMES], named=named, of_own_error=self._of_own_error(outputs))

    def _outputs(self, path: Path, verdict: Verdict) -> Sequence[Outputs]:
        """Of the stream's first images, from a quantized file that was refused before it ran too."""
        if verdict.outputs or self._cell.quantization == "fp32" or verdict.claim in (LOADS, RUNS):
            return verdict.outputs[: CHECK_BUDGET.stream]
        try:
            return self._bench.run(self._cell.format, path, self.truth.reference.feeds[: CHECK_BUDGET.stream])
        except (WorkerFailedError, WorkerCrashedError):
            return ()

    def _of_own_error(self, outputs: Sequence[Outputs]) -> float | int | str | None:
        if not outputs or self._cell.quantization == "fp32":
            return None
        reference = shortened(self.truth, len(outputs)).reference
        honest = self._unmutated().outputs[: len(outputs)]
        return number(share_of_error(reference, outputs, honest), 3)

    def _exactly(self, feeds: Sequence[Feeds]) -> float:
        """How far the network itself moves in float64 on other feeds, in floors."""
        reference = self.truth.reference
        right = [{name: of[i] for name, of in reference.outputs.items()} for i in range(len(feeds))]
        got = self._bench.reference(self.truth.subject, feeds, precision="float64")
        return distance(reference, got, right)

    @property
    def _suffix(self) -> str:
        return self._artifact.path.suffix.removeprefix(".")

    def _unedited(self, fault: Fault) -> FaultRecord:
        """The honest file, passed off as another one or fed another stream."""
        cell, truth = self._cell, self.truth
        if fault.judged_as:
            cell = replace(cell, quantization=fault.judged_as)
        else:
            truth = _resampled(truth)
        verdict = self._noticed(self._artifact.path, cell, truth)
        return self._record(fault.name, fault.because, None, verdict, fault.because, fault.contract)

    def _unmutated(self) -> Verdict:
        if self._honest is None:
            self._honest = self._noticed(self._artifact.path, self._cell, self.truth)
        return self._honest

    def _noticed(self, path: Path, cell: Cell, truth: ReferenceData) -> Verdict:
        return noticed(
            Judge(self._bench, truth, cell, path, self._tolerance, self._effort, self._calibration)
        )

    def _record(
        self,
        name: str,
        because: str,
        strength: float | None,
        verdict: Verdict,
        where: str | None,
        contract: bool = False,
    ) -> FaultRecord:
        moved = None
        if verdict.outputs and where is not None:
            moved = distance(self.truth.reference, verdict.outputs, self._unmutated().outputs)
        beyond = moved is not None and moved > 1
        claim = "" if verdict.claim == self._foreseen else verdict.claim
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
        """The stored record, or one made now. What may be the machine's doing is not kept."""
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


def _says(text: str, name: str) -> bool:
    """The whole name, not as a part of a longer one."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?=[ ,\n]|$)", text) is not None


def _dead(record: FaultRecord) -> bool:
    """Planted, and nothing moved by a bit."""
    return not record.killed and record.observed == 0


def _resampled(truth: ReferenceData) -> ReferenceData:
    """The right answers beside a stream that was prepared with the other resampling."""
    subject, reference = truth.subject, truth.reference
    preprocessing = subject.spec.preprocessing
    other = replace(preprocessing, resample="bilinear" if preprocessing.resample == "bicubic" else "bicubic")
    stream = evaluation_set(
        replace(subject.spec, preprocessing=other), subject.input_size, len(reference.feeds)
    )
    return replace(truth, reference=replace(reference, feeds=feeds_of(stream)))
