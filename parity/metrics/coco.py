"""Computes COCO's twelve detection metrics, and compares the detections of two networks.

Ground truth and predictions are plain values in COCO's forms: `{"images", "annotations",
"categories"}`, and a list of `{"image_id", "category_id", "bbox" [x, y, w, h], "score"}`. The
metrics are those of Lin et al., "Microsoft COCO", arXiv:1405.0312, at 10 IoUs from 0.50 to 0.95 and
at most 100 detections an image; -1 stands where there is no ground truth to measure on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.parity.metrics.detection_matching import matched
from modelparity.parity.metrics.paired_tests import Compared, Indices, of_the_whole

Predictions = Sequence[Mapping[str, Any]]
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
COMPARED = ("AP", "AP50", "AP75", "AR100")
EXCELLENT = 0.001
GOOD = 0.01
RESAMPLES = 1000  # about 4 ms each at 1,000 images, for each network

Verdict = Literal["excellent", "good", "warning", "inconclusive"]


def coco_metrics(ground_truth: Mapping[str, Any], predictions: Predictions) -> dict[str, float]:
    """The metrics by name. Neither argument is changed."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(copy.deepcopy(dict(ground_truth)))
    results = truth.loadRes(copy.deepcopy(list(predictions)))
    evaluation = COCOeval_faster(truth, results, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}


class _Matches:
    """Predictions matched to the ground truth once for each image, so that AP over any images is quick."""

    def __init__(self, ground_truth: Mapping[str, Any], predictions: Predictions) -> None:
        from faster_coco_eval import COCO, COCOeval_faster

        truth = COCO(copy.deepcopy(dict(ground_truth)))
        results = truth.loadRes(copy.deepcopy(list(predictions)))
        self._evaluation = COCOeval_faster(truth, results, iouType="bbox", separate_eval=True)
        parameters = self._evaluation.params
        # AP is over objects of any size, which is the first of the ranges.
        parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
        parameters.maxDets = parameters.maxDets[-1:]
        self._evaluation.evaluate()
        self._images = len(parameters.imgIds)
        self._matches = self._evaluation._evalImgs_cpp  # by category, then by image

    def ap(self, images: Indices) -> float:
        """AP over images by index, which may occur more than once; -1 if they have no object."""
        starts = range(0, len(self._matches), self._images)
        self._evaluation._evalImgs_cpp = [self._matches[start + i] for start in starts for i in images]
        self._evaluation.accumulate()
        precision = self._evaluation.eval["precision"]
        measured = precision[precision > -1]
        return float(measured.mean()) if measured.size else -1.0


def compare_ap(
    ground_truth: Mapping[str, Any], network: Predictions, converted: Predictions, resamples: int = RESAMPLES
) -> Compared:
    """Compares the AP of both over the same images, with a margin of `GOOD`."""
    matches = (_Matches(ground_truth, network), _Matches(ground_truth, converted))

    def both(images: Indices) -> tuple[float, float]:
        return matches[0].ap(images), matches[1].ap(images)

    return of_the_whole(both, len(ground_truth["images"]), GOOD, resamples=resamples)


@dataclass(frozen=True)
class MetricComparison:
    """`metrics` maps a metric to the network's and the artifact's value; `words` explain the verdict."""

    metrics: Mapping[str, tuple[float, float]]
    verdict: Verdict
    words: str

    @property
    def largest(self) -> float:
        return max(abs(converted - network) for network, converted in self.metrics.values())


def compare_metrics(network: Mapping[str, float], converted: Mapping[str, float]) -> MetricComparison:
    """By the largest difference of any metric: below 0.001 excellent, below 0.01 good, else a warning."""
    pairs = {name: (network[name], converted[name]) for name in COMPARED}
    largest = max(abs(b - a) for a, b in pairs.values())
    if all(max(pair) <= 0 for pair in pairs.values()):
        return MetricComparison(
            pairs, "inconclusive", "every metric is 0 for both, so no difference could have been detected"
        )
    verdict: Verdict = "excellent" if largest < EXCELLENT else "good" if largest < GOOD else "warning"
    words = {
        "excellent": f"differences below {EXCELLENT:g}: nearly identical results",
        "good": f"differences below {GOOD:g}: very similar results",
        "warning": f"a difference of {largest:.4f}, {GOOD:g} or more: significant",
    }[verdict]
    return MetricComparison(pairs, verdict, words)


@dataclass(frozen=True)
class Detections:
    """The detections in one image: `boxes` [n, 4] as x1, y1, x2, y2 in 0..1, best score first."""

    boxes: Array
    scores: Array
    categories: Array

    @staticmethod
    def of(outputs: Mapping[str, Array]) -> Detections:
        """From a batch of one; rows of score 0 hold no detection. Values that are not finite stay."""
        score = outputs["score"][0]
        rows = np.flatnonzero(~(score <= 0))
        rows = rows[np.argsort(-score[rows], kind="stable")]
        return Detections(outputs["location"][0][rows], score[rows], outputs["category"][0][rows])

    def as_batch(self) -> dict[str, Array]:
        """A detector's outputs for a batch of one."""
        return {"location": self.boxes[None], "score": self.scores[None], "category": self.categories[None]}

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def finite(self) -> Array:
        """[n], false where a score or a corner is NaN or infinite."""
        return np.isfinite(self.scores) & np.isfinite(self.boxes).all(axis=1)


@dataclass(frozen=True)
class DetectionComparison:
    """Two sets of detections of one image, matched; differences are the largest over matched pairs."""

    network: int
    converted: int
    matched: int
    box_difference: float
    score_difference: float

    @property
    def same(self) -> bool:
        """Whether each detection of either has its counterpart."""
        return self.matched == self.network == self.converted

    @property
    def close(self) -> bool:
        """Whether they are the same, and no corner or score differs by `GOOD` or more."""
        return self.same and max(self.box_difference, self.score_difference) < GOOD


def compare_detections(network: Detections, converted: Detections) -> DetectionComparison:
    """Compares matched detections; the order of equal scores does not matter."""
    apart = matched(converted.as_batch(), network.as_batch()).apart
    box, score = (float(np.max(apart[name], initial=0)) for name in ("location", "score"))
    return DetectionComparison(len(network), len(converted), len(apart["score"]), box, score)
