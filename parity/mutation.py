"""The mutation score: faults are planted in a proven file, and the judge is asked whether it notices.

The judge is the gate's own, looking less hard (`EFFORT`) and stopping at the first false claim.
A fault is visible if it moves an output by more than the network's own noise floor, over the stream,
against the honest file; a fault of the contract is visible by definition, and so is what a claim kills.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.store import Key
from converters.workbench import Calibration, Workbench, versions_text
from converters.workers import CONVERT_TIMEOUT_S, WorkerFailedError
from fixtures.streams import evaluation_stream
from parity.cells import Cell
from parity.claims import number
from parity.evidence import harness_digest
from parity.expectations import FloatTolerance, QuantizedTolerance
from parity.faults import Fault
from parity.judge import Effort, Judge, Truth
from parity.noticing import RUNS, Verdict, distance, noticed
from parity.reference import feeds_of
from parity.results import FaultRecord

HONEST = "honest"  # the file as it is, which must stay green
EFFORT = Effort(stream=3, draws=1, batches=(3,), convert_again=False, replay=False)
# Budgets of quantized cells are for the gate's own stream: three images may miss them by chance.
INT8_EFFORT = replace(EFFORT, stream=Effort().stream)
_FILE = "fault.json"


def shortened(truth: Truth, count: int) -> Truth:
    """The same truth over the first `count` images of the stream."""
    whole = truth.reference
    outputs = {name: values[:count] for name, values in whole.outputs.items()}
    reference = replace(whole, names=whole.names[:count], feeds=whole.feeds[:count], outputs=outputs)
    return replace(truth, reference=reference)


class Mutation:
    """Scores one cell over as much of the truth as the effort asks for."""

    def __init__(
        self,
        bench: Workbench,
        truth: Truth,
        cell: Cell,
        artifact: Artifact,
        tolerance: FloatTolerance | QuantizedTolerance,
        reference_key: Key,
        calibration: Calibration,
        effort: Effort | None = None,
    ) -> None:
        effort = effort or (EFFORT if cell.quantization == "fp32" else INT8_EFFORT)
        self._bench = bench
        self.truth = shortened(truth, effort.stream)
        self._calibration = calibration
        self._cell = cell
        self._artifact = artifact
        self._tolerance = tolerance
        self._effort = effort
        self._parts = {
            "artifact": artifact.sha256,
            "reference": reference_key.digest,
            "calibration": calibration.digest,
            "expectation": repr(tolerance),
            "effort": repr(effort),
            "harness": harness_digest(),
            "toolchain": versions_text((*bench.converters[cell.format].toolchain, "numpy", "hypothesis")),
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
        found = []
        for strength in fault.strengths or (None,):
            make = functools.partial(self._planted, fault, strength)
            found.append(self._once(fault.name, strength, make))
            if found[-1].killed or found[-1].missing:
                break
        return found

    def _planted(self, fault: Fault, strength: float | None) -> FaultRecord:
        if fault.judged_as or fault.resampled:
            return self._unedited(fault)
        options = dict(fault.options(self.truth))
        if strength is not None:
            options["strength"] = strength
        with tempfile.TemporaryDirectory(prefix="modelparity-") as folder:
            path = Path(folder) / self._artifact.path.name
            try:
                reply = self._bench.workers[self._cell.format].call(
                    "converters.faults:plant",
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
        return self._record(fault.name, fault.because, strength, verdict, reply.value, fault.contract)

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

    def _noticed(self, path: Path, cell: Cell, truth: Truth) -> Verdict:
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
        return FaultRecord(
            name,
            self._cell.model,
            self._cell.format,
            self._cell.quantization,
            because,
            visible=contract or beyond or bool(verdict.claim),
            killed=bool(verdict.claim),
            claim=verdict.claim,
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
        return FaultRecord(**json.loads(entry.path(_FILE).read_text(encoding="utf-8")))


def _resampled(truth: Truth) -> Truth:
    """The right answers beside a stream that was prepared with the other resampling."""
    subject, reference = truth.subject, truth.reference
    preprocessing = subject.spec.preprocessing
    other = replace(preprocessing, resample="bilinear" if preprocessing.resample == "bicubic" else "bicubic")
    stream = evaluation_stream(
        replace(subject.spec, preprocessing=other), subject.input_size, len(reference.feeds)
    )
    return replace(truth, reference=replace(reference, feeds=feeds_of(stream)))
