"""Cells on labelled datasets: each beside its network in PyTorch, evaluated once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from converters.store import Key, digest_of_files
from converters.workbench import network_digest, versions_text
from converters.workers import WorkerCrashedError, WorkerFailedError
from fixtures.labelled import Labelled
from modelparity import sides
from modelparity.session import Session
from modelparity.sides import Side
from modelparity.task_evaluation import TaskEvaluation, compared, evaluated
from modelparity.terminal import Progress
from parity.cells import Cell
from parity.results import CellRecord, TaskRecord

_FILE = "evaluation.json"
_ROOT = Path(__file__).parents[1]
# Everything between a file's outputs and its metrics.
_MEASURED_BY = [
    *(_ROOT / "modelparity" / name for name in ("task_evaluation.py", "evaluation.py", "sides.py")),
    *(_ROOT / "parity" / name for name in ("task_metrics.py", "detection_metrics.py")),
    *(_ROOT / "fixtures" / name for name in ("labelled.py", "detection_dataset.py", "images.py")),
    _ROOT / "serving" / "answers.py",
]


def task_records(
    session: Session,
    cells: Mapping[str, Cell],
    records: Sequence[CellRecord],
    labelled: Mapping[str, Labelled],
    progress: Progress,
) -> dict[str, TaskRecord]:
    """By cell id, for the models that have a dataset. A file that does not run has no entry.

    Raises DatasetError for a dataset that turns out unreadable.
    """
    found = {}
    for model, dataset in labelled.items():
        mine = [r for r in records if r.model == model and r.artifact is not None and r.samples]
        if not mine:
            continue
        progress.stage(f"reading {dataset.folder}")
        digest = dataset.digest()
        subject = session.subject(model)
        network = {"checkpoint": subject.weights_digest, "network": network_digest(subject.spec)}
        network |= {"definition": subject.definition, "input size": str(subject.input_size)}
        network |= {"toolchain": versions_text(("torch",))}
        reference = _evaluation(session, sides.of_network(session, model), dataset, digest, network, progress)
        for record in mine:
            cell = cells[record.id]
            assert record.artifact is not None
            artifact, _ = session.bench.artifact(
                subject, cell.format, cell.quantization, session.calibration(model)
            )
            side = sides.of_artifact(session, model, cell.format, artifact.path, cell.id)
            toolchain = versions_text(session.bench.converters[cell.format].toolchain)
            parts = {"artifact": artifact.sha256, "toolchain": toolchain}
            try:
                own = _evaluation(session, side, dataset, digest, parts, progress)
            except (WorkerFailedError, WorkerCrashedError):
                continue
            remarks = tuple(dict.fromkeys([*reference.remarks, *own.remarks]))
            rows = compared(reference, own)
            found[record.id] = TaskRecord(dataset.folder.name, own.images, rows, remarks)
    return found


def _evaluation(
    session: Session, side: Side, dataset: Labelled, digest: str, parts: Mapping[str, str], progress: Progress
) -> TaskEvaluation:
    """From the store, or made now."""
    key = Key(f"{side.name} on {dataset.folder.name} task metrics", {
        **parts, "dataset": digest, "metrics": digest_of_files(_MEASURED_BY),
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
