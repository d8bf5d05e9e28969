"""Evaluates a network or a file on a labelled dataset, and compares two evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from modelparity.errors import BadInputError
from modelparity.evaluate.detections import predictions_in, surveyed
from modelparity.evaluate.predictors import EvaluatedModel, Outputs
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
# The largest loss of a metric that counts as none: what comparisons of detectors call good.
MARGIN = GOOD
_AT_ONCE = 4  # images in memory
_HINT_INTERVAL_S = 2.0
_T = TypeVar("_T")


@dataclass
class TaskEvaluation:
    """Metrics by name, None where the dataset cannot give one; `remarks` say why, a line each.

    `samples` has one value per image for each metric that is a mean over images, for paired comparisons; an
    answer that is not finite counts as wrong there. `sweep` has the pooled pixel metrics at each threshold.
    `objects` are the ground truth and the predictions in COCO's format.
    """

    images: int
    metrics: Metrics
    samples: dict[str, list[float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    sweep: list[dict[str, float]] = field(default_factory=list)
    objects: tuple[Mapping[str, Any], Predictions] | None = None


def check_measures(model: EvaluatedModel, dataset: Labelled) -> None:
    """Raises `BadInputError` if such a dataset cannot measure such a network."""
    fitting = MEASURES[model.card.output_kind]
    if dataset.layout not in fitting:
        wanted = "; or ".join(LAYOUTS[layout] for layout in fitting)
        raise BadInputError(
            f"{dataset.folder}: a dataset of {dataset.layout}, "
            f"but {model.card.model} is evaluated on {wanted}"
        )


def evaluated(model: EvaluatedModel, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    """Runs the model once on every image, with a few images in memory at a time.

    Raises:
        DatasetError: an image or its ground truth cannot be read; the message names it.
        BadInputError: such a dataset cannot measure such a network.
    """
    check_measures(model, dataset)
    progress.stage(f"evaluating {model.name} on {dataset.folder.name}")
    return _EVALUATIONS[model.card.output_kind](model, dataset, progress)


def _maps(model: EvaluatedModel, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    labels, pixels = Labels(), PixelCounts()
    right: list[float] = []
    f1: list[float] = []
    scored = any(len(port.shape) == 2 for port in model.card.outputs)
    for example, image, outputs in _asked(model, dataset, len(dataset), progress):
        result = model.answer(outputs, image)
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
    evaluation = TaskEvaluation(len(dataset), labels.metrics() if scored else {})
    if scored:
        evaluation.samples["accuracy"] = right
        evaluation.remarks += filter(None, [labels.one_sided()])
    if f1 or pixels.alarms.any() or pixels.hits.any():
        evaluation.metrics |= pixels.metrics()
        evaluation.samples |= {"pixel_f1": f1} if f1 else {}
        evaluation.sweep = [
            {
                "threshold": float(at),
                "precision": one.precision,
                "recall": one.recall,
                "f1": one.f1,
                "iou": one.iou,
            }
            for at, one in zip(THRESHOLDS, pixels.sweep(), strict=True)
        ]
    _remark_unusable(evaluation, max(labels.unusable, pixels.unusable))
    return evaluation


def _messages(model: EvaluatedModel, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    labels, messages = Labels(), Messages()
    right: list[float] = []
    for example, image, outputs in _asked(model, dataset, len(dataset), progress):
        result = model.answer(outputs, image)
        assert isinstance(result, Watermark)
        labels.add(int(example.message is not None), result.confidence)
        right.append(float(np.isfinite(result.confidence) and result.marked == (example.message is not None)))
        if example.message is not None:
            try:
                messages.add(np.array(example.message), result.bits)
            except ValueError as error:
                raise DatasetError(
                    f"{dataset.folder}: {example.name}: {error} by {model.card.model}"
                ) from None
    evaluation = TaskEvaluation(len(dataset), {**messages.metrics(), **labels.metrics()})
    evaluation.samples["accuracy"] = right
    if messages.accuracy:
        evaluation.samples["bit_accuracy"] = list(messages.accuracy)
    evaluation.remarks += filter(None, [labels.one_sided()])
    _remark_unusable(evaluation, labels.unusable)
    return evaluation


def _detections(model: EvaluatedModel, dataset: Labelled, progress: Progress) -> TaskEvaluation:
    classes = model.card.labels
    remarks = []
    if not model.card.labels_known:
        own = labels_of(dataset.folder)
        if len(own) > len(classes):
            raise DatasetError(
                f"{dataset.folder}: {len(own)} labels, but {model.card.model} distinguishes {len(classes)}: "
                f"{', '.join(own)}"
            )
        classes = (*own, *classes[len(own) :])
        remarks.append(f"the file names no categories; those of the dataset are taken: {', '.join(own)}")
    survey = surveyed(dataset.folder, classes, progress)
    if not survey.ground_truth["annotations"]:
        raise DatasetError(f"{dataset.folder}: no object is annotated, so there is nothing to measure")
    predictions: list[dict[str, Any]] = []
    unusable = 0
    entries = (Example(entry.image.name, entry.image) for entry in survey.entries)
    for index, (_, image, outputs) in enumerate(_asked(model, entries, len(dataset), progress)):
        of_image, dropped = predictions_in(index, Detections.of(outputs), image.shape, len(classes))
        predictions += of_image
        unusable += dropped
    metrics = {name: value if value >= 0 else None for name, value in _coco(survey.ground_truth, predictions)}
    evaluation = TaskEvaluation(len(dataset), metrics, remarks=remarks)
    evaluation.objects = (survey.ground_truth, predictions)
    _remark_unusable(evaluation, unusable)
    return evaluation


def _coco(truth: Any, predictions: Sequence[Any]) -> Iterator[tuple[str, float]]:
    """Each metric; COCO gives -1 where there is no object to measure on."""
    yield from coco_metrics(truth, predictions).items()


_EVALUATIONS: dict[str, Callable[[EvaluatedModel, Labelled, Progress], TaskEvaluation]] = {
    "tampering": _maps,
    "deepfake": _maps,
    "detections": _detections,
    "watermark": _messages,
}


def _remark_unusable(evaluation: TaskEvaluation, unusable: int) -> None:
    if unusable:
        evaluation.remarks.append(f"{unusable} answers are not finite; the metrics are without them")


def _asked(
    model: EvaluatedModel, examples: Any, count: int, progress: Progress
) -> Iterator[tuple[Example, Pixels, Outputs]]:
    """Each example with its pixels and the network's outputs."""
    last_hint = time.monotonic()
    done = 0
    for batch in _batched(iter(examples), _AT_ONCE):
        images = [example.pixels() for example in batch]
        outputs = model.run([model.prepare(image) for image in images])
        yield from zip(batch, images, outputs, strict=True)
        done += len(batch)
        if time.monotonic() - last_hint > _HINT_INTERVAL_S:
            progress.hint(f"{done} of {count} images")
            last_hint = time.monotonic()


def _batched(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while batch := list(islice(items, size)):
        yield batch


def compared(reference: TaskEvaluation, observed: TaskEvaluation) -> tuple[TaskMetric, ...]:
    """Compares metric by metric; AP and means over the same images also get an interval."""
    tests: dict[str, Callable[[list[float], list[float]], Compared]] = {
        "accuracy": lambda a, b: right_or_wrong([x > 0 for x in a], [x > 0 for x in b], MARGIN),
        "pixel_f1": lambda a, b: per_sample(a, b, MARGIN),
        "bit_accuracy": lambda a, b: per_sample(a, b, MARGIN),
    }
    rows = []
    for name, value in reference.metrics.items():
        first, second = reference.samples.get(name), observed.samples.get(name)
        test = tests[name](first, second) if first and second else None
        if name == "AP" and reference.objects and observed.objects:
            test = compare_ap(*reference.objects, observed.objects[1])
        if test:
            rows.append(TaskMetric(name, value, observed.metrics.get(name), test.interval, test.verdict))
        else:
            rows.append(TaskMetric(name, value, observed.metrics.get(name)))
    return tuple(rows)
