"""Computes task metrics of labels, masks and messages, image by image.

- labels: accuracy, precision, recall and F1 at one half, area under the ROC curve (scikit-learn), and
  expected calibration error: 15 bins of equal width, each right-closed, of the probability of the positive
  class; the mean over images of |share of positives - mean probability| of their bin (Naeini et al.,
  "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; 15 bins as Guo et al., "On
  Calibration of Modern Neural Networks", ICML 2017).
- masks: precision, recall, F1 and IoU of pixels. "pixel_f1" is the mean over tampered images at one half, as
  localization is published; "pooled" counts all pixels of all images, untampered ones too, as one image, at
  101 thresholds. Only counts are stored, whatever the number and size of images.
- messages: share of bits right over marked images, and of messages with every bit right.

A value that reaches its threshold is positive, as in the answers that users get. Values that are not finite
are counted as `unusable` and otherwise left out. None stands for a metric that the dataset cannot give.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from modelparity.fixtures.arrays import Array

THRESHOLDS = np.arange(101) / 100
_HALF = 50
BINS = 15

Metrics = dict[str, float | None]


@dataclass
class Labels:
    """Probabilities of the positive class with true labels: 9 bytes for each image."""

    truth: array[int] = field(default_factory=lambda: array("b"))
    scores: array[float] = field(default_factory=lambda: array("d"))
    unusable: int = 0

    def add(self, label: int, probability: float) -> None:
        if not np.isfinite(probability):
            self.unusable += 1
            return
        self.truth.append(label)
        self.scores.append(probability)

    def metrics(self) -> Metrics:
        names = ("accuracy", "precision", "recall", "f1", "auc", "ece")
        if not self.truth:
            return dict.fromkeys(names)
        from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

        truth, scores = np.array(self.truth), np.array(self.scores)
        positive = scores >= 0.5
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, positive, average="binary", zero_division=0.0
        )
        # Without a positive image F1 would be 0, however good the answers are.
        some = truth.any()
        values = (
            accuracy_score(truth, positive),
            precision if some else None,
            recall if some else None,
            f1 if some else None,
            roc_auc_score(truth, scores) if some and not truth.all() else None,
            calibration_error(truth, scores),
        )
        return {n: None if v is None else float(v) for n, v in zip(names, values, strict=True)}

    def one_sided(self) -> str:
        """Why there is no AUC, in one line; "" if there is one."""
        if not self.truth:
            return ""
        positive = sum(self.truth)
        if positive not in (0, len(self.truth)):
            return ""
        return f"all {len(self.truth)} images have label {int(positive > 0)}: AUC needs images of both"


def calibration_error(truth: Array, scores: Array) -> float:
    """Expected calibration error of probabilities [n] of the positive class, of truths [n] of 0 and 1."""
    inner = np.arange(1, BINS) / BINS
    bins = np.searchsorted(inner, scores, side="left")
    positives = np.bincount(bins, weights=truth, minlength=BINS)
    promised = np.bincount(bins, weights=scores, minlength=BINS)
    return float(np.abs(positives - promised).sum() / len(scores))


@dataclass(frozen=True)
class Overlap:
    """Pixels at one threshold: true positives (`hits`), false ones (`alarms`), false negatives (`misses`)."""

    hits: int
    alarms: int
    misses: int

    @property
    def precision(self) -> float:
        return _share(self.hits, self.hits + self.alarms)

    @property
    def recall(self) -> float:
        return _share(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        return _share(2 * self.hits, 2 * self.hits + self.alarms + self.misses)

    @property
    def iou(self) -> float:
        return _share(self.hits, self.hits + self.alarms + self.misses)


def _share(part: int, whole: int) -> float:
    """0 if `whole` is 0, as in scikit-learn with `zero_division=0`."""
    return part / whole if whole else 0.0


def swept(probability: Array, truth: Array) -> tuple[Array, Array]:
    """Hits and alarms at each of `THRESHOLDS`, int64 [101] each, for masks [H, W]: 0..1, and bool."""
    passed = np.searchsorted(THRESHOLDS, probability.astype(np.float64).ravel(), side="right")
    tampered = truth.ravel()
    counts = [np.bincount(passed[side], minlength=len(THRESHOLDS) + 1) for side in (tampered, ~tampered)]
    # A pixel that passed k thresholds reaches the first k.
    hits, alarms = (np.cumsum(count[::-1])[::-1][1:] for count in counts)
    return hits, alarms


@dataclass
class Pixels:
    """Masks with true masks: counts, and two numbers for each image."""

    hits: Array = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    alarms: Array = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    tampered: int = 0
    f1: array[float] = field(default_factory=lambda: array("d"))
    iou: array[float] = field(default_factory=lambda: array("d"))
    unusable: int = 0

    def add(self, truth: Array, probability: Array) -> float | None:
        """Adds masks [H, W], bool and 0..1; returns the image's F1 at one half, None if it is untampered."""
        if not np.isfinite(probability).all():
            self.unusable += 1
            return None
        hits, alarms = swept(probability, truth)
        tampered = int(truth.sum())
        self.hits += hits
        self.alarms += alarms
        self.tampered += tampered
        if not tampered:
            return None
        one = Overlap(int(hits[_HALF]), int(alarms[_HALF]), tampered - int(hits[_HALF]))
        self.f1.append(one.f1)
        self.iou.append(one.iou)
        return one.f1

    def sweep(self) -> list[Overlap]:
        """All pixels of all images, at each of `THRESHOLDS`."""
        pairs = zip(self.hits.tolist(), self.alarms.tolist(), strict=True)
        return [Overlap(hits, alarms, self.tampered - hits) for hits, alarms in pairs]

    def metrics(self) -> Metrics:
        names = ("pixel_f1", "pixel_iou", "pooled_f1", "pooled_iou", "best_pooled_f1", "best_threshold")
        if not self.f1:
            return dict.fromkeys(names)
        sweep = self.sweep()
        best = int(np.argmax([one.f1 for one in sweep]))
        at = sweep[_HALF]
        means = float(np.mean(self.f1)), float(np.mean(self.iou))
        values = (*means, at.f1, at.iou, sweep[best].f1, float(THRESHOLDS[best]))
        return dict(zip(names, values, strict=True))


@dataclass
class Messages:
    """Bits read from marked images, with the bits written."""

    accuracy: array[float] = field(default_factory=lambda: array("d"))

    def add(self, message: Array, bits: Array) -> float:
        """Adds bits [n] of 0 and 1; returns the share of right ones.

        Raises:
            ValueError: The lengths differ.
        """
        if len(message) != len(bits):
            raise ValueError(f"a message of {len(message)} bits, but {len(bits)} are read")
        share = float(np.mean(np.asarray(message) == np.asarray(bits)))
        self.accuracy.append(share)
        return share

    def metrics(self) -> Metrics:
        if not self.accuracy:
            return {"bit_accuracy": None, "message_accuracy": None}
        shares = np.array(self.accuracy)
        return {"bit_accuracy": float(shares.mean()), "message_accuracy": float((shares == 1).mean())}


def differences(reference: Mapping[str, float | None], observed: Mapping[str, float | None]) -> Metrics:
    """Observed minus reference by metric; None if either is None."""
    both = {name: (value, observed.get(name)) for name, value in reference.items()}
    return {name: None if a is None or b is None else b - a for name, (a, b) in both.items()}
