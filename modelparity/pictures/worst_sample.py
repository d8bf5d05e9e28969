"""Draws the worst sample of a cell beside the reference, for the report.

The gate draws it once for each file, sample and version of this code, and puts it into the cell's record. So
a report needs neither the network nor a library that draws.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import versions_text
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.evaluate import predictors
from modelparity.fixtures.images import Pixels
from modelparity.fixtures.specs import ModelSpec, Preprocessing
from modelparity.modelfiles.model_card import ModelCard
from modelparity.parity.cells import Cell
from modelparity.parity.reference import reference_key
from modelparity.parity.results import CellRecord, Picture, SampleRecord
from modelparity.parity.session import Session

NAME = "picture"
_FILE = "worst.webp"
# Other parts of the key name the file and the reference.
_APART = ("modelparity.fixtures.networks", "modelparity.converters", "modelparity.parity")
_FEW = 8  # boxes that a reader can still distinguish


def with_picture(session: Session, cell: Cell, record: CellRecord) -> CellRecord:
    """The record with its worst sample's picture, or with the reason why it cannot be drawn."""
    if record.artifact is None or not record.samples:
        return record
    if not isinstance(session.subject(cell.model).spec, ModelSpec):
        return replace(record, not_asked={**record.not_asked, NAME: "the network takes no photographs"})
    try:
        return replace(record, picture=_picture(session, cell, record))
    except (WorkerFailedError, WorkerCrashedError) as error:
        return replace(record, not_asked={**record.not_asked, NAME: f"the file does not run again: {error}"})


def worst(samples: tuple[SampleRecord, ...]) -> SampleRecord:
    """A sample that is not finite; else the one of lowest SQNR, of equals that with the greatest error."""

    def rank(sample: SampleRecord) -> tuple[bool, float, float]:
        error = sample.max_abs_error
        quality = np.inf if sample.sqnr_db is None else sample.sqnr_db
        return error is not None, quality, -(error or 0.0)

    return min(samples, key=rank)


def _picture(session: Session, cell: Cell, record: CellRecord) -> Picture:
    assert record.artifact is not None
    subject, images = session.subject(cell.model), session.evaluation_set(cell.model)
    sample = worst(record.samples)
    card = predictors.card_of(subject)
    parts = {
        "artifact": record.artifact.sha256,
        "reference": reference_key(subject, images).digest,
        "sample": f"{sample.sample} {sample.output}",
        "drawing": source_digest("modelparity.pictures.worst_sample", apart=_APART),
        "toolchain": versions_text(("matplotlib", "pillow")),
    }

    def make(folder: Path) -> dict[str, Any]:
        data = _drawn(session, cell, sample, card)
        (folder / _FILE).write_bytes(data)
        return {}

    entry = session.bench.store.get(Key(f"{subject.label} {cell.id} picture", parts), make)
    data = entry.path(_FILE).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    words = (
        f"{sample.sample}: the float64 reference and {cell.format} {cell.quantization}; {_quality(sample)}"
    )
    return Picture(sample.sample, words, width, height, base64.b64encode(data).decode())


def _drawn(session: Session, cell: Cell, sample: SampleRecord, card: ModelCard) -> bytes:
    from modelparity.pictures import compose

    images = session.evaluation_set(cell.model)
    index = [one.name for one in images].index(sample.sample)
    feed = images.samples[index].image
    reference = session.truth(cell.model).reference
    expected = {name: values[index] for name, values in reference.outputs.items()}
    artifact, _ = session.bench.artifact(
        session.subject(cell.model), cell.format, cell.quantization, session.calibration(cell.model)
    )
    file = predictors.of_artifact(session, cell, artifact.path)
    (got,) = file.run([feed[None]])
    pixels = photograph_of(feed, card.preprocessing)
    threshold = _threshold(card, expected)
    results = file.answer(expected, pixels, threshold), file.answer(got, pixels, threshold)
    title = f"{card.title}, worst sample: {sample.sample}"
    return compose.as_webp(
        compose.compared(title, pixels, results, ("float64 reference", f"{cell.format} {cell.quantization}"))
    )


def photograph_of(feed: np.ndarray[Any, Any], preprocessing: Preprocessing) -> Pixels:
    """A network's input [3, N, N] as RGB uint8 pixels [N, N, 3]."""
    unit = feed.transpose(1, 2, 0) * np.array(preprocessing.std) + np.array(preprocessing.mean)
    return np.clip(np.rint(unit * 255), 0, 255).astype(np.uint8)


def _threshold(card: ModelCard, expected: Mapping[str, np.ndarray[Any, Any]]) -> float | None:
    """The threshold of the drawn answer; None for the default."""
    threshold = _THRESHOLDS.get(card.output_kind)
    return threshold(expected) if threshold else None


def _some_objects(expected: Mapping[str, np.ndarray[Any, Any]]) -> float:
    """One half, or lower if the reference scores no object so high, so that some are seen."""
    scores = np.sort(expected["score"].ravel())[::-1]
    return 0.5 if scores[0] >= 0.5 else max(float(scores[:_FEW][-1]), 1e-6)


_THRESHOLDS = {"detections": _some_objects}


def _quality(sample: SampleRecord) -> str:
    if sample.max_abs_error is None:
        return f"{sample.output} is not finite"
    quality = "equal" if sample.sqnr_db is None else f"SQNR {sample.sqnr_db:.1f} dB"
    return f"{sample.output} {quality}, greatest error {sample.max_abs_error:.3g}"
