"""Training checkpoint to clean weights: what is kept, what is stripped, and the proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.specs import MODELS


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
        load_weights, \
        read_checkpoint, \
        Localizer
    import torch
    from safetensors import safe_open

    from converters import pretrained
    from converters.pretrained import ProofError, write_pretrained
    from fixtures.checkpoints import CheckpointError, golden_state_dict, load_weights, read_checkpoint
    from fixtures.objectformer import Localizer


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

    monkeypatch.setattr(pretrained.os, "fsync", full)
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

    from fixtures import checkpoint_match

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

    class Spec:
        name, title, golden, input_sizes = "stand-in", "Stand-in", "stand-in", (64,)
        unused_prefixes = ("unused_0.", "unused_1.")
        published_outputs = ("mask", "other", "third")

        def build(self):
            return Module(False)

        def build_published(self):
            return Module(True)

        def signature(self):
            return DETECTION.signature()

    state = Module(True).network.state_dict()
    entries = {key: (tuple(value.shape), "float32") for key, value in state.items()}
    monkeypatch.setattr("fixtures.checkpoints.golden_entries", lambda _: entries)
    monkeypatch.setattr(checkpoint_match, "golden_entries", lambda _: entries)
    left_out = {"all": (), "half of the unused": ("unused_1.",), "its own": Spec.unused_prefixes}[held]
    kept = {key: value for key, value in state.items() if not key.startswith(left_out)}
    torch.save(kept, tmp_path / "a.pth")
    result = write_pretrained(tmp_path / "a.pth", Spec(), tmp_path / "b.pth")
    assert result.keys == tuple(kept)
    assert result.outputs.keys() == ({"mask", "other", "third"} if held == "all" else {"score"})
    assert torch.load(tmp_path / "b.pth")["model_state"].keys() == kept.keys()
    module = Spec().build()
    assert load_weights(module, Spec(), tmp_path / "b.pth").startswith("model_state of b.pth")
