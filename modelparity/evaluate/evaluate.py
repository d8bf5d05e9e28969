"""What a network or a file is worth on a labelled dataset, image by image, and two of them compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from modelparity.errors import BadInputError
from modelparity.evaluate.detections import predictions_in, surveyed
from modelparity.evaluate.predictors import Outputs, Side
from modelparity.fixtures.datasets.detection import DatasetError, labels_of
from modelparity.fixtures.datasets.labelled import LAYOUTS, Example, Labelled, Layout
from modelparity.fixtures.images import Pixels
from modelparity.parity.metrics.coco import GOOD, Detections, Predictions, coco_metrics, compare_ap
from modelparity.parity.metrics.paired_tests import Compared, per_sample, right_or_wrong
from modelparity.parity.metrics.task import THRESHOLDS, Labels, Messages, Metrics
from modelparity.parity.metrics.task import Pixels as PixelCounts
from modelparity.parity.results import TaskMetric
from modelparity.serving.results import Deepfake, Tampering, Watermark
from modelparity.terminal import Progress

MEASURES: dict[str, tuple[Layout, ...]] = {
    "tampering": ("masks", "classes"),
    "deepfake": ("classes", "masks"),
    "detections": ("boxes",),
    "watermark": ("messages",),
}
# What is lost without being noticed: the difference that comparisons of detectors call good.
MARGIN = GOOD
_AT_ONCE = 4  # images in memory
_SECONDS_A_HINT = 2.0
_T = TypeVar("_T")


@dataclass
class TaskEvaluation:
    """`metrics` by name, None where the dataset cannot give one; `remarks` say why, a line each.

    `samples` are the metrics that are means over images, an entry an image: for comparisons in pairs. What
    is not finite counts as wrong there. `sweep` are the pooled metrics of pixels at each threshold; `objects`
    are the ground truth and the predictions, in COCO's form.
    """

    images: int
    metrics: Metrics
    samples: dict[str, list[float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    sweep: list[dict[str, float]] = field(default_factory=list)
    objects: tuple[Mapping[str, Any], Predictions] | None = None


def check_measures(side: Side, dataset: Labelled) -> None:
    """Raises `BadInputError` where such a dataset says nothing of such a network."""
    fitting = MEASURES[side.card.output_kind]
    if dataset.layout not in fitting:
        wanted = "; or ".join(LAYOUTS[layout] for layout in fitting)
        raise BadInputError(
            f"{dataset.folder}: a dataset of {dataset.layout}, but {side.card.model} is evaluated on {wanted}"
        )


def evaluated(side: Side, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    """Asks for every image once, a few in memory at a time.

    Raises:
        DatasetError: an image or its truth cannot be read, by name.
        BadInputError: a dataset that says nothing of such a network.
    """
    check_measures(side, dataset)
    progress.stage(f"evaluating {side.name} on {dataset.folder.name}")
    if side.card.output_kind == "detections":
        return _detections(side, dataset, progress)
    if side.card.output_kind == "watermark":
        return _messages(side, dataset, progress)
    return _maps(side, dataset, progress)


def _maps(side: Side, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    labels, pixels = Labels(), PixelCounts()
    right: list[float] = []
    f1: list[float] = []
    scored = any(len(port.shape) == 2 for port in side.card.outputs)
    for example, image, outputs in _asked(side, dataset, len(dataset), progress):
        result = side.answer(outputs, image)
        assert isinstance(result, Tampering | Deepfake)
        truth = example.truth((image.shape[0], image.shape[1]))
        label = int(truth.any()) if truth is not None else example.label
        assert label is not None
        if scored:
            labels.add(label, result.probability)
            right.append(
                float(np.isfinite(result.probability) and (result.probability >= 0.5) == bool(label))
            )
        if truth is not None and isinstance(result, Tampering) and result.mask is not None:
            one = pixels.add(truth, result.mask)
            if label:
                f1.append(one or 0.0)
    found = TaskEvaluation(len(dataset), labels.metrics() if scored else {})
    if scored:
        found.samples["accuracy"] = right
        found.remarks += filter(None, [labels.one_sided()])
    if f1 or pixels.alarms.any() or pixels.hits.any():
        found.metrics |= pixels.metrics()
        found.samples |= {"pixel_f1": f1} if f1 else {}
        found.sweep = [
            {
                "threshold": float(at),
                "precision": one.precision,
                "recall": one.recall,
                "f1": one.f1,
                "iou": one.iou,
            }
            for at, one in zip(THRESHOLDS, pixels.sweep(), strict=True)
        ]
    _lost(found, max(labels.unusable, pixels.unusable))
    return found


def _messages(side: Side, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    labels, messages = Labels(), Messages()
    right: list[float] = []
    for example, image, outputs in _asked(side, dataset, len(dataset), progress):
        result = side.answer(outputs, image)
        assert isinstance(result, Watermark)
        labels.add(int(example.message is not None), result.confidence)
        right.append(float(np.isfinite(result.confidence) and result.marked == (example.message is not None)))
        if example.message is not None:
            try:
                messages.add(np.array(example.message), result.bits)
            except ValueError as error:
                raise DatasetError(
                    f"{dataset.folder}: {example.name}: {error} by {side.card.model}"
                ) from None
    found = TaskEvaluation(len(dataset), {**messages.metrics(), **labels.metrics()})
    found.samples["accuracy"] = right
    if messages.accuracy:
        found.samples["bit_accuracy"] = list(messages.accuracy)
    found.remarks += filter(None, [labels.one_sided()])
    _lost(found, labels.unusable)
    return found


def _detections(side: Side, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    classes = side.card.labels
    remarks = []
    if not side.card.labels_known:
        own = labels_of(dataset.folder)
        if len(own) > len(classes):
            raise DatasetError(
                f"{dataset.folder}: {len(own)} labels, but {side.card.model} tells {len(classes)} apart: "
                f"{', '.join(own)}"
            )
        classes = (*own, *classes[len(own) :])
        remarks.append(f"the file names no categories; those of the dataset are taken: {', '.join(own)}")
    survey = surveyed(dataset.folder, classes, progress)
    if not survey.ground_truth["annotations"]:
        raise DatasetError(f"{dataset.folder}: no object is annotated, so there is nothing to measure")
    predictions: list[dict[str, Any]] = []
    lost = 0
    entries = (Example(entry.image.name, entry.image) for entry in survey.entries)
    for index, (_, image, outputs) in enumerate(_asked(side, entries, len(dataset), progress)):
        some, unusable = predictions_in(index, Detections.of(outputs), image.shape, len(classes))
        predictions += some
        lost += unusable
    metrics = {name: value if value >= 0 else None for name, value in _coco(survey.ground_truth, predictions)}
    found = TaskEvaluation(len(dataset), metrics, remarks=remarks)
    found.objects = (survey.ground_truth, predictions)
    _lost(found, lost)
    return found


def _coco(truth: Any, predictions: Sequence[Any]) -> Iterator[tuple[str, float]]:
    """COCO's own -1 stands where there is no object to measure on."""
    yield from coco_metrics(truth, predictions).items()


