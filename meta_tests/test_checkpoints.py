"""Every layout in which weights come, and every way in which a state dict can fail to fit."""

from __future__ import annotations

import re
import zipfile
from argparse import Namespace
from collections import OrderedDict

import numpy as np
import pytest

from fixtures.specs import MODELS
from meta_tests.refusals import TINY, refusal, saved


@pytest.fixture(scope="module", autouse=True)
def _libraries():
    """Loaded by the first test, not at collection: torch takes seconds."""
    global \
        torch, \
        save_file, \
        published_entries, \
        Checkpoint, \
        CheckpointError, \
        golden_checkpoint, \
        golden_state_dict, \
        read_checkpoint, \
        weighted
    import torch
    from safetensors.torch import save_file

    from fixtures.checkpoint_match import published_entries
    from fixtures.checkpoints import (
        Checkpoint,
        CheckpointError,
        golden_checkpoint,
        golden_state_dict,
        read_checkpoint,
        weighted,
    )


OBJECTFORMER = MODELS["objectformer"]
DETECTION = MODELS["objectformer_detection"]


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return golden_state_dict(TINY)


def assert_golden(checkpoint: Checkpoint) -> None:
    TINY.build().network.load_state_dict(checkpoint.state_dict, strict=True)
    expected = golden_state_dict(TINY)
    assert list(checkpoint.state_dict) == list(expected)
    for key, tensor in expected.items():
        assert torch.equal(checkpoint.state_dict[key], tensor)
        assert checkpoint.state_dict[key].dtype == tensor.dtype


# --- layouts


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.", "module.model."])
@pytest.mark.parametrize("wrapper", [None, "model_state", "model_state_dict", "state_dict", "model"])
def test_layouts(tmp_path, weights, wrapper, prefix):
    state = OrderedDict((prefix + key, tensor) for key, tensor in weights.items())
    path = saved(tmp_path / "a.pth", state if wrapper is None else {wrapper: state, "optimizer": {"lr": 1}})
    checkpoint = read_checkpoint(path, TINY)
    assert_golden(checkpoint)
    assert checkpoint.source == (f"{wrapper} of a.pth" if wrapper else "bare state dict of a.pth") + (
        f", prefix {prefix!r} removed" if prefix else ""
    )


def test_training_checkpoint(tmp_path, weights):
    cfg = {"MODEL": {"NAME": "TinyLaDeDa"}, "SIZES": (256, 256)}
    content = {
        "epoch": 12,
        "model_state": weights,
        "optimizer_state": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
        "scheduler_state": {"last_epoch": 12},
        "scaler_state": {},
        "cfg": cfg,
    }
    checkpoint = read_checkpoint(saved(tmp_path / "ckpt_epoch_00012.pyth", content), TINY)
    assert_golden(checkpoint)
    assert checkpoint.source == "model_state of ckpt_epoch_00012.pyth, epoch 12"
    assert checkpoint.metadata == {"epoch": 12, "cfg": {**cfg, "SIZES": [256, 256]}}


@pytest.mark.parametrize("name", ["model_ema_state_dict", "model_ema", "ema_state_dict"])
def test_ema_weights_are_taken_and_said(tmp_path, weights, name):
    raw = {key: torch.zeros_like(tensor) for key, tensor in weights.items()}
    averaged = {"n_averaged": torch.tensor(7), **{f"module.{key}": value for key, value in weights.items()}}
    path = saved(tmp_path / "best.pth", {"epoch": 3, "model_state_dict": raw, name: averaged})
    checkpoint = read_checkpoint(path, TINY)
    assert_golden(checkpoint)
    assert checkpoint.source == f"EMA weights ({name}) of best.pth, epoch 3, prefix 'module.' removed"


def test_ema_that_is_none_is_no_ema(tmp_path, weights):
    path = saved(tmp_path / "a.pth", {"model_state_dict": weights, "model_ema_state_dict": None})
    assert read_checkpoint(path, TINY).source == "model_state_dict of a.pth"


def test_safetensors(tmp_path, weights):
    path = tmp_path / "a.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    checkpoint = read_checkpoint(path, TINY)
    assert_golden(checkpoint)
    assert checkpoint.source == "bare state dict of a.safetensors"
    assert checkpoint.metadata == {"format": "pt"}


def test_old_torch_format(tmp_path, weights):
    path = saved(tmp_path / "a.pth", weights, _use_new_zipfile_serialization=False)
    assert_golden(read_checkpoint(path, TINY))


