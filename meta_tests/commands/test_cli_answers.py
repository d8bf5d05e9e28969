"""`evaluate`, `show` and `dataset` as scripts meet them, on the smallest network."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meta_tests.commands.command_line import modelparity, passes, refusal


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two files of one network, two of its size cut to one, and a set of each kind."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPARITY_STORE", str(folder / "store"))
        for quantization in ("fp32", "int8_dynamic"):
            output = folder / f"{quantization}.onnx"
            passes(
                "convert", "tiny_ladeda", "--quantization", quantization, "--no-verify", "--output", output
            )
        for kind in ("splices", "triangles"):
            passes("dataset", kind, "--count", 4, "--output", folder / kind)
        yield folder


def test_a_file_is_worth_what_its_network_is(world):
    target, dataset = world / "fp32.onnx", world / "splices"
    told = json.loads(passes("evaluate", target, "--dataset", dataset, "--against", "tiny_ladeda", "--json"))
    assert told["dataset"] == {"folder": str(dataset), "layout": "masks", "images": 4}
    assert set(told["metrics"]) == {"accuracy", "precision", "recall", "f1", "auc", "ece"}
    assert all(abs(value) < 1e-6 for value in told["against"]["differences"].values())
    assert set(told["against"]["intervals"]) == {"accuracy"}
    words = passes("evaluate", world / "int8_dynamic.onnx", "--dataset", dataset, "--against", target)
    assert words.splitlines()[0] == f"int8_dynamic.onnx on {dataset}: 4 images, a dataset of masks"
    assert words.splitlines()[1].split() == [
        "metric", "reference", "observed", "difference", "95", "%", "interval", "verdict",
    ]  # fmt: skip


def test_one_class_is_remarked_not_refused(world, tmp_path):
    (tmp_path / "1_fake").mkdir()
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "1_fake" / "a.png")
    result = modelparity("evaluate", world / "fp32.onnx", "--dataset", tmp_path)
    assert result.exit_code == 0
    assert "warning: all 1 images have label 1: AUC needs images of both\n" in result.stderr
    assert ["auc", "—"] in [line.split() for line in result.stdout.splitlines()]


def test_what_cannot_be_evaluated(world, tmp_path):
    assert "no dataset in it; expected one of: (1) images/ and masks/" in refusal(
        "evaluate", world / "fp32.onnx", "--dataset", tmp_path
    )
    assert "did you mean tiny_ladeda, ladeda?" in refusal(
        "evaluate", "tiny_lada", "--dataset", world / "splices"
    )
    assert "is evaluated on 0_real/ and 1_fake/" in refusal(
        "evaluate", world / "fp32.onnx", "--dataset", world / "triangles"
    )
    assert "go with a model's name" in refusal(
        "evaluate", world / "fp32.onnx", "--dataset", world / "splices", "--input-size", 256
    )
    dataset = f"tiny_ladeda={tmp_path}"
    assert "no dataset in it" in refusal("gate", "-k", "tiny_ladeda-onnx-fp32", "--dataset", dataset)
    wrong = f"tiny_ladeda={world / 'triangles'}"
    assert "a dataset of boxes" in refusal("gate", "-k", "tiny_ladeda-onnx-fp32", "--dataset", wrong)


def test_pictures_are_written(world, tmp_path):
    image = world / "splices" / "images" / "00001.png"
    alone, both = tmp_path / "alone.png", tmp_path / "new" / "both.png"
    assert f"wrote {alone}\n" in passes("show", world / "fp32.onnx", image, "--output", alone)
    against = ("--against", world / "fp32.onnx", "--output", both)
    result = modelparity("show", world / "int8_dynamic.onnx", image, *against)
    assert result.exit_code == 0
    assert "warning: the weights are untrained" in result.stderr
    for path, panels in ((alone, 2), (both, 4)):
        with Image.open(path) as picture:
            assert abs(picture.width - (0.14 + panels * 3.24) * 130) <= 1
            assert np.asarray(picture.convert("RGB")).std() > 10
    assert [path.name for path in both.parent.iterdir()] == ["both.png"]


def test_pictures_need_no_harness():
    """Nothing of it but what scikit-learn itself brings."""
    from meta_tests.house.sources import loaded_by
    from modelparity.exit_codes import HARNESS

    loaded = loaded_by(
        "import modelparity.commands.show, modelparity.pictures.compose, sklearn.metrics, matplotlib.figure"
    )
    assert "matplotlib" in loaded
    assert loaded & set(HARNESS) <= {"scipy", "psutil"}
    assert not {"matplotlib", "sklearn"} & loaded_by(
        "import modelparity.cli, modelparity.reports, modelparity.serving"
    )


def test_what_cannot_be_shown(world, tmp_path):
    artifact, output = world / "fp32.onnx", tmp_path / "a.png"
    image, mask = (world / "splices" / name / "00001.png" for name in ("images", "masks"))
    assert "a picture is written as .png" in refusal("show", artifact, image, "--output", tmp_path / "a.jpg")
    assert refusal("show", artifact, tmp_path / "no.png", "--output", output).endswith("no.png: no such file")
    assert "has no mask to hold against it" in refusal(
        "show", artifact, image, "--mask", mask, "--output", output
    )
    both = ("--mask", mask, "--against", artifact)
    assert "give one" in refusal("show", artifact, image, *both, "--output", output)
    assert "is the file that is read" in refusal("show", artifact, image, "--output", image)
    (tmp_path / "text.onnx").write_text("no model")
    assert "text.onnx" in refusal("show", tmp_path / "text.onnx", image, "--output", output)
    assert not output.exists()


def test_a_set_is_written_whole_into_a_new_folder(world, tmp_path, monkeypatch):
    output = tmp_path / "set"
    line = passes("dataset", "watermarks", "--count", 3, "--seed", 5, "--output", output)
    assert line.startswith(f"wrote {output}: 3 images; dataset.jsonl with message")
    about = json.loads((output / "about.json").read_text())
    assert (about["set"], about["count"], about["seed"]) == ("watermarks", 3, 5)
    assert "exists already; choose a new folder" in refusal("dataset", "splices", "--output", output)
    assert "did you mean splices?" in refusal("dataset", "splice", "--output", tmp_path / "b")
    assert "--count 0" in refusal("dataset", "splices", "--count", 0, "--output", tmp_path / "b")
    monkeypatch.setitem(
        importlib.import_module("modelparity.fixtures.datasets.synthetic").SETS, "splices", _broken
    )
    assert modelparity("dataset", "splices", "--output", tmp_path / "b").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def _broken(folder: Path, count: int, seed: int):
    (folder / "half").touch()
    yield "half"
    raise OSError(28, "No space left on device", str(folder))
