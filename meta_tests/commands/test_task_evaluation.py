"""Networks that are made up on labelled datasets, with what their metrics must then be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from meta_tests.parity.test_detection_metrics import by_pycocotools
from modelparity import terminal
from modelparity.errors import BadInputError
from modelparity.evaluate.detections import surveyed
from modelparity.evaluate.evaluate import compared, evaluated
from modelparity.evaluate.predictors import EvaluatedModel
from modelparity.fixtures.datasets import synthetic
from modelparity.fixtures.datasets.detection import DatasetError, read_dataset
from modelparity.fixtures.datasets.labelled import open_dataset
from modelparity.fixtures.models import MODELS
from modelparity.modelfiles.model_card import card_for


def card(model: str, **changes):
    spec = replace(MODELS[model], **changes)
    return card_for(spec, spec.signature(), "onnx", "fp32", checkpoint="", versions={}, dynamic_batch=True)


def evaluation(side: EvaluatedModel, folder):
    with terminal.progress("a test") as progress:
        return evaluated(side, open_dataset(folder), progress)


def answering(model: str, answers, **changes) -> EvaluatedModel:
    """Gives its answers in their order, whatever it is fed."""
    queue = list(answers)

    def run(feeds):
        assert all(feed.shape[:2] == (1, 3) for feed in feeds)
        return [queue.pop(0) for _ in feeds]

    return EvaluatedModel(model, card(model, **changes), run)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for kind, fill in synthetic.SETS.items():
        (folder / kind).mkdir()
        list(fill(folder / kind, 6, 0))
    return folder


def tampering(folder, right: bool = True, size: int = 288):
    """What a network says that knows the truth, or its opposite."""
    from PIL import Image

    for example in open_dataset(folder):
        truth = example.truth(example.pixels().shape[:2])
        mask = np.asarray(Image.fromarray(truth).resize((size, size), Image.Resampling.NEAREST))
        mask = np.where(mask == right, 0.9, 0.1).astype(np.float32)
        score = 0.8 if truth.any() == right else 0.3
        yield {"score": np.array([[score]], np.float32), "mask": mask[None, None]}


def test_a_network_that_knows_and_one_that_knows_the_opposite(sets):
    right = evaluation(answering("objectformer", tampering(sets / "splices")), sets / "splices")
    wrong = evaluation(answering("objectformer", tampering(sets / "splices", False)), sets / "splices")
    assert right.images == 6
    assert (right.metrics["accuracy"], right.metrics["auc"], right.metrics["f1"]) == (1, 1, 1)
    assert right.metrics["pixel_f1"] > 0.97  # resized to the network's size and back
    assert right.metrics["ece"] == pytest.approx(0.25)
    assert (wrong.metrics["accuracy"], wrong.metrics["auc"]) == (0, 0)
    assert wrong.metrics["pixel_f1"] < 0.05
    assert len(right.sweep) == 101
    rows = {row.name: row for row in compared(right, wrong)}
    assert rows["accuracy"].verdict == rows["pixel_f1"].verdict == "worse"
    assert rows["accuracy"].difference == -1
    same = {row.name: row.verdict for row in compared(right, right)}
    assert same["accuracy"] == "inconclusive"  # six images say little, however alike


def test_a_network_that_is_not_finite_is_wrong_and_remarked(sets):
    answers = list(tampering(sets / "splices"))
    answers[1]["mask"][0, 0, 0, 0] = np.nan
    answers[1]["score"][:] = np.nan
    found = evaluation(answering("objectformer", answers), sets / "splices")
    assert found.remarks == ["1 answers are not finite; the metrics are without them"]
    assert sum(found.samples["accuracy"]) == 5
    assert found.samples["pixel_f1"][0] == 0
    assert found.metrics["accuracy"] == 1


def test_a_score_without_a_mask_has_no_pixel_metrics(sets):
    answers = [{"score": answer["score"]} for answer in tampering(sets / "splices")]
    found = evaluation(answering("objectformer_detection", answers), sets / "splices")
    assert set(found.metrics) == {"accuracy", "precision", "recall", "f1", "auc", "ece"}


def test_logits_are_read_as_probabilities(sets):
    answers = [
        {"score": np.where(answer["score"] > 0.5, 0.01, -0.01), "patch_logits": np.zeros((1, 1, 31, 31))}
        for answer in tampering(sets / "splices")
    ]
    assert evaluation(answering("ladeda", answers), sets / "splices").metrics["accuracy"] == 1


def test_messages_and_confidence(sets):
    answers = []
    for example in open_dataset(sets / "watermarks"):
        bits = np.array(example.message or [0] * 32) * 2.0 - 1
        bits[0] *= -1  # one bit is always wrong
        answers.append({"preds": np.array([[2.0 if example.label else -2.0, *bits]])})
    found = evaluation(answering("chunkyseal", answers), sets / "watermarks")
    assert found.metrics["bit_accuracy"] == pytest.approx(31 / 32)
    assert (found.metrics["message_accuracy"], found.metrics["auc"]) == (0, 1)
    with pytest.raises(DatasetError, match="a message of 32 bits, but 8 are read by chunkyseal"):
        evaluation(answering("chunkyseal", [{"preds": np.zeros((1, 9))}] * 6), sets / "watermarks")


def detections(folder):
    """The right boxes, roughly, and one that is no object; another number in each image."""
    generator = np.random.default_rng(0)
    for entry in read_dataset(folder):
        boxes = [np.array(note.box) + generator.normal(0, 0.02, 4) for note in entry.annotations]
        names = [synthetic.LABELS.index(note.label) + 1 for note in entry.annotations]
        yield {
            "location": np.array([[*boxes, [0.1, 0.1, 0.2, 0.2]]], np.float32).clip(0, 1),
            "score": np.array([[*generator.uniform(0.3, 1, len(boxes)), 0.4]], np.float32),
            "category": np.array([[*names, 1]]),
        }


def test_coco_metrics_equal_pycocotools(sets):
    side = answering("fasterrcnn", detections(sets / "triangles"), labels=synthetic.LABELS)
    found = evaluation(side, sets / "triangles")
    with terminal.progress("a test") as progress:
        truth = surveyed(sets / "triangles", synthetic.LABELS, progress).ground_truth
    predictions = [
        {"image_id": image, "category_id": int(category), "score": float(score),
         "bbox": [float(v) * 320 for v in (x1, y1, x2 - x1, y2 - y1)]}
        for image, one in enumerate(detections(sets / "triangles"))
        for (x1, y1, x2, y2), score, category in zip(
            one["location"][0].astype(float), one["score"][0], one["category"][0], strict=True
        )
    ]  # fmt: skip
    expected = by_pycocotools(truth, predictions)
    for name, value in found.metrics.items():
        assert (-1 if value is None else value) == pytest.approx(expected[name], abs=1e-9), name
    assert 0.1 < found.metrics["AP"] < 1
    assert found.remarks == []
    row = next(row for row in compared(found, found) if row.name == "AP")
    assert row.verdict == "inconclusive"


def test_labels_that_a_file_does_not_name_are_the_datasets(sets):
    found = evaluation(answering("fasterrcnn", detections(sets / "triangles")), sets / "triangles")
    assert found.remarks == [
        "the file names no categories; those of the dataset are taken: triangle, triangle_inverted"
    ]
    assert found.metrics["AP"] > 0.1
    one = answering("fasterrcnn", [], chosen_settings=(("classes", 1),))
    with pytest.raises(DatasetError, match="2 labels, but fasterrcnn distinguishes 1"):
        evaluation(one, sets / "triangles")


def test_a_dataset_that_says_nothing_of_a_network_is_refused(sets):
    with pytest.raises(BadInputError, match="a dataset of boxes, but objectformer is evaluated on images/"):
        evaluation(answering("objectformer", []), sets / "triangles")


def test_an_evaluation_outlives_json(sets):
    """As the gate keeps it."""
    from dataclasses import asdict

    found = evaluation(answering("objectformer", tampering(sets / "splices")), sets / "splices")
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["metrics"] == found.metrics
