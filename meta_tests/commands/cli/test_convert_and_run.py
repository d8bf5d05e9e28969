"""`convert` and `run`: what they write, say and refuse once workers are needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from meta_tests.commands.cli.samples import CONVERT, FP32, PNG, arrays_at, saved
from meta_tests.commands.command_line import modelparity, passes, refusal

ROOT = Path(__file__).resolve().parents[3]


def test_convert_into_a_folder(tmp_path, converted):
    """A new folder by its slash; the second time everything is in the store."""
    from modelparity.converters.engine.store import sha256_of

    told = json.loads(passes(*CONVERT, "--output", f"{tmp_path}/new/", "--json"))
    path = tmp_path / "new" / "tiny_ladeda-fp32.onnx"
    assert list(path.parent.iterdir()) == [path]
    assert told["path"] == str(path)
    assert told["sha256"] == sha256_of(path) == sha256_of(converted)
    assert told["bytes"] == path.stat().st_size
    assert told["weights"] == "deterministic weights of the goldens (no checkpoint given)"
    assert told["made"] is False


def test_a_suffix_of_another_format_is_remarked_on(tmp_path, converted):
    result = modelparity(*CONVERT, "--output", tmp_path / "tiny.tflite")
    assert result.exit_code == 0
    assert "warning: tiny.tflite does not end in .onnx" in result.stderr
    assert (tmp_path / "tiny.tflite").read_bytes() == converted.read_bytes()


def test_a_calibration_image_that_cannot_be_read(tmp_path, converted):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.png").write_text("no image")
    arguments = [*CONVERT, "--quantization", "int8_static", "--output", tmp_path / "out" / "a.onnx"]
    words = refusal(*arguments, "--calibration", folder)
    assert "a.png: not an image, it seems to be text" in words
    assert "no such directory" in refusal(*arguments, "--calibration", tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_a_full_disk(tmp_path, converted, images, monkeypatch):
    import errno

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    words = f"no space left on {tmp_path}; nothing was written"
    assert refusal(*CONVERT, "--output", tmp_path / "a.onnx") == words
    assert refusal("run", converted, "--input", images, "--output", tmp_path / "o.npz") == words
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def external(tmp_path, converted, monkeypatch):
    """The artifact as a network above 2 GB is stored: its data in a file beside it."""
    import onnx

    from modelparity.converters.engine.workbench import Workbench
    from modelparity.modelfiles.description import Artifact

    folder = tmp_path / "entry"
    folder.mkdir()
    path = folder / "tiny_ladeda.onnx"
    options = {"save_as_external_data": True, "location": "tiny_ladeda.onnx.data", "size_threshold": 100}
    onnx.save_model(onnx.load(converted), path, **options)
    (folder / "entry.json").touch()
    artifact = Artifact(path, "", 0, "", "onnx", "fp32")
    monkeypatch.setattr(Workbench, "artifact", lambda *_, **__: (artifact, {}))


def test_external_data_follow_the_file(tmp_path, external, converted, images):
    told = json.loads(passes(*CONVERT, "--output", tmp_path / "out" / "mine.onnx", "--json"))
    assert told["external_data"] == str(tmp_path / "out" / "mine.onnx.data")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mine.onnx", "mine.onnx.data"}
    assert same_outputs(tmp_path, tmp_path / "out" / "mine.onnx", converted, images)


def same_outputs(folder: Path, first: Path, second: Path, images: Path) -> bool:
    results = []
    for path in (first, second):
        passes("run", path, "--input", images, "--output", folder / "o.npz")
        results.append({name: value.tobytes() for name, value in arrays_at(folder / "o.npz").items()})
    return results[0] == results[1]


def test_raw_outputs_are_the_golden(tmp_path, images):
    """But for the bias of the head, which is centred: it moves each logit and the mean of the greatest."""
    import numpy as np

    from modelparity.fixtures.models import MODELS

    ((_, _, moved),) = MODELS["tiny_ladeda"].centred
    out = tmp_path / "new" / "raw.npz"
    passes("run", "tiny_ladeda", "--input", images, "--output", out, "--raw")
    golden = arrays_at(ROOT / "fixtures" / "goldens" / "tiny_ladeda-right_diag.npz")
    raw = arrays_at(out)
    assert list(out.parent.iterdir()) == [out]
    assert list(raw) == ["patch_logits", "image_logit"]
    for name, value in raw.items():
        expected = golden[f"x256/{name}"] + moved
        assert value.shape == expected.shape
        assert np.abs(value - expected).max() <= 1e-4 * expected.std() + 1e-5


def test_network_and_artifact_give_the_same(tmp_path, converted, images):
    import numpy as np

    for target, name in (("tiny_ladeda", "torch"), (converted, "onnx")):
        passes("run", target, "--input", images, "--output", tmp_path / f"{name}.npz")
    torch, onnx = arrays_at(tmp_path / "torch.npz"), arrays_at(tmp_path / "onnx.npz")
    assert list(torch) == list(onnx) == ["score", "patch_logits"]
    for name, value in torch.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, onnx[name], atol=1e-4)


def test_running_a_file_on_what_it_does_not_take(tmp_path, converted, images):
    import numpy as np
    import onnx

    model = onnx.load(converted)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    out = tmp_path / "out" / "o.npz"
    words = refusal("run", tmp_path / "one.onnx", "--input", images, "--output", out)
    assert words.endswith("takes batch 1, but image has a batch of 2; run its images one at a time")
    small = saved(tmp_path / "small.npz", image=np.zeros((1, 3, 32, 32), "f4"))
    words = refusal("run", converted, "--input", small, "--output", out)
    assert words.endswith("image has shape [1, 3, 32, 32], but should be [batch, 3, 256, 256]")
    words = refusal("run", converted, "--input", images, "--output", out, "--model", "objectformer")
    assert "outputs are score, patch_logits, but those of objectformer are score, mask" in words
    assert not out.parent.exists()


def test_values_that_are_not_finite_are_remarked_on(tmp_path, converted):
    import numpy as np

    image = np.zeros((1, 3, 256, 256), "f4")
    image[0, 0, 0, 0] = np.nan
    path = saved(tmp_path / "in.npz", image=image)
    result = modelparity("run", converted, "--input", path, "--output", tmp_path / "o.npz")
    assert result.exit_code == 0
    assert "warning: input image holds 1 of 196,608 values that are not finite" in result.stderr


class RunsCode:
    """Pickles to a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch /tmp/modelparity-was-here",)


