"""Training checkpoint to clean weights: what is kept, what is stripped, and the proof."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelparity.fixtures.models import MODELS


@pytest.fixture(scope="module", autouse=True)
def _libraries():
    """Loaded by the first test, not at collection: torch takes seconds."""
    global \
        torch, \
        safe_open, \
        pretrained, \
        ProofError, \
        write_pretrained, \
        CheckpointError, \
        golden_state_dict, \
        weighted, \
        read_checkpoint, \
        Localizer
    import torch
    from safetensors import safe_open

    from modelparity.converters.pretrained import weights as pretrained
    from modelparity.converters.pretrained.weights import ProofError, write_pretrained
    from modelparity.fixtures.checkpoints.load import (
        CheckpointError,
        golden_state_dict,
        read_checkpoint,
        weighted,
    )
    from modelparity.fixtures.networks.objectformer.network import Localizer


TINY = MODELS["tiny_ladeda"]
DETECTION = MODELS["objectformer_detection"]
OUTPUTS = {"patch_logits", "image_logit"}


@pytest.fixture
def training(tmp_path) -> Path:
    """A training checkpoint whose optimizer outweighs its weights, as in life."""
    path = tmp_path / "ckpt_epoch_00012.pyth"
    content = {
        "epoch": 12,
        "model_state": {f"module.{key}": value for key, value in golden_state_dict(TINY).items()},
        "optimizer_state": {"state": {0: {"exp_avg": torch.zeros(100_000)}}},
        "scheduler_state": {"last_epoch": 12},
        "scaler_state": {"scale": 2.0},
        "cfg": {"MODEL": {"NAME": "TinyLaDeDa"}, "SOLVER": {"LR": 1e-3}},
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_clean_weights(tmp_path, training, suffix):
    output = tmp_path / "new" / f"clean{suffix}"
    result = write_pretrained(training, TINY, output)
    assert result.path == output
    assert result.shapes["fc.weight"] == (1, 8)
    assert result.source == "model_state of ckpt_epoch_00012.pyth, epoch 12, prefix 'module.' removed"
    assert result.bytes_before == training.stat().st_size > 400_000
    assert result.bytes_after == output.stat().st_size < 20_000
    assert result.keys == tuple(golden_state_dict(TINY))
    assert result.parameters == 1297
    assert result.outputs.keys() == OUTPUTS
    assert list(output.parent.iterdir()) == [output]

    again = read_checkpoint(output, TINY)
    assert again.sha256 == result.sha256
    assert again.metadata["epoch"] == 12
    assert again.metadata["cfg"] == {"MODEL": {"NAME": "TinyLaDeDa"}, "SOLVER": {"LR": 1e-3}}
    assert again.metadata["modelparity"]["source_sha256"] == read_checkpoint(training, TINY).sha256
    for key, tensor in golden_state_dict(TINY).items():
        assert torch.equal(again.state_dict[key], tensor)


def test_published_loader_finds_what_it_reads(tmp_path, training):
    """It indexes "model_state" and "epoch", and loads by torch's safe default."""
    write_pretrained(training, TINY, tmp_path / "clean.pth")
    content = torch.load(tmp_path / "clean.pth", map_location="cpu")
    assert content.keys() == {"epoch", "model_state", "metadata"}
    assert content["epoch"] == 12
    TINY.build_published().network.load_state_dict(content["model_state"], strict=True)

    bare = tmp_path / "bare.pth"
    torch.save(golden_state_dict(TINY), bare)
    write_pretrained(bare, TINY, tmp_path / "clean.pth")
    assert torch.load(tmp_path / "clean.pth")["epoch"] == -1


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_same_checkpoint_same_bytes(tmp_path, training, suffix):
    results = [write_pretrained(training, TINY, tmp_path / f"{name}{suffix}") for name in ("one", "two")]
    assert results[0].path.read_bytes() == results[1].path.read_bytes()
    assert results[0].outputs == results[1].outputs


def test_safetensors_metadata_is_json(tmp_path, training):
    write_pretrained(training, TINY, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["modelparity"])["modelparity"]["parameters"] == 1297


