"""Evaluates a detector on a dataset: predictions and metrics in COCO's formats, and pictures of them."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.store import sha256_of
from modelparity.fixtures.datasets.detection import LISTING, DatasetError, Entry, read_dataset
from modelparity.fixtures.images import Feed, ImageError, decode
from modelparity.folders import folder_written
from modelparity.parity.metrics.coco import Detections, Predictions, coco_metrics
from modelparity.pictures.boxes import drawn
from modelparity.terminal import Progress

Outputs = Mapping[str, np.ndarray[Any, Any]]
# Takes one array [1, 3, H, W] for each image; returns outputs by name for each.
Predict = Callable[[Sequence[Feed]], Sequence[Outputs]]

GROUND_TRUTH = "ground_truth_coco.json"
PICTURES = "visualizations"
_PICTURED = 16
_AT_ONCE = 4  # images in memory
_HINT_INTERVAL_S = 5.0
# The files that may be replaced: other programs keep results in folders of the same names.
_OURS = rf"{GROUND_TRUTH}|{{kind}}_(metrics|predictions)\.json|{PICTURES}/\d{{{{4,}}}}_detected\.png"


@dataclass(frozen=True)
class Survey:
    """A dataset that was read whole, with `ground_truth` in COCO's format.

    `sha256` is over the ground truth and the images' bytes.
    """

    folder: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    ground_truth: Mapping[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def about(self) -> dict[str, Any]:
        """The description of the dataset that results carry."""
        return {
            "folder": str(self.folder),
            "images": len(self.entries),
            "annotations": len(self.ground_truth["annotations"]),
            "sha256": self.sha256,
        }


def surveyed(folder: Path, classes: Sequence[str], progress: Progress) -> Survey:
    """Reads the whole dataset. Raises `DatasetError`, which names the line, if it cannot be evaluated."""
    entries: list[Entry] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    progress.stage(f"reading {folder}")
    for index, entry in enumerate(read_dataset(folder, classes)):
        if index % 1000 == 999:
            progress.hint(f"{index + 1} images read")
        try:
            height, width = decode(entry.image).shape[:2]
        except ImageError as error:
            raise DatasetError(f"{folder / LISTING}:{entry.line}: {error}") from None
        entries.append(entry)
        digest.update(sha256_of(entry.image).encode())
        images.append({"id": index, "file_name": entry.image.name, "width": width, "height": height})
        for note in entry.annotations:
            x1, y1, x2, y2 = _pixels(note.box, width, height)
            annotations.append(
                {
                    "id": len(annotations) + 1,  # pycocotools takes 0 for "no match"
                    "image_id": index,
                    "category_id": classes.index(note.label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": label} for number, label in enumerate(classes, start=1)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    digest.update(json.dumps(truth, sort_keys=True).encode())
    return Survey(folder, tuple(classes), tuple(entries), truth, digest.hexdigest())


def _pixels(box: Sequence[float], width: int, height: int) -> list[float]:
    return [float(box[0]) * width, float(box[1]) * height, float(box[2]) * width, float(box[3]) * height]


@dataclass(frozen=True)
class Evaluation:
    """COCO's metrics by name, of `predictions` in COCO's format.

    `unusable` counts predictions that are not finite or name no category; they are left out.
    """

    folder: Path
    metrics: Mapping[str, float]
    unusable: int
    predictions: Predictions
    reused: bool = False


def evaluate(
    survey: Survey,
    *,
    predict: Predict,
    prepare: Callable[[np.ndarray[Any, Any]], Feed],
    folder: Path,
    kind: str,
    key: Mapping[str, Any],
    confidence: float,
    progress: Progress,
) -> Evaluation:
    """Runs `predict` on every image and writes `folder`, whole or not at all.

    `kind` ("onnx", "pytorch") begins the files' names. `key` names all that the predictions depend on, apart
    from the dataset. Detections of at least `confidence` are drawn on the first images.
    """
    predictions: list[dict[str, Any]] = []
    unusable = 0
    ours = re.compile(_OURS.format(kind=kind))
    with folder_written(folder, lambda name: bool(ours.fullmatch(name))) as partial:
        (partial / PICTURES).mkdir()
        last_hint = time.monotonic()
        for start in range(0, len(survey.entries), _AT_ONCE):
            if time.monotonic() - last_hint > _HINT_INTERVAL_S:
                progress.hint(f"{kind}: {start} of {len(survey.entries)} images done")
                last_hint = time.monotonic()
            pictures = [decode(entry.image) for entry in survey.entries[start : start + _AT_ONCE]]
            outputs = predict([prepare(pixels)[None] for pixels in pictures])
            for index, (pixels, output) in enumerate(zip(pictures, outputs, strict=True), start=start):
                of_image, dropped = predictions_in(
                    index, Detections.of(output), pixels.shape, len(survey.classes)
                )
                predictions += of_image
                unusable += dropped
                if index < _PICTURED:
                    picture = _picture(
                        survey, index, pixels=pixels, predictions=of_image, min_score=confidence
                    )
                    picture.save(partial / PICTURES / f"{index:04d}_detected.png")
        metrics = coco_metrics(survey.ground_truth, predictions)
        _write(partial / GROUND_TRUTH, survey.ground_truth)
        _write(partial / f"{kind}_predictions.json", predictions)
        _write(
            partial / f"{kind}_metrics.json",
            {
                **metrics,
                "num_predictions": len(predictions),
                "unusable_predictions": unusable,
                "dataset": survey.about,
                "classes": list(survey.classes),
                "predictions_sha256": sha256_of(partial / f"{kind}_predictions.json"),
                "key": dict(key),
            },
        )
    return Evaluation(folder, metrics, unusable, predictions)


def reusable(
    survey: Survey, folder: Path, kind: str, key: Mapping[str, Any]
) -> tuple[Evaluation | None, str]:
    """An earlier evaluation that provably is of the same network and dataset; or None and why not.

    Its metrics are computed again from its predictions, whose sha256 it recorded. The reason is empty if
    there is no earlier evaluation.
    """
    path = folder / f"{kind}_metrics.json"
    if not folder.exists():
        return None, ""
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        dataset, earlier = recorded["dataset"], recorded["key"]
        same = recorded["predictions_sha256"] == sha256_of(folder / f"{kind}_predictions.json")
        if dataset["sha256"] != survey.sha256:
            counts = [f"{about['images']} images, {about['annotations']} annotations"
                      for about in (dataset, survey.about)]  # fmt: skip
            return None, f"was of another dataset ({counts[0]}; this one has {counts[1]})"
        if earlier != dict(key):
            changed = [name for name in sorted({*earlier, *key}) if earlier.get(name) != key.get(name)]
            return None, f"was with another {', '.join(changed)}"
        if not same:
            return None, "has predictions other than those it recorded"
        predictions = json.loads((folder / f"{kind}_predictions.json").read_text(encoding="utf-8"))
        metrics = coco_metrics(survey.ground_truth, predictions)
        unusable = int(recorded["unusable_predictions"])
        return Evaluation(folder, metrics, unusable, predictions, reused=True), ""
    except FileNotFoundError:
        return None, "does not say which checkpoint and dataset it is of"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, "cannot be read"


def predictions_in(
    image: int, detections: Detections, shape: tuple[int, ...], categories: int
) -> tuple[list[dict[str, Any]], int]:
    """Predictions in COCO's format and the image's own pixels, and the number of unusable ones."""
    height, width = shape[:2]
    usable = detections.finite & (detections.categories >= 1) & (detections.categories <= categories)
    predictions = []
    for index in np.flatnonzero(usable):
        x1, y1, x2, y2 = _pixels(detections.boxes[index], width, height)
        predictions.append(
            {
                "image_id": image,
                "category_id": int(detections.categories[index]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(detections.scores[index]),
            }
        )
    return predictions, int((~usable).sum())


def _picture(
    survey: Survey, index: int, *, pixels: Any, predictions: Sequence[Mapping[str, Any]], min_score: float
) -> Any:
    height, width = pixels.shape[:2]
    detections = []
    for prediction in predictions:
        x, y, w, h = prediction["bbox"]
        number = prediction["category_id"]
        if prediction["score"] >= min_score:
            detections.append(((x, y, x + w, y + h), survey.classes[number - 1], prediction["score"], number))
    notes = survey.entries[index].annotations
    truth = [(_pixels(note.box, width, height), note.label) for note in notes]
    return drawn(pixels, detections, truth)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