def test_recompressed_zip(tmp_path, weights):
    """Cannot be mapped in place: mapping it would read compressed bytes as weights."""
    plain = saved(tmp_path / "a.pth", weights)
    packed = tmp_path / "b.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    assert_golden(read_checkpoint(packed, TINY))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_other_floats_become_float32(tmp_path, weights, name):
    dtype = getattr(torch, name)
    cast = {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}
    checkpoint = read_checkpoint(saved(tmp_path / "a.pth", cast), TINY)
    assert checkpoint.source == f"bare state dict of a.pth, 18 tensors cast from {name} to float32"
    for key, tensor in checkpoint.state_dict.items():
        assert tensor.dtype == weights[key].dtype
        assert torch.equal(tensor, cast[key].to(tensor.dtype))


def test_numpy_metrics_and_argparse_arguments_are_harmless(tmp_path, weights):
    content = {
        "model": weights,
        "val_loss": np.float64(0.25),
        "hits": np.int32(7),
        "good": np.bool_(True),
        "args": Namespace(lr=0.5),
    }
    checkpoint = read_checkpoint(saved(tmp_path / "a.pth", content), TINY)
    assert_golden(checkpoint)
    assert checkpoint.metadata == {"val_loss": 0.25, "hits": 7, "good": True, "args": {"lr": 0.5}}


def test_sha256_is_of_the_file(tmp_path, weights):
    import hashlib

    path = saved(tmp_path / "a.pth", weights)
    assert read_checkpoint(path, TINY).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_weighted_modules_hold_the_weights(tmp_path, weights):
    golden = weighted(TINY)
    assert not golden.training
    assert all(torch.equal(golden.network.state_dict()[key], value) for key, value in weights.items())
    shifted = {key: value + 1 for key, value in weights.items()}
    module = weighted(TINY, saved(tmp_path / "a.pth", shifted))
    assert all(torch.equal(module.network.state_dict()[key], value) for key, value in shifted.items())


def test_a_constant_that_was_built_without_values_is_noticed(monkeypatch):
    """The network is built on the meta device; what is no weight must be made on the CPU by name."""
    from fixtures import ladeda

    made = torch.tensor
    monkeypatch.setattr(ladeda.torch, "tensor", lambda *args, device=None, **options: made(*args, **options))
    with pytest.raises(AssertionError, match=r"gradient\.kernel is not in the state dict"):
        weighted(TINY)


# --- variants of one network


def test_keys_a_variant_does_not_use(tmp_path):
    # Every tensor is one number seen many times: the published shapes in a file of some kilobytes.
    everything = {
        key: torch.zeros((), dtype=getattr(torch, dtype)).expand(shape)
        for key, (shape, dtype) in published_entries(OBJECTFORMER).items()
    }
    path = saved(tmp_path / "of.pyth", {"epoch": 1, "model_state": everything})
    checkpoint = read_checkpoint(path, DETECTION)
    assert checkpoint.state_dict.keys() == DETECTION.build().network.state_dict().keys()
    assert checkpoint.everything.keys() == everything.keys()
    assert checkpoint.source == (
        "model_state of of.pyth, epoch 1, 24 keys that objectformer_detection does not use left aside"
    )

    own = saved(tmp_path / "own.pth", {key: everything[key] for key in checkpoint.state_dict})
    assert read_checkpoint(own, DETECTION).state_dict.keys() == checkpoint.state_dict.keys()
    assert re.fullmatch(r"key 'localizer_2\.\S+' is missing; and 7 further", refusal(own, OBJECTFORMER))
    with pytest.raises(CheckpointError, match=r"holds objectformer_detection alone: key 'localizer_0\."):
        weighted(DETECTION, own, published=True)

    half = {key: value for key, value in everything.items() if key != "localizer_0.deconv1.conv.bias"}
    assert refusal(saved(own, half), DETECTION) == "key 'localizer_0.deconv1.conv.bias' is missing"
    bent = {**everything, "localizer_1.conv2.1.bias": torch.zeros(2)}
    assert refusal(saved(own, bent), DETECTION) == (
        "key 'localizer_1.conv2.1.bias' has shape [2], expected [1]"
    )


