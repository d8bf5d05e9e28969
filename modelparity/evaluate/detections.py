"""A detector on a dataset: predictions and metrics in COCO's forms, and pictures to look at."""

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
# Arrays [1, 3, H, W] in, outputs by name out, one an image.
Predict = Callable[[Sequence[Feed]], Sequence[Outputs]]

GROUND_TRUTH = "ground_truth_coco.json"
PICTURES = "visualizations"
_PICTURED = 16
_AT_ONCE = 4  # images in memory
_SECONDS_A_HINT = 5.0
# Other programs keep results in folders of the same names.
_OURS = rf"{GROUND_TRUTH}|{{kind}}_(metrics|predictions)\.json|{PICTURES}/\d{{{{4,}}}}_detected\.png"


@dataclass(frozen=True)
class Survey:
    """A dataset, every image of it decoded once; `ground_truth` in COCO's form, `sha256` of all it holds."""

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
        """What results say of the dataset; `sha256` is over the ground truth and the images' bytes."""
        return {
            "folder": str(self.folder),
            "images": len(self.entries),
            "annotations": len(self.ground_truth["annotations"]),
            "sha256": self.sha256,
        }


def surveyed(folder: Path, classes: Sequence[str], progress: Progress) -> Survey:
    """Reads the whole dataset. Raises `DatasetError`, naming the line, where it cannot be evaluated."""
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
    """`metrics` are COCO's by name, of `predictions`, which are in COCO's form.

    `unusable` counts those that are not finite or name no category, and are not among them.
    """

    folder: Path
    metrics: Mapping[str, float]
    unusable: int
    predictions: Predictions
    reused: bool = False


def evaluate(
    survey: Survey,
    predict: Predict,
    prepare: Callable[[np.ndarray[Any, Any]], Feed],
    folder: Path,
    kind: str,
    key: Mapping[str, Any],
    confidence: float,
    progress: Progress,
) -> Evaluation:
    """Runs `predict` on every image and writes `folder`, whole or not at all.

    `kind` begins the files' names ("onnx", "pytorch"); `key` names all that the predictions depend
    on but the dataset; detections of at least `confidence` are drawn, on the first images.
    """
    predictions: list[dict[str, Any]] = []
    unusable = 0
    ours = re.compile(_OURS.format(kind=kind))
    with folder_written(folder, lambda name: bool(ours.fullmatch(name))) as made:
        (made / PICTURES).mkdir()
        told = time.monotonic()
        for start in range(0, len(survey.entries), _AT_ONCE):
            if time.monotonic() - told > _SECONDS_A_HINT:
                progress.hint(f"{kind}: {start} of {len(survey.entries)} images done")
                told = time.monotonic()
            pictures = [decode(entry.image) for entry in survey.entries[start : start + _AT_ONCE]]
            outputs = predict([prepare(pixels)[None] for pixels in pictures])
            for index, (pixels, output) in enumerate(zip(pictures, outputs, strict=True), start=start):
                found, lost = predictions_in(index, Detections.of(output), pixels.shape, len(survey.classes))
                predictions += found
                unusable += lost
                if index < _PICTURED:
                    picture = _picture(survey, index, pixels, found, confidence)
                    picture.save(made / PICTURES / f"{index:04d}_detected.png")
        metrics = coco_metrics(survey.ground_truth, predictions)
        _write(made / GROUND_TRUTH, survey.ground_truth)
        _write(made / f"{kind}_predictions.json", predictions)
        _write(
            made / f"{kind}_metrics.json",
            {
                **metrics,
                "num_predictions": len(predictions),
                "unusable_predictions": unusable,
                "dataset": survey.about,
                "classes": list(survey.classes),
                "predictions_sha256": sha256_of(made / f"{kind}_predictions.json"),
                "key": dict(key),
            },
        )
    return Evaluation(folder, metrics, unusable, predictions)


def reusable(
    survey: Survey, folder: Path, kind: str, key: Mapping[str, Any]
) -> tuple[Evaluation | None, str]:
    """An earlier evaluation that provably is of the same network and dataset; or why there is none.

    Its metrics are computed anew from its predictions, whose sha256 it recorded. The words are empty
    where there was nothing at all.
    """
    path = folder / f"{kind}_metrics.json"
    if not folder.exists():
        return None, ""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        dataset, earlier = told["dataset"], told["key"]
        same = told["predictions_sha256"] == sha256_of(folder / f"{kind}_predictions.json")
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
        unusable = int(told["unusable_predictions"])
        return Evaluation(folder, metrics, unusable, predictions, reused=True), ""
    except FileNotFoundError:
        return None, "does not say which checkpoint and dataset it is of"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, "cannot be read"


def predictions_in(
    image: int, found: Detections, shape: tuple[int, ...], categories: int
) -> tuple[list[dict[str, Any]], int]:
    """In COCO's form and the image's own pixels; and how many could not be."""
    height, width = shape[:2]
    usable = found.finite & (found.categories >= 1) & (found.categories <= categories)
    predictions = []
    for index in np.flatnonzero(usable):
        x1, y1, x2, y2 = _pixels(found.boxes[index], width, height)
        predictions.append(
            {
                "image_id": image,
                "category_id": int(found.categories[index]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(found.scores[index]),
            }
        )
    return predictions, int((~usable).sum())


def _picture(
    survey: Survey, index: int, pixels: Any, found: Sequence[Mapping[str, Any]], least: float
) -> Any:
    height, width = pixels.shape[:2]
    detections = []
    for one in found:
        x, y, w, h = one["bbox"]
        number = one["category_id"]
        if one["score"] >= least:
            detections.append(((x, y, x + w, y + h), survey.classes[number - 1], one["score"], number))
    notes = survey.entries[index].annotations
    truth = [(_pixels(note.box, width, height), note.label) for note in notes]
    return drawn(pixels, detections, truth)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
