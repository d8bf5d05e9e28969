"""Evaluation with detectors that are made up: pixels, counts, reuse and verdicts, no network needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meta_tests.miniatures.triangles import LABELS, write_listing
from modelparity import terminal
from modelparity.evaluate.detections import surveyed
from modelparity.fixtures.datasets.detection import DatasetError
from modelparity.run_directory.comparison import ComparedModel, Pair, check_words, checked, evaluated

BOX = (0.25, 0.5, 0.75, 1.0)
BOTH = [(label, BOX) for label in LABELS]


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Two images: one wider than high, one that a camera stored on its side."""
    folder = tmp_path / "wide"
    (folder / "data").mkdir(parents=True)
    Image.new("RGB", (200, 100), "grey").save(folder / "data" / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: 100 x 40 as seen
    Image.new("RGB", (40, 100), "grey").save(folder / "data" / "b.jpg", exif=exif)
    write_listing(folder, [("a.png", BOTH), ("b.jpg", BOTH)])
    return folder


def survey(dataset: Path):
    with terminal.progress("a test") as progress:
        return surveyed(dataset, LABELS, progress)


def detector(*rows: tuple[tuple[float, ...], float, int]):
    """Finds the same in every image; `fed` keeps the shapes that it was given."""

    def predict(feeds):
        predict.fed += [feed.shape for feed in feeds]
        padded = [*rows, (((0.0,) * 4), 0.0, 1)]
        return [
            {
                "location": np.array([[row[0] for row in padded]], np.float32),
                "score": np.array([[row[1] for row in padded]], np.float32),
                "category": np.array([[row[2] for row in padded]]),
            }
            for _ in feeds
        ]

    predict.fed = []
    return predict


RIGHT = detector((BOX, 0.9, 1), (BOX, 0.8, 2))


def pair(network=RIGHT, converted=RIGHT, **key: object) -> Pair:
    return Pair(
        ComparedModel("pytorch", Path("best_model.pth"), network, {"checkpoint": "c", **key}),
        ComparedModel("onnx", Path("model.onnx"), converted, {"file": "f"}),
        lambda pixels: np.zeros((3, 32, 64), np.float32),
    )


def evaluation(dataset: Path, both: Pair, run: Path):
    with terminal.progress("a test") as progress:
        return evaluated(both, survey(dataset), run=run, confidence=0.5, progress=progress)


def test_ground_truth_is_in_each_images_own_pixels_as_seen(dataset):
    truth = survey(dataset).ground_truth
    assert [(image["width"], image["height"]) for image in truth["images"]] == [(200, 100), (100, 40)]
    assert [note["bbox"] for note in truth["annotations"]] == [[50, 50, 100, 50]] * 2 + [[25, 20, 50, 20]] * 2
    assert [note["category_id"] for note in truth["annotations"]] == [1, 2] * 2
    assert [note["area"] for note in truth["annotations"]] == [5000, 5000, 1000, 1000]
    assert 0 not in [note["id"] for note in truth["annotations"]]


def test_the_digest_is_of_everything(dataset):
    before = survey(dataset).sha256
    assert survey(dataset).sha256 == before
    Image.new("RGB", (200, 100), "black").save(dataset / "data" / "a.png")
    other = survey(dataset).sha256
    assert other != before
    write_listing(dataset, [("a.png", BOTH), ("b.jpg", BOTH[:1])])
    assert survey(dataset).sha256 not in (before, other)


def test_an_image_that_cannot_be_read_is_named_by_its_line(dataset):
    (dataset / "data" / "b.jpg").write_text("text")
    with pytest.raises(DatasetError, match=r"dataset\.jsonl:2: .*not an image"):
        survey(dataset)


def test_predictions_are_in_each_images_own_pixels(dataset, tmp_path):
    network = detector((BOX, 0.9, 1), (BOX, 0.8, 2))
    value, lines = evaluation(dataset, pair(network), tmp_path)
    assert network.fed == [(1, 3, 32, 64)] * 2
    folder = tmp_path / "eval_wide_model_onnx"
    assert value["folders"]["onnx"] == str(folder)
    predictions = json.loads((folder / "onnx_predictions.json").read_text())
    boxes = [[50, 50, 100, 50]] * 2 + [[25, 20, 50, 20]] * 2
    assert [one["bbox"] for one in predictions] == boxes
    assert [one["category_id"] for one in predictions] == [1, 2, 1, 2]
    assert [one["image_id"] for one in predictions] == [0, 0, 1, 1]
    assert value["metrics"]["AP"] == {"pytorch": 1.0, "onnx": 1.0, "difference": 0.0}
    assert value["verdict"] == "excellent"
    assert lines[-1].startswith("Excellent: ")
    # Two images that agree prove nothing about the next hundred.
    assert value["sampling"]["verdict"] == "inconclusive"
    assert value["sampling"]["images"] == 2
    assert value["sampling"]["interval"][0] < -0.5
    assert lines[-2].startswith("AP inconclusive: too few samples")
    for name, size in (("0000_detected.png", (200, 100)), ("0001_detected.png", (100, 40))):
        picture = Image.open(folder / "visualizations" / name)
        assert picture.size == size
        assert len(picture.getcolors(maxcolors=100_000) or []) > 2


@pytest.mark.parametrize(
    ("converted", "words"),
    [
        (detector((BOX, 0.9, 1)), "a difference of 0.5000"),
        (detector((BOX, 0.9, 2), (BOX, 0.8, 1)), None),  # ranks do not matter across categories
        (detector(), "a difference of 1.0000"),
        (detector(((0.25, 0.5, 0.75, 0.9), 0.9, 1), (BOX, 0.8, 2)), "a difference of "),
        (detector((BOX, 0.9, 1), (BOX, 0.8, 2), (BOX, float("nan"), 1)), "2 predictions are not finite"),
        (detector((BOX, 0.9, 1), (BOX, 0.8, 2), ((0, 0, float("inf"), 1), 0.5, 1)), "not finite"),
        (detector((BOX, 0.9, 1), (BOX, 0.8, 2), (BOX, 0.7, 3)), "name no category"),
        (detector((BOX, 1.0, 0), (BOX, 2.0, 0)), "name no category"),  # category and score swapped
    ],
)
def test_faults_of_a_converted_file(dataset, tmp_path, converted, words):
    value, lines = evaluation(dataset, pair(converted=converted), tmp_path)
    assert value["verdict"] == ("warning" if words else "excellent")
    assert (words or "Excellent") in lines[-1]
    text = (tmp_path / "eval_wide_model_onnx" / "onnx_metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["dataset"]["images"] == 2


def test_a_dataset_without_objects_compares_nothing(dataset, tmp_path):
    write_listing(dataset, [("a.png", []), ("b.jpg", [])])
    value, lines = evaluation(dataset, pair(), tmp_path)
    assert value["verdict"] == "inconclusive"
    assert lines[-1] == "Comparison not available: the dataset has no annotation"


def test_an_earlier_evaluation_serves_if_it_is_of_the_same(dataset, tmp_path, capsys):
    evaluation(dataset, pair(), tmp_path)
    capsys.readouterr()
    value, lines = evaluation(dataset, pair(network=pytest.fail), tmp_path)
    assert value["pytorch_reused"] is True
    assert "PyTorch's from an earlier run" in lines[0]
    assert value["metrics"]["AP"]["pytorch"] == 1
    assert "warning" not in capsys.readouterr().err


def test_numbers_in_an_earlier_evaluation_are_not_believed(dataset, tmp_path):
    evaluation(dataset, pair(), tmp_path)
    path = tmp_path / "eval_wide_best_model_pth" / "pytorch_metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "AP": 0.1, "AR100": 0.1}))
    value, _ = evaluation(dataset, pair(network=pytest.fail), tmp_path)
    assert value["metrics"]["AP"]["pytorch"] == value["metrics"]["AR100"]["pytorch"] == 1


def other_dataset(dataset: Path, folder: Path) -> None:
    write_listing(dataset, [("a.png", BOTH)])


def other_predictions(dataset: Path, folder: Path) -> None:
    (folder / "pytorch_predictions.json").write_text("[]")


def no_predictions(dataset: Path, folder: Path) -> None:
    (folder / "pytorch_predictions.json").unlink()


def another_program(dataset: Path, folder: Path) -> None:
    (folder / "pytorch_metrics.json").write_text('{"AP": 1.0}')


def torn(dataset: Path, folder: Path) -> None:
    (folder / "pytorch_metrics.json").write_text('{"AP": 1.0')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            other_dataset,
            "was of another dataset (2 images, 4 annotations; this one has 1 images, 2 annotations",
        ),
        (other_predictions, "has predictions other than those it recorded"),
        (no_predictions, "does not say which checkpoint and dataset it is of"),
        (another_program, "cannot be read"),
        (torn, "cannot be read"),
    ],
)
def test_an_earlier_evaluation_that_will_not_do(dataset, tmp_path, capsys, change, words):
    evaluation(dataset, pair(), tmp_path)
    change(dataset, tmp_path / "eval_wide_best_model_pth")
    capsys.readouterr()
    value, _ = evaluation(dataset, pair(network=detector()), tmp_path)
    assert value["pytorch_reused"] is False
    assert words in value["earlier_pytorch_evaluation"]
    assert words in capsys.readouterr().err
    assert value["metrics"]["AP"]["pytorch"] == 0


def test_an_earlier_evaluation_of_another_checkpoint(dataset, tmp_path):
    evaluation(dataset, pair(), tmp_path)
    value, _ = evaluation(dataset, replace(pair(checkpoint="d")), tmp_path)
    assert value["earlier_pytorch_evaluation"] == "was with another checkpoint"


def test_one_image():
    pixels = np.zeros((10, 20, 3), np.uint8)
    assert checked(pair(), pixels).same
    found = checked(pair(converted=detector((BOX, 0.9, 1))), pixels)
    assert check_words(found, "ONNX")[0] == "detections: 2 by PyTorch, 1 by ONNX, 1 the same"
    nothing = checked(pair(detector(), detector()), pixels)
    assert "this image tells nothing" in check_words(nothing, "ONNX")[0]
