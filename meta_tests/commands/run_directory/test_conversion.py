"""The model folder: what is written, what it says, and what a spoiled file does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from meta_tests.commands.run_directory.conversion import (
    MODEL_FOLDER,
    ONNX,
    PYTORCH,
    configured,
    convert,
    refusal,
)
from meta_tests.miniatures.triangles import CONFIG, LABELS, MINIATURE, run_directory, write_listing
from modelparity.errors import BadInputError
from modelparity.modelfiles.model_card import card_of


@pytest.fixture(scope="module")
def evaluated(world, dataset) -> tuple:
    """Two evaluations: on triangles, unknown to golden weights, and on what the network itself finds."""
    run = world / "run"
    third_party = run / PYTORCH
    (third_party / "visualizations").mkdir(parents=True)
    (third_party / "faster_rcnn_metrics.json").write_text("another tool's")
    (third_party / "visualizations" / "Image_tensor([0]).png").write_text("another tool's")
    arguments = ("--run-dir", run, "--dataset-dir", dataset, "--evaluate")
    first = convert(*arguments)
    assert first.exit_code == 0, first.output
    found: dict[int, list] = {}
    for one in json.loads((run / PYTORCH / "pytorch_predictions.json").read_text()):
        found.setdefault(one["image_id"], []).append(one)
    entries = []
    for index, predictions in found.items():
        boxes = []
        for one in predictions[:12:2]:
            x, y, w, h = (value / 320 for value in one["bbox"])
            corners = [x + 0.12 * w, y, min(1.0, x + w), min(1.0, y + h)]  # not quite where it is found
            boxes.append((LABELS[one["category_id"] - 1], corners))
        entries.append((f"data/{index:03d}.png", boxes))
    write_listing(dataset, entries)
    second = convert(*arguments, "--json")
    assert second.exit_code == 0, second.output
    return first, second


def test_weights_that_know_nothing_end_undecided(evaluated):
    first, _ = evaluated
    assert "Inconclusive: every metric is 0 for both" in first.stdout
    assert "an earlier evaluation does not say which checkpoint and dataset it is of" in first.stderr
    assert "EMA weights (model_ema_state_dict) of best_model.pth, epoch 7\n" in first.stdout


def test_what_is_written(evaluated, world):
    run = world / "run"
    assert {path.name for path in (run / "onnx_model").iterdir()} == MODEL_FOLDER
    assert (run / "onnx_model" / "labels.txt").read_text() == "triangle\ntriangle_inverted\n"
    card = card_of(run / "onnx_model" / "model.onnx")
    assert (card.labels, card.labels_known, card.trained) == (LABELS, True, True)
    assert (run / "onnx_model" / "config.yaml").read_text() == CONFIG
    assert {path.name for path in (run / ONNX).iterdir()} == {
        "onnx_metrics.json",
        "onnx_predictions.json",
        "ground_truth_coco.json",
        "visualizations",
    }
    pictures = [f"{index:04d}_detected.png" for index in range(4)]
    assert sorted(path.name for path in (run / ONNX / "visualizations").iterdir()) == pictures
    # What another program left where PyTorch's evaluation goes is still there.
    assert (run / PYTORCH / "faster_rcnn_metrics.json").read_text() == "another tool's"
    assert (run / PYTORCH / "visualizations" / "Image_tensor([0]).png").exists()
    assert not [path for path in run.iterdir() if path.name.startswith(".") and path.name != ".hydra"]


def test_the_networks_own_detections_are_found(evaluated, world):
    _, second = evaluated
    comparison = json.loads((world / "run" / "onnx_model" / "comparison.json").read_text())
    assert {**comparison, "path": str(world / "run" / "onnx_model")} == json.loads(second.stdout)
    evaluation = comparison["evaluation"]
    assert evaluation["verdict"] == "excellent"
    assert evaluation["words"].startswith("Excellent: ")
    assert evaluation["dataset_consistency"]["same"] is True
    assert evaluation["dataset"]["annotations"] == 24
    for metric in ("AP", "AP50", "AP75", "AR100"):
        values = evaluation["metrics"][metric]
        assert 0.1 < values["pytorch"] < 1  # where it can go up and down
        assert abs(values["difference"]) < 0.001
    assert comparison["image"]["same"] is True
    assert 0 < comparison["image"]["score_difference"] < 1e-5
    assert "was of another dataset (4 images" in evaluation["earlier_pytorch_evaluation"]
    assert "was of another dataset (4 images" in second.stderr


def test_metrics_are_those_of_the_predictions_written(evaluated, world):
    from meta_tests.parity.test_detection_metrics import by_pycocotools

    folder = world / "run" / ONNX
    truth = json.loads((folder / "ground_truth_coco.json").read_text())
    predictions = json.loads((folder / "onnx_predictions.json").read_text())
    metrics = json.loads((folder / "onnx_metrics.json").read_text())
    assert set(predictions[0]) == {"image_id", "category_id", "bbox", "score"}
    expected = by_pycocotools(truth, predictions)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert metrics["num_predictions"] == len(predictions) == 400


def test_pictures_show_boxes(evaluated, world, dataset):
    import numpy as np
    from PIL import Image

    before = np.asarray(Image.open(dataset / "data" / "000.png")).astype(int)
    after = np.asarray(Image.open(world / "run" / ONNX / "visualizations" / "0000_detected.png")).astype(int)
    assert after.shape == before.shape
    assert 0.02 < np.any(after != before, axis=2).mean() < 0.9


def test_the_usage_in_the_summary_runs_as_it_stands(evaluated, world):
    text = (world / "run" / "onnx_model" / "conversion_summary.txt").read_text()
    code = textwrap.dedent(text.partition("Usage: run this with Python in this folder\n")[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=world / "run" / "onnx_model",
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    picture = json.loads((world / "run" / ONNX / "onnx_predictions.json").read_text())
    shown = [one for one in picture if one["image_id"] == 0 and one["score"] >= 0.5]
    assert len(lines) == len(shown) > 0
    x, y, w, h = shown[0]["bbox"]
    corners = ", ".join(f"{value:.1f}" for value in (x, y, x + w, y + h))
    assert lines[0] == f"{LABELS[shown[0]['category_id'] - 1]} {shown[0]['score']:.3f} at {corners}"
    for word in ("location", "score", "category", "EMA weights", "Excellent"):
        assert word in text


def spoiled(copy_artifact):
    """A delivery whose file has one kernel a little too large."""

    def deliver_spoiled(session, artifact, output):
        import onnx
        from onnx import numpy_helper

        model = onnx.load(artifact.path)
        kernel = next(one for one in model.graph.initializer if one.name.endswith("head.weight"))
        kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * 1.5, kernel.name))
        onnx.save(model, output)

    return deliver_spoiled


def test_a_spoiled_file_gets_a_warning_and_a_failed_run_harms_nothing(evaluated, run, dataset, monkeypatch):
    from modelparity.run_directory import convert as commands_run_directory

    arguments = ("--run-dir", run, "--dataset-dir", dataset, "--evaluate")
    with monkeypatch.context() as patch:
        patch.setattr(commands_run_directory, "copy_artifact", spoiled(commands_run_directory.copy_artifact))
        result = convert(*arguments)
    assert result.exit_code == 1, result.output
    assert "Warning: a difference of 0." in result.stdout
    assert (
        json.loads((run / "onnx_model" / "comparison.json").read_text())["evaluation"]["verdict"] == "warning"
    )
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def fails(*_, **__):
        raise BadInputError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(commands_run_directory, "_fill", fails)
        assert refusal("--run-dir", run, "--dataset-dir", dataset) == "in the middle"
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    # The same again, honestly: PyTorch's evaluation is taken from before, and no file of it remains.
    (run / "onnx_model" / "model.onnx.data").write_text("of an earlier, larger model")
    result = convert(*arguments)
    assert result.exit_code == 0, result.output
    assert "(PyTorch's from an earlier run)" in result.stdout
    assert {path.name for path in (run / "onnx_model").iterdir()} == MODEL_FOLDER

    # Predictions other than those recorded are nobody's.
    predictions = run / PYTORCH / "pytorch_predictions.json"
    predictions.write_text("[]")
    result = convert(*arguments)
    assert "has predictions other than those it recorded" in result.stderr
    assert "(PyTorch's from an earlier run)" not in result.stdout
    assert predictions.read_text() != "[]"


def test_without_an_evaluation_the_image_alone_tells(run, image):
    result = convert("--run-dir", run, "--image-input", image)
    assert result.exit_code == 0, result.output
    words = "Comparison not available: evaluation was not run; give --dataset-dir DIR --evaluate"
    assert words in result.stdout
    comparison = json.loads((run / "onnx_model" / "comparison.json").read_text())
    assert comparison["evaluation"] == {"words": words, "verdict": "not available"}
    assert comparison["image"]["path"] == str(image)
    assert comparison["image"]["matched"] == 100
    assert [path.name for path in run.iterdir() if path.name.startswith("eval_")] == []


def test_a_spoiled_file_is_noticed_on_one_image_too(evaluated, run, image, monkeypatch):
    from modelparity.run_directory import convert as commands_run_directory

    monkeypatch.setattr(
        commands_run_directory, "copy_artifact", spoiled(commands_run_directory.copy_artifact)
    )
    result = convert("--run-dir", run, "--image-input", image)
    assert result.exit_code == 1, result.output
    assert "Warning: a float32 file should find what PyTorch finds" in result.stdout


def test_tflite_and_another_size(run, dataset, tmp_path):
    configured(run, ("[160, 160]", "[192, 192]"), ("0.485", "0.5"))
    result = convert("--run-dir", run, "--dataset-dir", dataset, "--evaluate", "--format", "tflite")
    assert result.exit_code == 0, result.output
    assert "Excellent: " in result.stdout
    folder = run / "tflite_model"
    assert {path.name for path in folder.iterdir()} == MODEL_FOLDER - {"model.onnx"} | {"model.tflite"}
    assert (run / "eval_triangles_dataset_small_model_tflite" / "tflite_metrics.json").exists()
    text = (folder / "conversion_summary.txt").read_text()
    assert "mean = (0.5, 0.456, 0.406)" in text
    code = textwrap.dedent(text.partition("Usage: run this with Python in this folder\n")[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert re.match(r"triangle(_inverted)? 0\.\d+ at ", done.stdout)


def test_a_picture_wider_than_high(run, dataset):
    configured(run, ("[160, 160]", "[160, 256]"))
    result = convert("--run-dir", run, "--dataset-dir", dataset, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["image"]["same"] is True
    assert "square only" in refusal("--run-dir", run, "--dataset-dir", dataset, "--format", "tflite")


def test_a_checkpoint_of_other_classes(run, image, tmp_path):
    other = run_directory(tmp_path / "other", MINIATURE.configured({"classes": 3})) / "best_model.pth"
    words = refusal("--run-dir", run, "--image-input", image, "--checkpoint-path", other)
    assert f"{other}: distinguishes 3 classes, but " in words
    assert words.endswith("names 2: triangle, triangle_inverted")
    configured(run, ("- triangle_inverted", "- triangle_inverted\n- circle\n- square"))
    words = refusal("--run-dir", run, "--image-input", image, "--checkpoint-path", other)
    assert "classes = 3 by its shapes, but classes = 4 is asked for" in words
    assert not (run / "onnx_model").exists()


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there may be a CUDA device")
def test_cuda_where_there_is_none(run, image):
    words = refusal("--run-dir", run, "--image-input", image, "--device", "cuda")
    assert words == "--device cuda: PyTorch finds no CUDA device on this machine; use --device cpu"
    assert not (run / "onnx_model").exists()