def test_another_network_is_named(tmp_path, weights):
    other = {f"module.{key}": value for key, value in weights.items()}
    path = saved(tmp_path / "a.pth", other)
    assert refusal(path, OBJECTFORMER) == (
        "not objectformer: 1 of its 427 keys are here; it fits tiny_ladeda best, 21 of 21 keys"
    )
    small = {key: torch.zeros(1) for key in published_entries(OBJECTFORMER)}
    assert refusal(saved(path, small), TINY) == (
        "not tiny_ladeda: 1 of its 21 keys are here; it fits objectformer or objectformer_detection best, "
        "427 of 427 keys"
    )
    assert refusal(saved(path, {"a.weight": torch.zeros(1)})) == (
        "not tiny_ladeda: 0 of its 21 keys are here, and no known model fits; "
        "the first of the 1 keys is 'a.weight'"
    )


# --- keys, shapes, values


def without(*keys: str):
    return lambda state: [state.pop(key) for key in keys]


def having(**values: object):
    """Keys with a dot are spelt with two underscores; a callable is asked for its value."""

    def change(state):
        for key, value in values.items():
            state[key.replace("__", ".")] = value() if callable(value) else value

    return change


def misspelt(state: dict[str, object]) -> None:
    state["fc.biass"] = state.pop("fc.bias")


def row(value):
    """The shape of fc.weight, with one odd entry."""
    return torch.tensor([[0.0, float(value)] + [0.0] * 6])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("fc.bias"), "key 'fc.bias' is missing"),
        (without("fc.bias", "conv1.weight", "fc.weight"), "key 'conv1.weight' is missing; and 2 further"),
        (misspelt, "key 'fc.bias' is missing; nearest that the file has: 'fc.biass'"),
        (
            having(fc2__bias=lambda: torch.ones(1)),
            "key 'fc2.bias' is not one of tiny_ladeda; nearest that tiny_ladeda has: 'fc.bias'",
        ),
        (
            having(zzz=lambda: torch.ones(1), yyy=lambda: torch.ones(1)),
            "key 'zzz' is not one of tiny_ladeda; and 1 further",
        ),
        (having(**{"evil\nkey": lambda: torch.ones(1)}), r"key 'evil\nkey' is not one of tiny_ladeda"),
        (having(fc__weight=lambda: torch.ones(8, 1)), "key 'fc.weight' has shape [8, 1], expected [1, 8]"),
        (
            having(fc__weight=lambda: torch.ones(1, 8).to(torch.int8)),
            "key 'fc.weight' is int8, expected float32",
        ),
        (
            having(fc__weight=lambda: torch.ones(1, 8).to_sparse()),
            "key 'fc.weight' is no plain tensor, expected float32",
        ),
        (having(fc__weight=lambda: row("nan")), "key 'fc.weight' holds NaN"),
        (
            having(fc__weight=lambda: row("-inf"), fc__bias=lambda: row("-inf")[0, 1:2]),
            "key 'fc.weight' holds infinite values; and 1 further",
        ),
        (
            having(fc__bias=lambda: torch.full((1,), 1e300, dtype=torch.float64)),
            "key 'fc.bias' holds infinite values",
        ),
        (having(fc__bias=3), "not a state dict: entry 'fc.bias' is a int, not a tensor"),
    ],
)
def test_state_that_does_not_fit(tmp_path, weights, change, words):
    change(weights)
    assert refusal(saved(tmp_path / "a.pth", weights)) == words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no weights at all: an empty dict"),
        ([1, 2], "holds one list and no state dict"),
        (lambda: torch.ones(3), "holds one Tensor and no state dict"),
        ({"epoch": 1, "cfg": {}}, "no state dict found: it holds epoch, cfg"),
        ({"epo\nch": 1}, "no state dict found: it holds epo ch"),
        ({"model_ema": {"decay": 0.9}}, "no state dict under 'model_ema' found: it holds decay"),
        (lambda: {"model_ema": {"n_averaged": torch.ones(1)}}, "no weights under 'model_ema'"),
        (
            lambda: {"model": {"a": torch.ones(1), "b": "x"}},
            "not a state dict under 'model': entry 'b' is a str, not a tensor",
        ),
    ],
)
def test_content_that_is_no_state(tmp_path, content, words):
    content = content() if callable(content) else content
    assert refusal(saved(tmp_path / "a.pth", content)) == words


def test_content_that_holds_itself(tmp_path):
    content: dict[str, object] = {}
    content["model"] = content
    assert refusal(saved(tmp_path / "a.pth", content)).startswith("no state dict under 'model.model.")


def test_golden_weights_know_no_file():
    checkpoint = golden_checkpoint(TINY)
    assert checkpoint.sha256 == golden_checkpoint(TINY).sha256
    TINY.build().network.load_state_dict(checkpoint.state_dict, strict=True)