def test_a_view_is_written_without_its_storage(tmp_path):
    flat = torch.zeros(1_000_000)
    state = golden_state_dict(TINY)
    state["fc.weight"] = flat[:8].view(1, 8)
    torch.save({"model": state}, tmp_path / "a.pth")
    assert write_pretrained(tmp_path / "a.pth", TINY, tmp_path / "b.pth").bytes_after < 20_000


def test_outputs_are_those_of_the_checkpoint(tmp_path, training):
    """The proof has teeth only if its hashes follow the weights."""
    before = write_pretrained(training, TINY, tmp_path / "a.pth").outputs
    content = torch.load(training)
    content["model_state"]["module.fc.bias"] += 1e-6
    torch.save(content, training)
    after = write_pretrained(training, TINY, tmp_path / "a.pth").outputs
    assert all(before[name] != after[name] for name in OUTPUTS)


@pytest.mark.parametrize("existing", [None, b"the file that was there"])
def test_a_writer_that_lies_is_caught(tmp_path, training, monkeypatch, existing):
    output = tmp_path / "clean.pth"
    if existing:
        output.write_bytes(existing)
    honest = pretrained._write

    def lying(file, checkpoint, metadata, suffix):
        checkpoint.state_dict["fc.bias"][0] += 1e-6
        honest(file, checkpoint, metadata, suffix)
        checkpoint.state_dict["fc.bias"][0] -= 1e-6

    monkeypatch.setattr(pretrained, "_write", lying)
    with pytest.raises(
        ProofError, match=r"clean\.pth: not written: fc.bias, patch_logits, image_logit differ"
    ):
        write_pretrained(training, TINY, output)
    assert (output.read_bytes() if existing else output.exists()) == (existing or False)
    assert not list(tmp_path.glob(".*"))


def test_a_write_cut_short_leaves_nothing(tmp_path, training, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_pretrained(training, TINY, tmp_path / "clean.pth")
    assert list(tmp_path.iterdir()) == [training]


def test_refusals(tmp_path, training):
    with pytest.raises(ValueError, match=r"suffix '\.onnx', but should be one of \.pth, \.safetensors"):
        write_pretrained(training, TINY, tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match="no such file"):
        write_pretrained(tmp_path / "none.pth", TINY, tmp_path / "a.pth")
    own = training.rename(tmp_path / "own.pth")
    size = own.stat().st_size
    with pytest.raises(ValueError, match="is the checkpoint itself"):
        write_pretrained(own, TINY, own)
    assert own.stat().st_size == size


@pytest.mark.parametrize("held", ["all", "half of the unused", "its own"])
def test_keys_a_variant_does_not_use_are_kept(tmp_path, monkeypatch, held):
    """On a stand-in for ObjectFormer, whose 137 MB say no more: one localizer, two unused."""
    import torch.nn as nn

    class Network(nn.Module):
        def __init__(self, unused: bool) -> None:
            super().__init__()
            self.used = Localizer(4)
            if unused:
                self.unused_0 = Localizer(4)
                self.unused_1 = Localizer(4)

    class Module(nn.Module):
        def __init__(self, unused: bool) -> None:
            super().__init__()
            self.network = Network(unused)

        def forward(self, image):
            features = image[:, :1].expand(-1, 4, -1, -1)
            localizers = list(self.network.children())
            return tuple(localizer(features, (64, 64)) for localizer in localizers)

    built = SimpleNamespace(Deployed=lambda: Module(False), Published=lambda: Module(True))
    monkeypatch.setitem(sys.modules, "stand_in", built)
    spec = replace(
        DETECTION,
        name="stand-in",
        deployed="stand_in:Deployed",
        published="stand_in:Published",
        published_outputs=("mask", "other", "third"),
        unused_prefixes=("unused_0.", "unused_1."),
    )
    state = Module(True).network.state_dict()
    left_out = {"all": (), "half of the unused": ("unused_1.",), "its own": spec.unused_prefixes}[held]
    kept = {key: value for key, value in state.items() if not key.startswith(left_out)}
    torch.save(kept, tmp_path / "a.pth")
    result = write_pretrained(tmp_path / "a.pth", spec, tmp_path / "b.pth")
    assert result.keys == tuple(kept)
    assert result.outputs.keys() == ({"mask", "other", "third"} if held == "all" else {"score"})
    assert torch.load(tmp_path / "b.pth")["model_state"].keys() == kept.keys()
    assert read_checkpoint(tmp_path / "b.pth", spec).source.startswith("model_state of b.pth")
    used = weighted(spec, tmp_path / "b.pth").network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in used.items())


