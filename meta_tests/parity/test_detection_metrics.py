"""COCO metrics against pycocotools; bands; detections matched, not zipped."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest

from modelparity.parity.metrics.coco import (
    METRICS,
    Detections,
    _Matches,
    coco_metrics,
    compare_ap,
    compare_detections,
    compare_metrics,
)
from modelparity.parity.metrics.detection_matching import overlaps

WIDTH, HEIGHT = 320, 240


def by_pycocotools(truth: dict, predictions: list) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = copy.deepcopy(truth)
        expected.createIndex()
        found = COCO()  # loadRes would not take an empty list
        found.dataset = {**copy.deepcopy(truth), "annotations": []}
        for number, one in enumerate(predictions, start=1):
            area = one["bbox"][2] * one["bbox"][3]
            found.dataset["annotations"].append({**one, "id": number, "area": area, "iscrowd": 0})
        found.createIndex()
        evaluation = COCOeval(expected, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(METRICS, evaluation.stats, strict=True))


def drawn(seed: int, ties: bool, most: int = 8, categories: int = 3) -> tuple[dict, list]:
    """Ground truth of any size on six images, each found several times, roughly, or not at all."""
    generator = np.random.default_rng(seed)
    truth: dict = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(6)],
        "categories": [{"id": c, "name": str(c)} for c in range(1, categories + 1)],
        "annotations": [],
    }
    predictions = []
    for image in range(6):
        for _ in range(generator.integers(0, most)):
            w, h = generator.uniform(4, 150, 2)
            x, y = generator.uniform(0, WIDTH - w), generator.uniform(0, HEIGHT - h)
            category = int(generator.integers(1, categories + 1))
            number = len(truth["annotations"]) + 1
            truth["annotations"].append(
                {"id": number, "image_id": image, "category_id": category, "bbox": [x, y, w, h],
                 "area": w * h, "iscrowd": 0}
            )  # fmt: skip
            for _ in range(generator.integers(0, 4)):
                shift = generator.normal(0, 0.08, 4) * [w, h, w, h]
                score = generator.uniform()
                predictions.append(
                    {
                        "image_id": image,
                        "category_id": category if generator.random() < 0.8 else 1,
                        "bbox": [x + shift[0], y + shift[1], max(1, w + shift[2]), max(1, h + shift[3])],
                        "score": round(score, 1) if ties else score,
                    }
                )
    return truth, predictions


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("most", [3, 8, 60], ids=["few", "some", "more than 100"])
def test_the_same_as_pycocotools(most, ties):
    for seed in range(2):
        truth, predictions = drawn(seed, ties, most)
        before = copy.deepcopy((truth, predictions))
        metrics = coco_metrics(truth, predictions)
        assert metrics == pytest.approx(by_pycocotools(truth, predictions), abs=1e-9)
        assert 0 < metrics["AP50"] < 1
        assert (truth, predictions) == before


@pytest.mark.parametrize("nothing", ["detected", "there"])
def test_nothing(nothing):
    truth, predictions = drawn(0, ties=False)
    if nothing == "there":
        truth["annotations"] = []
    else:
        predictions = []
    metrics = coco_metrics(truth, predictions)
    assert metrics == by_pycocotools(truth, predictions)
    assert metrics["AP"] == (-1 if nothing == "there" else 0)


def test_the_truth_itself_scores_one():
    truth, _ = drawn(0, ties=False)
    perfect = [{**note, "score": 0.9} for note in truth["annotations"]]
    metrics = coco_metrics(truth, perfect)
    assert metrics["AP"] == metrics["AR100"] == 1
    wrong = [{**one, "category_id": one["category_id"] % 3 + 1} for one in perfect]
    assert coco_metrics(truth, wrong)["AP"] < 0.2


def metrics(**changes: float) -> dict[str, float]:
    return {**dict.fromkeys(METRICS, 0.5), **changes}


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "excellent", "below 0.001"),
        ({"AP": 0.5009}, "excellent", "nearly identical"),
        ({"AP75": 0.4989}, "good", "below 0.01"),
        ({"AR100": 0.5099}, "good", "very similar"),
        ({"AP50": 0.4899}, "warning", "0.0101"),
        ({"ARs": 0.1}, "excellent", "below 0.001"),  # not one of those compared
    ],
)
def test_bands(changes, verdict, words):
    found = compare_metrics(metrics(), metrics(**changes))
    assert found.verdict == verdict
    assert words in found.words


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_two_zeros_prove_nothing(value):
    nothing = dict.fromkeys(METRICS, value)
    assert compare_metrics(nothing, nothing).verdict == "inconclusive"
    assert compare_metrics(nothing, metrics()).verdict == "warning"


def outputs(rows: list[tuple[list[float], float, int]], padding: int = 2) -> dict[str, np.ndarray]:
    rows = [*rows, *[([0.0] * 4, 0.0, 1)] * padding]
    return {
        "location": np.array([[row[0] for row in rows]], np.float32),
        "score": np.array([[row[1] for row in rows]], np.float32),
        "category": np.array([[row[2] for row in rows]]),
    }


A, B = [0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.8]


def test_equal_scores_may_come_in_either_order():
    first = Detections.of(outputs([(A, 0.5, 1), (B, 0.5, 1)]))
    second = Detections.of(outputs([(B, 0.5, 1), (A, 0.5, 1)]))
    found = compare_detections(first, second)
    assert (found.network, found.converted, found.matched) == (2, 2, 2)
    assert found.same
    assert found.close
    assert (found.box_difference, found.score_difference) == (0, 0)


def test_differences_are_of_matched_pairs():
    shifted = [0.1, 0.12, 0.4, 0.4]
    found = compare_detections(
        Detections.of(outputs([(A, 0.5, 1), (B, 0.4, 2)])),
        Detections.of(outputs([(shifted, 0.6, 1), (B, 0.4, 2)])),
    )
    assert found.same
    assert not found.close
    assert found.box_difference == pytest.approx(0.02, abs=1e-6)
    assert found.score_difference == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        [(A, 0.5, 1)],  # one lost
        [(A, 0.5, 1), (B, 0.4, 1)],  # another kind
        [(A, 0.5, 1), ([0.1, 0.5, 0.3, 0.8], 0.4, 2)],  # elsewhere
        [(A, 0.5, 1), (B, 0.4, 2), (B, 0.3, 2)],  # one twice
        [(A, float("nan"), 1), ([float("nan")] * 4, 0.4, 2)],
        [],
    ],
)
def test_what_is_not_the_same(other):
    network = Detections.of(outputs([(A, 0.5, 1), (B, 0.4, 2)]))
    assert not compare_detections(network, Detections.of(outputs(other))).same


def test_one_detection_is_the_counterpart_of_one():
    near = [0.1, 0.1, 0.4, 0.42]
    network = Detections.of(outputs([(A, 0.5, 1), (near, 0.4, 1)]))
    found = compare_detections(network, Detections.of(outputs([(A, 0.5, 1), (B, 0.4, 1)])))
    assert found.matched == 1


def test_padding_goes_and_what_is_not_finite_stays_to_be_counted():
    found = Detections.of(outputs([(A, float("nan"), 1), (B, 0.4, 2)], padding=5))
    assert len(found) == 2
    assert sorted(found.finite) == [False, True]


def test_iou_is_that_of_pycocotools():
    from pycocotools import mask

    generator = np.random.default_rng(0)
    corners = np.sort(generator.uniform(0, 1, (50, 2, 2)), axis=1).reshape(50, 4)
    sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    expected = mask.iou(sizes[:1], sizes, [0] * 50)[0]
    assert overlaps(corners[:1], corners)[0] == pytest.approx(expected, abs=1e-12)
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4)))[0] == 0


def resampled(truth: dict, predictions: list, images) -> tuple[dict, list]:
    """The images named, each as an image of its own, with what is in it and what was found."""
    made: dict = {**truth, "images": [], "annotations": []}
    found = []
    for new, old in enumerate(images):
        made["images"].append({**truth["images"][old], "id": new})
        for note in truth["annotations"]:
            if note["image_id"] == old:
                number = len(made["annotations"]) + 1
                made["annotations"].append({**note, "image_id": new, "id": number})
        found += [{**one, "image_id": new} for one in predictions if one["image_id"] == old]
    return made, found


@pytest.mark.parametrize("seed", range(5))
def test_ap_over_drawn_images_is_that_of_a_dataset_made_of_them(seed):
    truth, predictions = drawn(seed, ties=False)
    images = np.random.default_rng(seed).integers(0, 6, 6)
    expected = by_pycocotools(*resampled(truth, predictions, images))["AP"]
    assert _Matches(truth, predictions).ap(images) == pytest.approx(expected, abs=1e-12)


def many(images: int) -> tuple[dict, list]:
    """One object an image, found exactly."""
    truth, predictions = drawn(0, ties=False)
    box = [10.0, 10.0, 60.0, 60.0]
    note = {**truth["annotations"][0], "bbox": box, "area": 3600.0, "category_id": 1}
    truth["images"] = [{**truth["images"][0], "id": i} for i in range(images)]
    truth["annotations"] = [{**note, "id": i + 1, "image_id": i} for i in range(images)]
    one = {**predictions[0], "bbox": box, "category_id": 1}
    return truth, [{**one, "image_id": i, "score": 1 - i / 1e4} for i in range(images)]


def test_a_few_images_that_agree_are_inconclusive_and_many_are_not():
    few = compare_ap(*_twice(many(12)), resamples=20)
    assert (few.verdict, few.difference) == ("inconclusive", 0.0)
    assert "too few samples" in few.words
    assert compare_ap(*_twice(many(400)), resamples=20).verdict == "no worse"


def test_a_loss_in_every_tenth_image_is_worse():
    truth, found = many(400)
    lost = [one for one in found if one["image_id"] % 10]
    verdict = compare_ap(truth, found, lost, resamples=50)
    assert verdict.verdict == "worse"
    assert verdict.difference == pytest.approx(-0.1, abs=0.02)


def _twice(dataset: tuple[dict, list]) -> tuple[dict, list, list]:
    return (*dataset, dataset[1])
