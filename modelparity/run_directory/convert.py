"""Converts the result of a training run to a model folder, checks it and evaluates it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modelparity import terminal
from modelparity.clean_weights import weights_words
from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.workbench import network_digest, versions_text
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.copy_artifact import copy_artifact
from modelparity.errors import BadInputError
from modelparity.evaluate.detections import Outputs, surveyed
from modelparity.fixtures.checkpoints.run_directory import RunDirectory
from modelparity.fixtures.datasets.detection import labels_of, read_dataset
from modelparity.fixtures.images import decode, preprocess
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec, Value
from modelparity.folders import folder_written
from modelparity.modelfiles.description import Artifact
from modelparity.parity.session import Session
from modelparity.run_directory.comparison import (
    NOT_EVALUATED,
    ComparedModel,
    Pair,
    check_words,
    checked,
    evaluated,
)
from modelparity.run_directory.request import COMPARISON, CONFIGURATION, LABELS, MODEL, SUMMARY, Request
from modelparity.run_directory.summary import summary


def convert(wanted: Request, as_json: bool) -> bool:
    """Converts, checks, evaluates and writes; returns False if that ends in a warning."""
    for remark in wanted.run.remarks:
        terminal.warn(remark)
    with terminal.progress(f"converting {wanted.run.path.name}") as progress:
        classes = _classes(wanted)
        image = wanted.image or next(read_dataset(wanted.dataset, classes)).image  # type: ignore[arg-type]
        pixels = decode(image)
        survey = surveyed(wanted.dataset, classes, progress) if wanted.evaluate and wanted.dataset else None
        spec = _configured(wanted.run, classes)
        with Session(
            models={MODEL: spec},
            checkpoints={MODEL: wanted.run.checkpoint},
            input_size=wanted.run.input_size[0],
            on_miss=lambda label, _: progress.stage(f"making {label}"),
        ) as session:
            progress.stage(f"reading {wanted.run.checkpoint}")
            _check_device(session, wanted.device)
            # Where they come from; which settings they tell, the summary lists by itself.
            weights = weights_words(session, spec, wanted.run.checkpoint).partition("; ")[0]
            _check_classes(wanted, session.subject(MODEL).photographs, classes)
            artifact = session.artifact(
                MODEL, wanted.format, wanted.quantization, images=wanted.calibration, opset=wanted.opset
            )
            with folder_written(wanted.output, lambda _: True) as folder:
                copy_artifact(session, artifact, folder / wanted.file)
                pair = _pair(session, wanted, artifact, folder / wanted.file)
                progress.stage(f"checking on {image}")
                check = checked(pair, pixels)
                lines = check_words(check, pair.name)
                if survey:
                    evaluation, words = evaluated(
                        pair,
                        survey,
                        run=wanted.run.path,
                        confidence=wanted.run.confidence,
                        progress=progress,
                    )
                else:
                    evaluation, words = {"verdict": "not available"}, [NOT_EVALUATED]
                    if (
                        QUANTIZATIONS[wanted.quantization].is_float and not check.close
                    ):  # rounding loses detections rightly
                        evaluation = {"verdict": "warning"}
                        words += ["Warning: a float32 file should find what PyTorch finds"]
                facts = _facts(
                    wanted, session.subject(MODEL), artifact=artifact, weights=weights, image=image
                )
                comparison = {
                    "model": facts,
                    "image": {"path": str(image), **asdict(check), "same": check.same},
                    "evaluation": {"words": words[-1], **evaluation},
                }
                text = summary(facts, lines, words)
                _fill(folder, wanted, classes=classes, comparison=comparison, text=text)
    about = f"{wanted.file}: {artifact.bytes:,} bytes, sha256 {artifact.sha256}"
    if as_json:
        terminal.say(json.dumps({"path": str(wanted.output), **comparison}, indent=1))
    else:
        terminal.say(f"wrote {wanted.output}")
        for line in (about, f"weights: {weights}", *lines, *words):
            terminal.say(f"  {line}")
    return evaluation["verdict"] != "warning"


def _classes(wanted: Request) -> tuple[str, ...]:
    if wanted.run.classes is not None:
        return wanted.run.classes
    if wanted.dataset is None:
        where = f"{wanted.run.config}: classes are left to the dataset"
        raise BadInputError(f"{where}; give --dataset-dir, or name them there")
    classes = labels_of(wanted.dataset)
    if not classes:
        raise BadInputError(f"{wanted.dataset}: no label in it, and {wanted.run.config} names no classes")
    terminal.warn(
        f"{wanted.run.config} names no classes; those of the dataset are taken: {', '.join(classes)}"
    )
    return classes


def _configured(run: RunDirectory, classes: tuple[str, ...]) -> ModelSpec:
    """The network's spec, with the labels and the image size, which the file's card names."""
    height, width = run.network_size
    values: dict[str, Value] = {"height": height, "width": width, "classes": len(classes)}
    spec = replace(MODELS[MODEL], labels=classes, prepared_size=run.input_size)
    try:
        return spec.configured({**values, "mean": run.image_mean, "std": run.image_std, **run.thresholds})
    except ValueError as error:
        raise BadInputError(f"{run.config}: {error}") from error


def _check_classes(wanted: Request, spec: ModelSpec, classes: tuple[str, ...]) -> None:
    """Raises `BadInputError` if the checkpoint has another number of classes, so of another training."""
    if (found := spec.values["classes"]) != len(classes):
        where = wanted.run.config if wanted.run.classes else wanted.dataset
        raise BadInputError(
            f"{wanted.run.checkpoint}: distinguishes {found} classes, but {where} names {len(classes)}: "
            f"{', '.join(classes)}"
        )


def _check_device(session: Session, device: str) -> None:
    if device == "cpu":
        return
    reply = session.workers["torch"].call("modelparity.worker_tasks:has_cuda", timeout=CONVERT_TIMEOUT_S)
    if not reply.value:
        raise BadInputError("--device cuda: PyTorch finds no CUDA device on this machine; use --device cpu")


def _pair(session: Session, wanted: Request, artifact: Artifact, file: Path) -> Pair:
    subject, threads = session.subject(MODEL), os.cpu_count() or 1

    def network(feeds: Any) -> list[Outputs]:
        batch = [{"image": feed} for feed in feeds]
        if wanted.device == "cuda":
            reply = session.workers["torch"].call(
                "modelparity.worker_tasks:run_on_cuda",
                subject.spec,
                subject.checkpoint,
                batch,
                timeout=CONVERT_TIMEOUT_S,
            )
            return list(reply.value)
        return list(session.bench.reference(subject, batch, threads=threads))

    def converted(feeds: Any) -> list[Outputs]:
        batch = [{"image": feed} for feed in feeds]
        return list(session.bench.run(wanted.format, file, batch, threads=threads))

    shared = {"input_size": list(wanted.run.input_size), "settings": subject.definition}
    key = {
        "checkpoint": subject.weights_digest,
        **shared,
        "network": network_digest(subject.spec),
        "toolchain": versions_text(("torch", "torchvision")),
        "device": wanted.device,
    }
    made = {"file": artifact.sha256, "checkpoint": subject.weights_digest, **shared}
    return Pair(
        ComparedModel("pytorch", wanted.run.checkpoint, network, key),
        ComparedModel(wanted.format, file, converted, made),
        lambda pixels: preprocess(pixels, subject.photographs.preprocessing, wanted.run.input_size),
    )


def _facts(
    wanted: Request, subject: ModelUnderTest, *, artifact: Artifact, weights: str, image: Path
) -> dict[str, Any]:
    height, width = wanted.run.input_size
    return {
        "file": wanted.file,
        "format": wanted.format,
        "quantization": wanted.quantization,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "run": str(wanted.run.path),
        "checkpoint": str(wanted.run.checkpoint),
        "checkpoint_sha256": subject.weights_digest,
        "config": str(wanted.run.config),
        "weights": weights,
        "settings": subject.spec.values,
        "remarks": list(wanted.run.remarks),
        "device": wanted.device,
        "batch": "any" if CONVERTERS[wanted.format].dynamic_batch else 1,
        "height": height,
        "width": width,
        "image": str(image),
        "confidence": wanted.run.confidence,
    }


def _fill(
    folder: Path, wanted: Request, *, classes: tuple[str, ...], comparison: Mapping[str, Any], text: str
) -> None:
    (folder / LABELS).write_text("".join(f"{label}\n" for label in classes), encoding="utf-8")
    shutil.copyfile(wanted.run.config, folder / CONFIGURATION)
    (folder / SUMMARY).write_text(text, encoding="utf-8")
    text = json.dumps(comparison, indent=1, allow_nan=False) + "\n"
    (folder / COMPARISON).write_text(text, encoding="utf-8")
