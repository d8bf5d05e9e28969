"""A training's folder to a model folder: what is read, what is refused, what is written, and what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meta_tests.miniatures.triangles import (
    CONFIG,
    LABELS,
    MINIATURE,
    run_directory,
    triangles_dataset,
    write_listing,
)
from modelparity.cli import app
from modelparity.converters.engine.workers import Workers
from modelparity.errors import BadInputError
from modelparity.fixtures.checkpoints.run_directory import RunDirectoryError, read_run_directory
from modelparity.fixtures.specs import MODELS
from modelparity.folders import folder_written
from modelparity.modelfiles.model_card import card_of
from modelparity.parity.session import Session

MODEL_FOLDER = {"model.onnx", "labels.txt", "config.yaml", "conversion_summary.txt", "comparison.json"}
PYTORCH, ONNX = "eval_triangles_dataset_small_best_model_pth", "eval_triangles_dataset_small_model_onnx"


def convert(*arguments: object, model: str = "fasterrcnn"):
    return CliRunner().invoke(app, ["convert", model, *(str(argument) for argument in arguments)])


def refusal(*arguments: object, model: str = "fasterrcnn") -> str:
    """The one line of a command that refuses bad input; warnings and progress may stand above it."""
    result = convert(*arguments, model=model)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return error.removeprefix("error: ")


@pytest.fixture(scope="module", autouse=True)
def _miniature(world):
    """The miniature for Faster R-CNN, and workers that stay warm from one command to the next."""
    from modelparity.run_directory import convert as commands_run_directory

    with pytest.MonkeyPatch.context() as patch, Workers() as workers:

        class Warm(Session):
            def __init__(self, **options: object) -> None:
                super().__init__(**options)
                self.workers = self.bench.workers = workers

            def __exit__(self, *_: object) -> None:
                pass

        patch.setattr(commands_run_directory, "Session", Warm)
        patch.setitem(MODELS, "fasterrcnn", MINIATURE)
        patch.setenv("MODELPARITY_STORE", str(world / "store"))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A dataset and a run, with EMA weights; a store, so that each artifact is made once."""
    folder = tmp_path_factory.mktemp("world")
    triangles_dataset(folder / "triangles_dataset_small")
    run_directory(folder / "run", MINIATURE)
    return folder


