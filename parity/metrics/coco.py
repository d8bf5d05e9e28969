"""Detection metrics: COCO's twelve, and what two networks' detections say of each other.

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

from modelparity.parity.metrics.detection_matching import matched
from modelparity.parity.metrics.errors import Array
from modelparity.parity.metrics.paired_tests import Compared, Indices, of_the_whole

Predictions = Sequence[Mapping[str, Any]]
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
COMPARED = ("AP", "AP50", "AP75", "AR100")
EXCELLENT = 0.001
GOOD = 0.01
RESAMPLES = 1000  # some 4 ms each and side at 1,000 images

Verdict = Literal["excellent", "good", "warning", "inconclusive"]


def coco_metrics(ground_truth: Mapping[str, Any], predictions: Predictions) -> dict[str, float]:
    """The metrics by name. Neither argument is changed."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(copy.deepcopy(dict(ground_truth)))
    found = truth.loadRes(copy.deepcopy(list(predictions)))
    evaluation = COCOeval_faster(truth, found, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}


class _Matches:
    """Predictions matched to the ground truth once, image by image: AP over any images is made of these."""

    def __init__(self, ground_truth: Mapping[str, Any], predictions: Predictions) -> None:
        from faster_coco_eval import COCO, COCOeval_faster

        truth = COCO(copy.deepcopy(dict(ground_truth)))
        found = truth.loadRes(copy.deepcopy(list(predictions)))
        self._evaluation = COCOeval_faster(truth, found, iouType="bbox", separate_eval=True)
        parameters = self._evaluation.params
        # AP is over objects of any size, which is the first of the ranges.
        parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
        parameters.maxDets = parameters.maxDets[-1:]
        self._evaluation.evaluate()
        self._images = len(parameters.imgIds)
        self._matches = self._evaluation._evalImgs_cpp  # by category, then by image

    def ap(self, images: Indices) -> float:
        """AP over images by their place, which may be named more than once; -1 without an object in them."""
        starts = range(0, len(self._matches), self._images)
        self._evaluation._evalImgs_cpp = [self._matches[start + i] for start in starts for i in images]
        self._evaluation.accumulate()
        precision = self._evaluation.eval["precision"]
        measured = precision[precision > -1]
        return float(measured.mean()) if measured.size else -1.0


def compare_ap(
    ground_truth: Mapping[str, Any], network: Predictions, converted: Predictions, resamples: int = RESAMPLES
) -> Compared:
    """AP of both over the same images, and whether these are enough to rule out a loss of `GOOD`."""
    sides = (_Matches(ground_truth, network), _Matches(ground_truth, converted))

    def both(images: Indices) -> tuple[float, float]:
        return sides[0].ap(images), sides[1].ap(images)

    return of_the_whole(both, len(ground_truth["images"]), GOOD, resamples=resamples)


@dataclass(frozen=True)
class MetricComparison:
    """`metrics` maps a metric to the network's and the artifact's; `words` say why the verdict is so."""

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
            pairs, "inconclusive", "every metric is 0 for both, so nothing could have come out different"
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
    """What a detector found in one image: `boxes` [n, 4] as x1, y1, x2, y2 in 0..1, best score first."""

    boxes: Array
    scores: Array
    categories: Array

    @staticmethod
    def of(outputs: Mapping[str, Array]) -> Detections:
        """Of a batch of one; slots without a detection have score 0. What is not finite stays in."""
        score = outputs["score"][0]
        kept = np.flatnonzero(~(score <= 0))
        kept = kept[np.argsort(-score[kept], kind="stable")]
        return Detections(outputs["location"][0][kept], score[kept], outputs["category"][0][kept])

    def as_batch(self) -> dict[str, Array]:
        """As a detector's outputs, a batch of one."""
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
        """The same, and no corner or score a hundredth away: no metric can tell them apart by much."""
        return self.same and max(self.box_difference, self.score_difference) < GOOD


def compare_detections(network: Detections, converted: Detections) -> DetectionComparison:
    """Matched by category and overlap (`modelparity.parity.metrics.detection_matching`): two equal scores may come in either order."""
    apart = matched(converted.as_batch(), network.as_batch()).apart
    box, score = (float(np.max(apart[name], initial=0)) for name in ("location", "score"))
    return DetectionComparison(len(network), len(converted), len(apart["score"]), box, score)
