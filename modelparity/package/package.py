"""Writes a release folder: proven files, and all that a stranger needs to run them.

pretrained/   clean weights, from a checkpoint only
pytorch/, onnx/, tflite/   files, model_specs.json (what goes in and comes out), and what each file says of
               the golden image, which a server holds itself against
inference/    wrapper, pre- and postprocessing, benchmarks.json
docs/         guide, comparison, examples, and the report of the proof
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelparity.clean_weights import write_pretrained
from modelparity.converters.engine.store import sha256_of
from modelparity.converters.engine.workbench import PROGRAM
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.copy_artifact import copy_artifact
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.fixtures.whole_files import replace_with
from modelparity.folders import folder_written
from modelparity.gate import run_gate
from modelparity.package.documents import write_documents
from modelparity.package.exported_program import FORMAT as PYTORCH
from modelparity.package.exported_program import program_evidence
from modelparity.package.specs import Packaged, packaged, write_specs
from modelparity.parity.cells import Cell
from modelparity.parity.prove_cells import Listener
from modelparity.parity.results import CellRecord, Run, Unsupported
from modelparity.parity.session import Session
from modelparity.serving.http.golden import verdict_of, verdict_path
from modelparity.serving.predictor import load

FORMATS = (PYTORCH, *CONVERTERS)
MANIFEST = "package.json"
TOP = {"pretrained", *FORMATS, "inference", "docs", MANIFEST}


@dataclass(frozen=True)
class Plan:
    """What to package; with `include_failed`, also files that failed their proof, which the documents say."""

    model: str
    output: Path
    checkpoint: Path | None
    formats: tuple[str, ...]
    quantizations: tuple[str, ...]
    include_failed: bool = False

    @property
    def variants(self) -> dict[str, str]:
        """Model -> the name of its files: `x_full` for the model itself where it has variants `x_...`."""
        others = [spec.name for spec in MODELS.values() if _is_variant(spec, MODELS[self.model])]
        return {self.model: f"{self.model}_full" if others else self.model, **{name: name for name in others}}

    @property
    def cells(self) -> list[Cell]:
        formats = [format for format in self.formats if format != PYTORCH]
        return [
            Cell(name, format, quantization)
            for name in self.variants
            for format in formats
            for quantization in self.quantizations
        ]


def _is_variant(spec: ModelSpec, model: ModelSpec) -> bool:
    """Whether `spec` is the same published network, deployed with fewer outputs."""
    return spec.name.startswith(f"{model.name}_") and spec.published == model.published


class NotProvenError(Exception):
    """Some cells are not green, so nothing was packaged."""

    def __init__(self, records: Sequence[CellRecord]) -> None:
        super().__init__(", ".join(record.id for record in records))
        self.records = tuple(records)


def package(
    session: Session,
    plan: Plan,
    *,
    weights: dict[str, str],
    on_cell: Listener = lambda *_: None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> list[Packaged]:
    """Proves the cells and writes the folder, whole or not at all. Returns the model files in it.

    Files of an earlier package in the folder are removed, others stay.

    Raises:
        NotProvenError: a cell is not green, and `plan.include_failed` is not set.
    """
    with tempfile.TemporaryDirectory(prefix="modelparity-") as temporary:
        evidence = Path(temporary) / "evidence"
        run = None
        if plan.cells:
            run = run_gate(session, plan.cells, evidence, weights, on_cell=on_cell, on_stage=on_stage)
        red = [record for record in run.cells if not record.green] if run else []
        if red and not plan.include_failed:
            raise NotProvenError(red)
        on_stage("writing the package")
        earlier = _earlier_files(plan.output)
        with folder_written(plan.output, earlier.__contains__) as folder:
            files = _write_models(session, plan, run=run, folder=folder, weights=weights[plan.model])
            if plan.checkpoint:
                (folder / "pretrained").mkdir()
                spec = session.subject(plan.model).photographs
                write_pretrained(session, plan.checkpoint, spec, folder / "pretrained", folder=True)
            write_documents(
                session,
                plan.model,
                folder,
                weights=weights[plan.model],
                trained=plan.checkpoint is not None,
                run=run,
                files=files,
            )
            if run:
                shutil.copytree(evidence, folder / "docs" / "evidence")
            _write_manifest(folder, plan, weights)
    return files


def _earlier_files(output: Path) -> set[str]:
    """The files that an earlier package put in the folder."""
    try:
        listed = json.loads((output / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {MANIFEST, *map(str, listed)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write_manifest(folder: Path, plan: Plan, weights: dict[str, str]) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "model": plan.model,
        "weights": weights,
        "trained": plan.checkpoint is not None,
        "files": {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _write_models(
    session: Session, plan: Plan, *, run: Run | None, folder: Path, weights: str
) -> list[Packaged]:
    """Writes the model files, by format, each with the record of its proof."""
    files = []
    for name, stem in plan.variants.items():
        if PYTORCH in plan.formats:
            path = folder / PYTORCH / f"{stem}.pt2"
            replace_with(path, session.bench.exported(session.subject(name)).path(PROGRAM))
            files.append(
                packaged(
                    session,
                    name,
                    format=PYTORCH,
                    quantization=FLOAT,
                    path=path,
                    record=program_evidence(session, name),
                )
            )
    for record in run.cells if run else ():
        if record.artifact is None or isinstance(record.outcome, Unsupported):
            continue
        suffix = QUANTIZATIONS[record.quantization].stem_suffix
        name = f"{plan.variants[record.model]}{suffix}{CONVERTERS[record.format].suffix}"
        path = folder / record.format / name
        artifact, _ = session.bench.artifact(
            session.subject(record.model),
            record.format,
            record.quantization,
            session.calibration(record.model),
        )
        copy_artifact(session, artifact, path)
        with load(path) as predictor:
            verdict_path(path).write_text(verdict_of(predictor).as_json(), encoding="utf-8")
        files.append(
            packaged(
                session,
                record.model,
                format=record.format,
                quantization=record.quantization,
                path=path,
                record=record,
            )
        )
    for format in dict.fromkeys(file.format for file in files):
        mine = [file for file in files if file.format == format]
        write_specs(folder / format, mine, weights, trained=plan.checkpoint is not None)
    return files
