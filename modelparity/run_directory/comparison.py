"""Compares a network with its converted file on one image and on a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity import terminal
from modelparity.evaluate.detections import Evaluation, Predict, Survey, evaluate, reusable
from modelparity.fixtures.images import Feed
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.parity.metrics.coco import (
    DetectionComparison,
    Detections,
    MetricComparison,
    compare_ap,
    compare_detections,
    compare_metrics,
)
from modelparity.parity.metrics.paired_tests import CONFIDENCE, Compared

NOT_EVALUATED = "Comparison not available: evaluation was not run; give --dataset-dir DIR --evaluate"


@dataclass(frozen=True)
class ComparedModel:
    """One of the two: `file` names the evaluation's folder, `key` all that its outputs depend on."""

    kind: str
    file: Path
    predict: Predict
    key: Mapping[str, Any]

    def folder(self, run: Path, survey: Survey) -> Path:
        """RUN_DIR/eval_<dataset>_<checkpoint>_<format>"""
        return run / f"eval_{survey.name}_{self.file.stem}_{self.file.suffix[1:] or 'pth'}"


@dataclass(frozen=True)
class Pair:
    """The PyTorch network and the file, fed by `prepare`: RGB uint8 [h, w, 3] -> float32 [3, H, W]."""

    network: ComparedModel
    converted: ComparedModel
    prepare: Callable[[np.ndarray[Any, Any]], Feed]

    @property
    def name(self) -> str:
        """What people call the converted model."""
        return FILE_FORMATS[self.converted.kind].title


def checked(pair: Pair, pixels: np.ndarray[Any, Any]) -> DetectionComparison:
    """Compares both on one image, RGB uint8 [h, w, 3]."""
    feed = pair.prepare(pixels)[None]
    models = (pair.network, pair.converted)
    network, converted = (Detections.of(model.predict([feed])[0]) for model in models)
    return compare_detections(network, converted)


def check_words(check: DetectionComparison, name: str) -> list[str]:
    """The comparison on one image as lines of text."""
    counts = f"detections: {check.network} by PyTorch, {check.converted} by {name}, {check.matched} the same"
    if not check.network and not check.converted:
        return [f"{counts}: this image tells nothing; take one with objects"]
    differences = (
        f"largest difference: {check.box_difference:.3g} in a corner (0..1), "
        f"{check.score_difference:.3g} in a score"
    )
    return [counts, differences]


def evaluated(
    pair: Pair, survey: Survey, *, run: Path, confidence: float, progress: terminal.Progress
) -> tuple[dict[str, Any], list[str]]:
    """Evaluates both on the dataset and writes a folder for each into `run`.

    Returns the values for comparison.json, and lines of text.
    """
    network, converted = pair.network, pair.converted
    folder = network.folder(run, survey)
    first, why = reusable(survey, folder, network.kind, network.key)
    if why:
        terminal.warn(f"{folder}: an earlier evaluation {why}; PyTorch is evaluated anew")
    if first is None:
        first = _evaluation(network, pair, survey=survey, run=run, confidence=confidence, progress=progress)
    second = _evaluation(converted, pair, survey=survey, run=run, confidence=confidence, progress=progress)
    value: dict[str, Any] = {
        "dataset": survey.about,
        # Both models read this one survey, or recorded its sha256.
        "dataset_consistency": {"same": True, "sha256": survey.sha256, "images": len(survey.entries)},
        "folders": {model.kind: str(model.folder(run, survey)) for model in (network, converted)},
        "pytorch_reused": first.reused,
        "earlier_pytorch_evaluation": why,
    }
    same = f"both evaluated on the same dataset: {len(survey.entries)} images, sha256 {survey.sha256[:12]}"
    lines = [same + (" (PyTorch's from an earlier run)" if first.reused else "")]
    if not survey.ground_truth["annotations"]:
        value["verdict"] = "inconclusive"
        return value, [*lines, "Comparison not available: the dataset has no annotation"]
    comparison = _judged(first, second)
    value["metrics"] = {
        metric: {"pytorch": a, converted.kind: b, "difference": b - a}
        for metric, (a, b) in comparison.metrics.items()
    }
    value["unusable_predictions"] = {network.kind: first.unusable, converted.kind: second.unusable}
    value["verdict"] = comparison.verdict
    lines += [
        f"{metric:6} PyTorch {a:.4f}  {pair.name} {b:.4f}  difference {b - a:+.4f}"
        for metric, (a, b) in comparison.metrics.items()
    ]
    if comparison.verdict != "inconclusive":
        progress.stage(f"resampling {len(survey.entries)} images")
        found = compare_ap(survey.ground_truth, first.predictions, second.predictions)
        value["sampling"] = _sampling(found)
        lines.append(f"AP {found.words}")
    return value, [*lines, f"{comparison.verdict.capitalize()}: {comparison.words}"]


def _sampling(found: Compared) -> dict[str, Any]:
    """Whether the images suffice to say that AP is no worse, for comparison.json."""
    return {
        "metric": "AP",
        "images": found.samples,
        "difference": found.difference,
        "interval": list(found.interval),
        "confidence": CONFIDENCE,
        "margin": found.margin,
        "verdict": found.verdict,
        "images_needed": found.needed,
        "words": found.words,
    }


def _evaluation(
    model: ComparedModel,
    pair: Pair,
    *,
    survey: Survey,
    run: Path,
    confidence: float,
    progress: terminal.Progress,
) -> Evaluation:
    progress.stage(f"evaluating {model.file.name} on {survey.name}")
    folder = model.folder(run, survey)
    return evaluate(
        survey,
        predict=model.predict,
        prepare=pair.prepare,
        folder=folder,
        kind=model.kind,
        key=model.key,
        confidence=confidence,
        progress=progress,
    )


def _judged(network: Evaluation, converted: Evaluation) -> MetricComparison:
    comparison = compare_metrics(network.metrics, converted.metrics)
    if lost := network.unusable + converted.unusable:
        words = f"{lost} predictions are not finite or name no category; the metrics are without them"
        return MetricComparison(comparison.metrics, "warning", words)
    return comparison
