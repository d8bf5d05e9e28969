"""Metrics of labels, masks and messages against scikit-learn's own, and what they keep in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from modelparity.parity.metrics.task import (
    BINS,
    THRESHOLDS,
    Labels,
    Messages,
    Pixels,
    calibration_error,
    swept,
)


def labels(truth, scores) -> Labels:
    found = Labels()
    for label, score in zip(truth, scores, strict=True):
        found.add(int(label), float(score))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_labels_equal_scikit_learn(seed):
    from sklearn import metrics

    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, 200)
    scores = np.round(generator.random(200), 2)  # ties, and some at one half
    found = labels(truth, scores).metrics()
    said = scores >= 0.5
    assert found["accuracy"] == metrics.accuracy_score(truth, said)
    assert found["f1"] == metrics.f1_score(truth, said)
    assert found["precision"] == metrics.precision_score(truth, said)
    assert found["recall"] == metrics.recall_score(truth, said)
    assert found["auc"] == metrics.roc_auc_score(truth, scores)


@pytest.mark.parametrize("seed", range(4))
def test_calibration_error_equals_the_curve_of_scikit_learn(seed):
    from sklearn.calibration import calibration_curve

    generator = np.random.default_rng(seed)
    scores = generator.random(500)
    truth = (generator.random(500) < scores**2).astype(int)
    share, promised = calibration_curve(truth, scores, n_bins=BINS, strategy="uniform")
    counts, _ = np.histogram(scores, np.linspace(0, 1, BINS + 1))
    expected = np.sum(np.abs(share - promised) * counts[counts > 0]) / 500
    assert calibration_error(truth, scores) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    # Three images in the last bin: two of three are positive, and 0.95 is promised of each.
    assert calibration_error(np.array([1, 1, 0]), np.array([0.95] * 3)) == pytest.approx(0.95 - 2 / 3)
    assert calibration_error(np.array([1, 0]), np.array([1.0, 0.0])) == 0


def test_one_class_has_no_auc_and_says_so():
    found = labels([1, 1], [0.9, 0.2])
    assert found.metrics()["auc"] is None
    assert found.metrics()["accuracy"] == 0.5
    assert found.one_sided() == "all 2 images have label 1: AUC needs images of both"
    assert labels([0], [0.1]).metrics()["f1"] is None
    assert labels([0, 1], [0.1, 0.1]).one_sided() == ""


def test_what_is_not_finite_is_counted_and_enters_nothing():
    found = labels([1, 0, 1], [0.9, np.nan, np.inf])
    assert (found.unusable, found.metrics()["accuracy"]) == (2, 1.0)
    pixels = Pixels()
    assert pixels.add(np.ones((2, 2), bool), np.array([[0.1, 0.2], [np.nan, 1]])) is None
    assert (pixels.unusable, pixels.metrics()["pixel_f1"]) == (1, None)


def test_pixels_equal_scikit_learn_at_every_threshold():
    from sklearn.metrics import f1_score, jaccard_score

    generator = np.random.default_rng(0)
    found = Pixels()
    truths, scores, each = [], [], []
    for height in (20, 33):
        truth = generator.random((height, 30)) < 0.3
        # Whole hundredths, so that many lie on a threshold; as a network gives them.
        score = np.round(np.clip(0.4 * truth + generator.random(truth.shape) * 0.7, 0, 1), 2)
        found.add(truth, score)
        truths.append(truth.ravel())
        scores.append(score.ravel())
        each.append(f1_score(truth.ravel(), score.ravel() >= 0.5))
    truth, score = np.concatenate(truths), np.concatenate(scores)
    for threshold, one in zip(THRESHOLDS, found.sweep(), strict=True):
        assert one.f1 == f1_score(truth, score >= threshold, zero_division=0)
        assert one.iou == jaccard_score(truth, score >= threshold, zero_division=0)
    metrics = found.metrics()
    assert metrics["pixel_f1"] == pytest.approx(np.mean(each))
    assert metrics["pooled_f1"] == f1_score(truth, score >= 0.5)
    assert metrics["best_pooled_f1"] == max(one.f1 for one in found.sweep())


def test_float32_masks_are_swept_as_they_compare():
    score = (np.arange(101, dtype=np.float32) / np.float32(100)).reshape(1, -1)
    hits, alarms = swept(score, np.ones(score.shape, bool))
    assert hits.tolist() == [int((score.astype(np.float64) >= t).sum()) for t in THRESHOLDS]
    assert not alarms.any()


def test_an_untampered_image_counts_in_the_pool_only():
    found = Pixels()
    assert found.add(np.array([[True, False]]), np.array([[0.9, 0.1]])) == 1.0
    assert found.add(np.zeros((1, 2), bool), np.array([[0.9, 0.1]])) is None
    metrics = found.metrics()
    assert metrics["pixel_f1"] == 1.0
    assert metrics["pooled_f1"] == pytest.approx(2 / 3)


def test_masks_are_not_kept():
    found = Pixels()
    generator = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for _ in range(12):
            found.add(generator.random((256, 256)) < 0.2, generator.random((256, 256), np.float32))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 64 * 1024  # one such mask is four times as much


def test_messages():
    found = Messages()
    assert found.add([1, 0, 1, 1], [1, 0, 1, 0]) == 0.75
    assert found.add([1, 0, 1, 1], [1, 0, 1, 1]) == 1
    assert found.metrics() == {"bit_accuracy": 0.875, "message_accuracy": 0.5}
    with pytest.raises(ValueError, match="a message of 2 bits, but 4 are read"):
        found.add([1, 0], [1, 0, 1, 0])
