"""Holds the store, the workers and everything that the cells of a model share."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from modelparity.converters.converter import Converter
from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.store import Key, Store
from modelparity.converters.engine.workbench import Calibration, Workbench, digest_of_arrays
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, RUN_TIMEOUT_S, Workers
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.inputs.evaluation_sets import (
    EvaluationSet,
    calibration_from_directory,
)
from modelparity.fixtures.inputs.input_sets import InputSet, calibration_inputs, evaluation_inputs
from modelparity.fixtures.inputs.tensors import TensorSet
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import NetworkSpec
from modelparity.modelfiles.description import Artifact
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.limitations import LIMITATIONS
from modelparity.parity.proof_cache import cached, evidence_key, prove_once
from modelparity.parity.prove import OWN, Variant, prove_file
from modelparity.parity.reference import (
    GeneratedReference,
    ReferenceData,
    reference_key,
    reference_of,
)
from modelparity.parity.results import CellRecord
from modelparity.parity.search.opposite import opposite


def default_store() -> Path:
    """`MODELPARITY_STORE`, else `modelparity` in the user's cache folder."""
    if root := os.environ.get("MODELPARITY_STORE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelparity"


class Session:
    """Proves cells. As a context manager, it ends the workers on exit.

    Args:
        input_size: Side of the images in pixels; None for each model's default.
        on_miss: Called with a label and a key when the store has to make something.
        data: By model, the owner's own samples instead of generated ones.
        workers: Those of another session, so that they need not start again; None for its own.
    """

    def __init__(
        self,
        store: Path | None = None,
        checkpoints: Mapping[str, Path] | None = None,
        size: str = "reduced",
        input_size: int | None = None,
        *,
        check_budget: CheckBudget | None = None,
        models: Mapping[str, NetworkSpec] | None = None,
        converters: Mapping[str, Converter] | None = None,
        limitations: Mapping[Cell, Limitation] | None = None,
        on_miss: Callable[[str, str], None] | None = None,
        run_timeout_s: float = RUN_TIMEOUT_S,
        workers: Workers | None = None,
        data: Mapping[str, TensorSet] | None = None,
    ) -> None:
        self.check_budget = check_budget or CheckBudget()
        self.models: Mapping[str, NetworkSpec] = MODELS if models is None else models
        self._data = dict(data or {})
        self.limitations = LIMITATIONS if limitations is None else limitations
        self.workers = workers or Workers()
        converters = CONVERTERS if converters is None else converters
        self.bench = Workbench(
            Store(store or default_store(), on_miss), self.workers, converters, run_timeout_s
        )
        self._checkpoints = dict(checkpoints or {})
        self._size = size
        self._input_size = input_size
        self._truths: dict[str, ReferenceData] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        # Caches of the instance, not of the class, so that they end with it.
        self.subject = functools.cache(self._subject)
        self.inputs = functools.cache(self._inputs)
        self.calibration = functools.cache(self._calibration)
        self.calibration_from = functools.cache(self._calibration_from)

    def _subject(self, model: str) -> ModelUnderTest:
        spec, checkpoint = self.models[model], self._checkpoints.get(model)
        if checkpoint and spec.settings_from_checkpoint:
            if self._size == "full":
                spec = spec.at("full")
            reply = self.workers["torch"].call(
                "modelparity.converters.engine.network:fitted", spec, checkpoint, timeout=CONVERT_TIMEOUT_S
            )
            spec = reply.value
        return ModelUnderTest.of(spec, checkpoint, self._input_size, self._size)

    def evaluation_set(self, model: str) -> EvaluationSet:
        """The photographs that the verdict is about, with their ground truth.

        Raises:
            TypeError: it is about other inputs.
        """
        inputs = self.inputs(model)
        if not isinstance(inputs, EvaluationSet):
            raise TypeError(f"{model} is not judged on photographs")
        return inputs

    def _inputs(self, model: str) -> InputSet:
        """What the verdict is about."""
        subject, budget = self.subject(model), self.check_budget
        data = self._data.get(model)
        return evaluation_inputs(subject.spec, subject.input_size, budget.images, seed=budget.seed, data=data)

    def _calibration(self, model: str) -> Calibration:
        subject = self.subject(model)
        return calibration_of(calibration_inputs(subject.spec, subject.input_size, self._data.get(model)))

    def _calibration_from(self, model: str, images: Path) -> Calibration:
        subject = self.subject(model)
        return calibration_of(calibration_from_directory(subject.photographs, subject.input_size, images))

    def truth(self, model: str) -> ReferenceData:
        """The reference of a model, computed at the first call."""
        with self._lock:
            lock = self._locks.setdefault(model, threading.Lock())
        with lock:
            if model not in self._truths:
                subject = self.subject(model)
                meta = self.bench.exported(subject).meta
                reference = reference_of(self.bench, subject, self.inputs(model))
                sides = KIND_CLAIMS[subject.spec.task].one_sided(reference, subject.spec)
                self._truths[model] = ReferenceData(
                    subject,
                    reference,
                    GeneratedReference(self.bench, subject),
                    {"weights": meta["weights"], "elements": meta["elements"]},
                    opposite(self.bench, subject, reference, sides),
                )
            return self._truths[model]

    def feeds(self, model: str) -> tuple[Feeds, ...]:
        """The evaluation set, one feed for each image."""
        return self.inputs(model).feeds

    def cached(self, cell: Cell) -> CellRecord | None:
        """The record of an earlier run with the same inputs; None if there is none."""
        calibration = self.calibration(cell.model)
        artifact = self.bench.artifact_key(
            self.subject(cell.model), cell.format, cell.quantization, calibration
        )
        return cached(self.bench, self._evidence_key(cell), artifact)

    def convert(self, cell: Cell) -> None:
        """Makes the cell's artifact unless it is stored; raises what the worker raises."""
        subject, calibration = self.subject(cell.model), self.calibration(cell.model)
        self.bench.artifact(subject, cell.format, cell.quantization, calibration)

    def artifact(
        self,
        model: str,
        maker: str,
        quantization: str,
        *,
        images: Path | None = None,
        opset: int | None = None,
        mixed: tuple[KeepFloat, ...] | None = None,
    ) -> Artifact:
        """The artifact, from the store or made now.

        Args:
            maker: The format's own converter, or a second route to it.
            images: Folder of images to calibrate with, instead of the default calibration set.
            opset: None for the exporter's own.
            mixed: Layers that stay float, instead of those that the recipe names.
        """
        subject, calibration = self.subject(model), None
        if QUANTIZATIONS[quantization].needs_calibration:
            calibration = self.calibration_from(model, images) if images else self.calibration(model)
        artifact, _ = self.bench.artifact(subject, maker, quantization, calibration, mixed=mixed)
        return self.bench.at_opset(artifact, opset) if opset else artifact

    def prove(self, cell: Cell) -> CellRecord:
        """The cell's record, from the store or made now."""
        return self.cached(cell) or prove_once(
            self.bench,
            self.subject(cell.model),
            lambda: self.truth(cell.model),
            self._evidence_key(cell),
            cell=cell,
            limitation=self.limitations.get(cell),
            calibration=self.calibration(cell.model),
            check_budget=self.check_budget,
        )

    def prove_file(self, cell: Cell, variant: Variant = OWN) -> CellRecord:
        """The record of the cell's own file, or of a variant of it, judged as the gate judges.

        The verdict is on the file alone: if the cell has a declared limitation, the file fails.
        """
        if variant == OWN and cell not in self.limitations:
            return self.prove(cell)
        return prove_file(
            self.bench,
            self.subject(cell.model),
            lambda: self.truth(cell.model),
            cell,
            calibration=self.calibration(cell.model),
            check_budget=self.check_budget,
            variant=variant,
        )

    def _evidence_key(self, cell: Cell) -> Key:
        subject = self.subject(cell.model)
        return evidence_key(
            self.bench,
            subject,
            reference_key(subject, self.inputs(cell.model)),
            cell,
            limitation=self.limitations.get(cell),
            calibration=self.calibration(cell.model),
            check_budget=self.check_budget,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()


def calibration_of(inputs: InputSet) -> Calibration:
    return Calibration(inputs.feeds, digest_of_arrays(inputs.feeds))