@pytest.mark.parametrize("kind", ["none", "cut", "third_party", "malicious", "other network"])
def test_checkpoints_that_cannot_serve(tmp_path, kind):
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict
    from modelparity.fixtures.models import MODELS

    state = golden_state_dict(MODELS["tiny_ladeda"])
    path = tmp_path / "a.pth"
    torch.save(state, path)
    match kind:
        case "none":
            path, words = tmp_path / "none.pth", "no such file"
        case "cut":
            path.write_bytes(path.read_bytes()[:-500])
            words = "truncated"
        case "third_party":
            path.write_bytes(PNG)
            words = "not a checkpoint, it seems to be a PNG image"
        case "malicious":
            torch.save({"model_state": RunsCode()}, path)
            words = "posix.system"
        case "other network":
            torch.save({"encoder.weight": torch.zeros(3)}, path)
            words = "encoder.weight"
    assert words in refusal(*CONVERT, "--checkpoint", path, "--output", tmp_path / "out" / "a.onnx")
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/modelparity-was-here").exists()


def test_a_gate_reads_its_checkpoints_first(tmp_path):
    (tmp_path / "a.pth").write_bytes(PNG)
    words = refusal(
        "gate", "-k", FP32.id, "--checkpoint", f"tiny_ladeda={tmp_path}/a.pth", "--output", tmp_path / "out"
    )
    assert "a PNG image" in words
    assert not (tmp_path / "out").exists()


def test_pretrained(tmp_path):
    """A file by its suffix, or the set in a folder; again, it is replaced, and what else is there stays."""
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict
    from modelparity.fixtures.models import MODELS

    training = tmp_path / "epoch_12.pyth"
    torch.save({"epoch": 12, "model_state": golden_state_dict(MODELS["tiny_ladeda"])}, training)
    arguments = ("convert", "tiny_ladeda", "--checkpoint", training)
    text = passes(*arguments, "--output", tmp_path / "clean.pth")
    assert "weights: model_state of epoch_12.pyth, epoch 12" in text
    assert torch.load(tmp_path / "clean.pth")["epoch"] == 12

    folder = tmp_path / "clean"
    for _ in range(2):
        text = passes(*arguments, "--format", "pretrained", "--output", f"{folder}/")
        assert "outputs bit for bit those of the checkpoint" in text
        names = {path.name for path in folder.iterdir()}
        (folder / "notes.txt").write_text("mine")
    assert names == {
        "tiny_ladeda_pretrained.pth",
        "tiny_ladeda_pretrained.safetensors",
        "tiny_ladeda_metadata.json",
        "validation_report.txt",
        "notes.txt",
    }
    assert not list(tmp_path.glob(".*"))