@pytest.fixture
def run(world, tmp_path) -> Path:
    """A run of one's own, nothing converted yet."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    shutil.copy(world / "run" / "best_model.pth", tmp_path / "run")
    return configured(tmp_path / "run")


def configured(run: Path, *changes: tuple[str, str]) -> Path:
    """The configuration with `old` texts replaced."""
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (run / ".hydra" / "config.yaml").write_text(text)
    return run


@pytest.fixture(scope="module")
def dataset(world) -> Path:
    return world / "triangles_dataset_small"


@pytest.fixture(scope="module")
def image(dataset) -> Path:
    return dataset / "data" / "001.png"


# --- the configuration -------------------------------------------------------------------------


def test_what_a_run_says(run):
    found = read_run_directory(run)
    assert found.checkpoint == run / "best_model.pth"
    assert found.classes == LABELS
    assert found.input_size == found.network_size == (160, 160)
    assert found.image_mean == (0.485, 0.456, 0.406)
    assert found.thresholds == {}
    assert found.remarks == ()


def test_classes_are_numbered_as_training_numbers_them(run):
    configured(run, ("- triangle\n- triangle_inverted", "- triangle_inverted\n- triangle"))
    found = read_run_directory(run)
    assert found.classes == ("triangle", "triangle_inverted")
    assert "triangle, triangle_inverted" in found.remarks[0]


@pytest.mark.parametrize(
    ("size", "network"),
    [("[64, 96]", (64, 96)), ("320", (320, 320)), ("[640, 320]", (320, 160))],
    ids=["wide", "one number", "high: shrunk inside"],
)
def test_the_size_inside_the_network_is_torchvisions(run, size, network):
    """Training sets min_size to the height and max_size to the width; torchvision says what comes of it."""
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    found = read_run_directory(configured(run, ("[160, 160]", size)))
    height, width = found.input_size
    transform = GeneralizedRCNNTransform(height, width, list(found.image_mean), list(found.image_std))
    (inside,) = transform([torch.zeros(3, height, width)])[0].image_sizes
    assert found.network_size == network == tuple(inside)


def test_references_and_thresholds(run):
    configured(
        run,
        ("image_mean: [0.485, 0.456, 0.406]", "image_mean: ${dataset.mean}"),
        ("dataset:\n", "dataset:\n  mean: ${numbers}\n"),
        ("classes:\n", "numbers: [1e-1, 0.2, 0.3]\nclasses:\n"),
        ("  device: cuda\n", "  device: cuda\n  box_score_thresh: 0.2\n  box_nms_thresh: 0.6\n"),
    )
    found = read_run_directory(run)
    assert found.image_mean == (0.1, 0.2, 0.3)
    assert found.thresholds == {"score_threshold": 0.2, "nms_threshold": 0.6}


def test_what_the_file_will_not_do_is_said(run):
    configured(run, ("    - name: Resize\n", "    - name: BackgroundStrip\n    - name: Resize\n"))
    (remark,) = read_run_directory(run).remarks
    assert "BackgroundStrip, which is no part of the network" in remark


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("faster_rcnn", "ssdlite", "model.name is 'ssdlite'; currently only FasterRCNN models are supported"),
        ("  name: faster_rcnn\n", "", "model.name is None; currently only FasterRCNN models"),
        ("pretrained: false", "pretrained: true", "training.pretrained is true"),
        ("[160, 160]", "[160]", "model.transform.input_size is [160], but should be [height, width]"),
        ("[160, 160]", "[160, 1.5]", "input_size is [160, 1.5], but should be"),
        ("[160, 160]", "[160, 100000]", "each in 32..4096"),
        ("[160, 160]", "${now:%Y}", "input_size is '${now:%Y}'; write its value there instead"),
        ("[160, 160]", "${model.transform.input_size}", "write its value there instead"),
        ("[0.485, 0.456, 0.406]", "[0.485, 0.456]", "image_mean is [0.485, 0.456], but should be three"),
        ("[0.229, 0.224, 0.225]", "[0.229, 0, 0.225]", "three numbers above 0"),
        ("[0.229, 0.224, 0.225]", "[0.229, .nan, 0.225]", "three numbers above 0"),
        ("classes:\n- triangle\n", "classes:\n- 7\n", "classes is [7, 'triangle_inverted'], but should be"),
        ("- triangle_inverted", "- triangle", "labels that each occur once"),
        ("- triangle_inverted", '- "a\\nb"', "labels of one line"),
        ("model:\n", "model: [\n", "not YAML at line"),
        (CONFIG, "just a text", "holds no settings by name"),
        (CONFIG, "!!python/object/apply:os.system ['touch /tmp/owned']", "not YAML at line 1"),
        ("  device: cuda\n", "  device: cuda\n  box_nms_thresh: 2\n", "box_nms_thresh is 2, but should be"),
    ],
)
def test_a_wrong_configuration(run, old, new, words):
    configured(run, (old, new))
    with pytest.raises(RunDirectoryError) as caught:
        read_run_directory(run)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert refusal("--run-dir", run, "--image-input", "any.png") == str(caught.value)


# --- refusals that need no worker ---------------------------------------------------------------


def test_the_messages_of_the_guide(run, image, dataset, tmp_path):
    missing = tmp_path / "nowhere"
    assert refusal("--run-dir", missing, "--image-input", image) == f"Run directory not found: {missing}"
    words = refusal("--run-dir", run, "--checkpoint-path", missing, "--image-input", image)
    assert words == f"Checkpoint not found: {missing}"
    assert refusal("--run-dir", run) == "Either --image-input or --dataset-dir must be provided"
    words = "--evaluate-converted-model requires --dataset-dir"
    assert refusal("--run-dir", run, "--evaluate", "--image-input", image) == words
    assert refusal("--run-dir", run, "--evaluate-converted-model") == words
    (run / "best_model.pth").unlink()
    assert refusal("--run-dir", run, "--image-input", image).startswith("Checkpoint not found: ")
    (run / ".hydra" / "config.yaml").unlink()
    assert refusal("--run-dir", run, "--image-input", image).startswith("Hydra config not found: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "tpu"], "--device tpu, but should be cpu or cuda"),
        (["--format", "pretrained"], "--run-dir makes onnx or tflite, not pretrained"),
        (["--size", "full"], "--size: not with --run-dir"),
        (["--input-size", "320"], "--input-size: not with --run-dir"),
        (["--outputs", "score"], "--outputs: not with --run-dir"),
        (["--output", "IMAGE"], "is a file, not a directory"),
        (["--output", "DATASET"], "holds data, dataset.jsonl, which no conversion wrote and which would go"),
    ],
)
def test_other_refusals(run, image, dataset, arguments, words):
    places = {"IMAGE": image, "DATASET": dataset}
    arguments = [places.get(argument, argument) for argument in arguments]
    assert words in refusal("--run-dir", run, "--image-input", image, *arguments)


def test_refusals_of_either_kind_of_conversion(run, image, tmp_path):
    assert "not tiny_ladeda" in refusal("--run-dir", run, "--image-input", image, model="tiny_ladeda")
    output = ("--output", tmp_path / "a.onnx")
    assert "--image-input goes with --run-dir" in refusal("--image-input", image, *output)
    assert "--evaluate goes with --run-dir" in refusal("--evaluate", *output)
    assert "Missing option '--output'" in refusal("--format", "onnx")


@pytest.mark.parametrize(
    ("content", "words"), [(b"text", "not an image"), (None, "no such file")], ids=["text", "nothing"]
)
def test_an_image_that_is_none(run, tmp_path, content, words):
    image = tmp_path / "image.png"
    if content is not None:
        image.write_bytes(content)
    assert words in refusal("--run-dir", run, "--image-input", image)
    assert not (run / "onnx_model").exists()


def test_a_dataset_is_read_whole_before_anything_is_made(run, dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    (copy / "data" / "003.png").write_bytes((copy / "data" / "003.png").read_bytes()[:2000])
    words = refusal("--run-dir", run, "--dataset-dir", copy, "--evaluate")
    assert words.startswith(f"{copy / 'dataset.jsonl'}:4: ")
    assert "damaged image" in words


def test_undeclared_classes_need_the_dataset(run, image, dataset, tmp_path):
    configured(run, ("classes:\n- triangle\n- triangle_inverted\n", "classes: null\n"))
    assert "give --dataset-dir, or name them there" in refusal("--run-dir", run, "--image-input", image)
    bare = tmp_path / "bare"
    (bare / "data").mkdir(parents=True)
    shutil.copy(image, bare / "data")
    write_listing(bare, [("data/001.png", [])])
    assert "no label in it" in refusal("--run-dir", run, "--dataset-dir", bare)


# --- conversions --------------------------------------------------------------------------------


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


def spoiled(deliver):
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
        patch.setattr(commands_run_directory, "deliver", spoiled(commands_run_directory.deliver))
        result = convert(*arguments)
    assert result.exit_code == 1, result.output
    assert "Warning: a difference of 0." in result.stdout
    assert (
        json.loads((run / "onnx_model" / "comparison.json").read_text())["evaluation"]["verdict"] == "warning"
    )
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def fails(*_):
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

    monkeypatch.setattr(commands_run_directory, "deliver", spoiled(commands_run_directory.deliver))
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
    assert f"{other}: tells 3 classes apart, but " in words
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


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "folder"
    for text in ("first", "second"):
        with folder_written(target, lambda name: name.endswith(".txt")) as made:
            (made / f"{text}.txt").write_text(text)
            (made / "kept").mkdir()
            (made / "kept" / "mine").write_text(text)
        (target / "kept" / "theirs").write_text("untouched")
    assert sorted(path.name for path in target.iterdir()) == ["kept", "second.txt"]
    assert (target / "kept" / "mine").read_text() == "second"
    with pytest.raises(ZeroDivisionError), folder_written(target, lambda _: True) as made:
        (made / "third.txt").write_text(str(1 / 0))
    assert sorted(path.name for path in target.iterdir()) == ["kept", "second.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_run_left_is_put_right(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    target = tmp_path / "folder"
    old = tmp_path / f".folder.{dead.pid}.old"
    old.mkdir()
    (old / "result").write_text("not lost")
    (tmp_path / f".folder.{dead.pid}.partial").mkdir()
    alive = tmp_path / f".folder.{os.getppid()}.partial"
    alive.mkdir()
    with pytest.raises(ZeroDivisionError), folder_written(target, lambda _: True):
        raise ZeroDivisionError
    assert (target / "result").read_text() == "not lost"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, "folder"])