CFG = {
    "MODEL": {"MODEL_NAME": "ObjectFormer", "NUM_CLASSES": 1, "PRETRAINED": "./ckpt/imagenet_pre.pth"},
    "DATASET": {
        "DATASET_NAME": "TamperingDataset",
        "IMG_SIZE": 224,
        "TEST_AUGMENTATIONS": {"RESIZE_PARAMS": [380, 380]},
    },
    "TRAIN": {"MAX_EPOCH": 40, "AMP_ENABLE": True},
    "DATALOADER": {"BATCH_SIZE": 24},
    "OPTIMIZER": {"OPTIMIZER_METHOD": "sgd", "BASE_LR": 0.00025},
}


def test_what_a_checkpoint_says_of_its_training():
    from modelparity.converters.pretrained.metadata import described

    for cfg in (CFG, json.dumps(CFG)):  # yacs dumps YAML, of which JSON is a part
        found = described(
            {"epoch": 12, "cfg": cfg, "metrics": {"Image-level AUC": 0.91, "f1": 0.5}}, DETECTION
        )
        assert found["architecture"] == "ObjectFormer"
        assert found["input_size"] == [380, 380]  # what evaluation fed; nothing reads IMG_SIZE
        assert found["num_classes"] == 1
        assert found["training_dataset"] == "TamperingDataset"
        assert found["performance"]["image_auc"] == 0.91
        assert found["performance"]["pixel_f1"] is None  # an f1 that does not say of what
        assert found["performance"]["reported"] == {"metrics.f1": 0.5}
        assert found["training"]["epoch"] == 12
        assert found["training"]["learning_rate"] == 0.00025
        assert found["training"]["scheduler"] is None
        assert found["read_from"]["input_size"] == "cfg.DATASET.TEST_AUGMENTATIONS.RESIZE_PARAMS"
        assert found["read_from"]["performance.image_auc"] == "metrics.Image-level AUC"


def test_nothing_is_invented():
    from modelparity.converters.pretrained.metadata import described

    for metadata in ({}, {"cfg": ""}, {"cfg": "{not: [yaml"}, {"cfg": {"MODEL": None, "DATASET": {}}}):
        found = described(metadata, DETECTION)
        assert found.pop("architecture") == "ObjectFormer"
        assert found.pop("read_from") == {"architecture": "names and shapes of the weights"}
        assert found["performance"].pop("reported") == {}
        values = [*found.pop("performance").values(), *found.pop("training").values(), *found.values()]
        assert set(values) == {None}


def test_a_folder_of_clean_weights(tmp_path, training):
    from modelparity.converters.pretrained.folder import write_pretrained_folder

    folder = tmp_path / "exports" / "pretrained"
    results = write_pretrained_folder(training, TINY, folder)
    assert [result.path.parent for result in results] == [folder, folder]
    found = json.loads((folder / "tiny_ladeda_metadata.json").read_text())
    assert found["network"]["parameters"] == 1297
    assert found["training"]["learning_rate"] == 0.001
    assert found["source"]["sha256"] == read_checkpoint(training, TINY).sha256
    report = (folder / "validation_report.txt").read_text()
    assert "removed     optimizer_state, scheduler_state, scaler_state\n" in report
    assert f"{training.stat().st_size - results[0].bytes_after:,} bytes saved" in report
    assert "image_logit   identical  sha256" in report
    assert "conv1.weight                      [8, 3, 1, 1]" in report
    again = [file.read_bytes() for file in sorted(folder.iterdir())]
    write_pretrained_folder(training, TINY, folder)
    assert [file.read_bytes() for file in sorted(folder.iterdir())] == again


def test_a_failed_folder_harms_nothing(tmp_path, training, monkeypatch):
    from modelparity.converters.pretrained import folder as pretrained_folder

    pretrained_folder.write_pretrained_folder(training, TINY, tmp_path / "clean")
    before = {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()}

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pretrained_folder, "_report", broken)
    for folder in ("clean", "new"):
        with pytest.raises(OSError, match="No space left"):
            pretrained_folder.write_pretrained_folder(training, TINY, tmp_path / folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"clean", training.name}
