"""What is read from a training's configuration, and what is refused before anything is made."""

from __future__ import annotations

import shutil

import pytest

from meta_tests.commands.run_directory.conversion import configured, refusal
from meta_tests.miniatures.triangles import CONFIG, LABELS, write_listing
from modelparity.fixtures.checkpoints.run_directory import RunDirectoryError, read_run_directory


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
