"""Cells on labelled datasets: each beside its network in PyTorch, evaluated once."""

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
from modelparity.evaluate.predictors import Side
from modelparity.fixtures.datasets.detection import DatasetError
from modelparity.fixtures.datasets.labelled import Labelled
from modelparity.parity.cells import Cell
from modelparity.parity.results import CellRecord, TaskRecord
from modelparity.parity.session import Session
from modelparity.terminal import Progress

_FILE = "evaluation.json"
# Between a file's outputs and its metrics; what made the outputs is named by the other parts of the key.
_APART = ("modelparity.fixtures.networks", "modelparity.converters", "modelparity.parity.session")


def task_records(
    session: Session,
    cells: Mapping[str, Cell],
    records: Sequence[CellRecord],
    labelled: Mapping[str, Labelled],
    progress: Progress,
) -> dict[str, TaskRecord]:
    """By cell id, for the models that have a dataset; what cannot be measured is a remark instead."""
    found: dict[str, TaskRecord] = {}
    for model, dataset in labelled.items():
        mine = [record for record in records if record.model == model and record.artifact and record.samples]
        try:
            found |= _of_model(session, model, [cells[r.id] for r in mine], dataset, progress) if mine else {}
        except (DatasetError, WorkerFailedError, WorkerCrashedError) as error:
            # Proofs of hours stand, whatever is wrong with the dataset.
            remark = f"not measured: {error}"
            progress.line(f"{dataset.folder.name}: {remark}")
            record = TaskRecord(dataset.folder.name, len(dataset), (), (remark,))
            found |= dict.fromkeys((r.id for r in mine), record)
    return found


def _of_model(
    session: Session, model: str, cells: Sequence[Cell], dataset: Labelled, progress: Progress
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
        session, predictors.of_network(session, model), dataset, digest, network, progress
    )
    found = {}
    for cell in cells:
        calibration = session.calibration(model)
        artifact, _ = session.bench.artifact(subject, cell.format, cell.quantization, calibration)
        side = predictors.of_artifact(session, model, cell.format, artifact.path, cell.id)
        toolchain = versions_text(session.bench.converters[cell.format].toolchain)
        parts = {"artifact": artifact.sha256, "toolchain": toolchain}
        try:
            own = _evaluation(session, side, dataset, digest, parts, progress)
        except (WorkerFailedError, WorkerCrashedError) as error:
            remark = f"{cell.id} does not run on these images: {error}"
            found[cell.id] = TaskRecord(dataset.folder.name, len(dataset), (), (remark,))
            continue
        remarks = tuple(dict.fromkeys([*reference.remarks, *own.remarks]))
        found[cell.id] = TaskRecord(dataset.folder.name, own.images, compared(reference, own), remarks)
    return found


def _evaluation(
    session: Session, side: Side, dataset: Labelled, digest: str, parts: Mapping[str, str], progress: Progress
) -> TaskEvaluation:
    """From the store, or made now."""
    key = Key(f"{side.name} on {dataset.folder.name} task metrics", {
        **parts, "dataset": digest, "metrics": source_digest("modelparity.evaluate.evaluate", apart=_APART),
        "libraries": versions_text(("scikit-learn", "numpy", "faster-coco-eval")),
    })  # fmt: skip

    def make(folder: Path) -> dict[str, Any]:
        text = json.dumps(asdict(evaluated(side, dataset, progress)), allow_nan=False)
        (folder / _FILE).write_text(text, encoding="utf-8")
        return {}

    entry = session.bench.store.get(key, make)
    told = json.loads(entry.path(_FILE).read_text(encoding="utf-8"))
    if told["objects"]:
        told["objects"] = tuple(told["objects"])
    return TaskEvaluation(**told)
