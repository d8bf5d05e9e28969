"""Evaluates cells on labelled datasets, each beside its network in PyTorch, and keeps the results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import network_digest, versions_text
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.evaluate import predictors
from modelparity.evaluate.evaluate import TaskEvaluation, compared, evaluated
from modelparity.evaluate.predictors import EvaluatedModel
from modelparity.fixtures.datasets.detection import DatasetError
from modelparity.fixtures.datasets.labelled import Labelled
from modelparity.parity.cells import Cell
from modelparity.parity.results import CellRecord, TaskRecord
from modelparity.parity.session import Session
from modelparity.terminal import Progress

_FILE = "evaluation.json"
# The key's digest covers the code from outputs to metrics; its other parts name what made the outputs.
_APART = ("modelparity.fixtures.networks", "modelparity.converters", "modelparity.parity.session")


def task_records(
    session: Session,
    cells: Mapping[str, Cell],
    *,
    records: Sequence[CellRecord],
    labelled: Mapping[str, Labelled],
    progress: Progress,
) -> dict[str, TaskRecord]:
    """Records by cell id, for the models that have a dataset; what cannot be measured is a remark instead."""
    tasks: dict[str, TaskRecord] = {}
    for model, dataset in labelled.items():
        mine = [record for record in records if record.model == model and record.artifact and record.samples]
        try:
            if mine:
                mine_cells = [cells[record.id] for record in mine]
                tasks |= _of_model(session, model, cells=mine_cells, dataset=dataset, progress=progress)
        except (DatasetError, WorkerFailedError, WorkerCrashedError) as error:
            # A faulty dataset must not lose proofs that took hours.
            remark = f"not measured: {error}"
            progress.line(f"{dataset.folder.name}: {remark}")
            record = TaskRecord(dataset.folder.name, len(dataset), (), (remark,))
            tasks |= dict.fromkeys((r.id for r in mine), record)
    return tasks


def _of_model(
    session: Session, model: str, *, cells: Sequence[Cell], dataset: Labelled, progress: Progress
) -> dict[str, TaskRecord]:
    progress.stage(f"reading {dataset.folder}")
    digest = dataset.digest()
    subject = session.subject(model)
    network = {
        "checkpoint": subject.weights_digest,
        "network": network_digest(subject.spec),
        "definition": subject.definition,
        "input size": str(subject.input_size),
        "toolchain": versions_text(("torch",)),
    }
    reference = _evaluation(
        session,
        predictors.of_network(session, model),
        dataset=dataset,
        digest=digest,
        parts=network,
        progress=progress,
    )
    tasks = {}
    for cell in cells:
        calibration = session.calibration(model)
        artifact, _ = session.bench.artifact(subject, cell.format, cell.quantization, calibration)
        file = predictors.of_artifact(session, cell, artifact.path)
        toolchain = versions_text(session.bench.converters[cell.format].toolchain)
        parts = {"artifact": artifact.sha256, "toolchain": toolchain}
        try:
            own = _evaluation(session, file, dataset=dataset, digest=digest, parts=parts, progress=progress)
        except (WorkerFailedError, WorkerCrashedError) as error:
            remark = f"{cell.id} does not run on these images: {error}"
            tasks[cell.id] = TaskRecord(dataset.folder.name, len(dataset), (), (remark,))
            continue
        remarks = tuple(dict.fromkeys([*reference.remarks, *own.remarks]))
        tasks[cell.id] = TaskRecord(dataset.folder.name, own.images, compared(reference, own), remarks)
    return tasks


def _evaluation(
    session: Session,
    model: EvaluatedModel,
    *,
    dataset: Labelled,
    digest: str,
    parts: Mapping[str, str],
    progress: Progress,
) -> TaskEvaluation:
    """The evaluation from the store, or made now."""
    key = Key(f"{model.name} on {dataset.folder.name} task metrics", {
        **parts, "dataset": digest, "metrics": source_digest("modelparity.evaluate.evaluate", apart=_APART),
        "libraries": versions_text(("scikit-learn", "numpy", "faster-coco-eval")),
    })  # fmt: skip

    def make(folder: Path) -> dict[str, Any]:
        text = json.dumps(asdict(evaluated(model, dataset, progress)), allow_nan=False)
        (folder / _FILE).write_text(text, encoding="utf-8")
        return {}

    entry = session.bench.store.get(key, make)
    data = json.loads(entry.path(_FILE).read_text(encoding="utf-8"))
    if data["objects"]:
        data["objects"] = tuple(data["objects"])
    return TaskEvaluation(**data)