def _lost(found: TaskEvaluation, unusable: int) -> None:
    if unusable:
        found.remarks.append(f"{unusable} answers are not finite; the metrics are without them")


def _asked(
    side: Side, examples: Any, count: int, progress: Progress
) -> Iterator[tuple[Example, Pixels, Outputs]]:
    """Each example with its pixels and the network's outputs."""
    told = time.monotonic()
    done = 0
    for some in _batched(iter(examples), _AT_ONCE):
        images = [example.pixels() for example in some]
        outputs = side.run([side.prepare(image) for image in images])
        yield from zip(some, images, outputs, strict=True)
        done += len(some)
        if time.monotonic() - told > _SECONDS_A_HINT:
            progress.hint(f"{done} of {count} images")
            told = time.monotonic()


def _batched(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while batch := list(islice(items, size)):
        yield batch


def compared(reference: TaskEvaluation, observed: TaskEvaluation) -> tuple[TaskMetric, ...]:
    """Metric by metric; with an interval where a metric is a mean over the same images, and for AP."""
    how: dict[str, Callable[[list[float], list[float]], Compared]] = {
        "accuracy": lambda a, b: right_or_wrong([x > 0 for x in a], [x > 0 for x in b], MARGIN),
        "pixel_f1": lambda a, b: per_sample(a, b, MARGIN),
        "bit_accuracy": lambda a, b: per_sample(a, b, MARGIN),
    }
    rows = []
    for name, value in reference.metrics.items():
        first, second = reference.samples.get(name), observed.samples.get(name)
        found = how[name](first, second) if first and second else None
        if name == "AP" and reference.objects and observed.objects:
            found = compare_ap(*reference.objects, observed.objects[1])
        if found:
            rows.append(TaskMetric(name, value, observed.metrics.get(name), found.interval, found.verdict))
        else:
            rows.append(TaskMetric(name, value, observed.metrics.get(name)))
    return tuple(rows)
