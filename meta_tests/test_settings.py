"""Settings of a network: named, checked, in the shapes of its outputs, and told by a checkpoint's shapes."""

from __future__ import annotations

import pytest

from fixtures.specs import MODELS, Setting


def test_defaults_are_no_choice():
    spec = MODELS["ladeda"]
    assert spec.configured({"gradient": "NPR", "pooling": "topk"}) == spec
    chosen = spec.configured({"pooling": "mean"})
    assert chosen != spec
    assert chosen.values == {"gradient": "NPR", "pooling": "mean"}
    assert chosen.configured({"pooling": "topk"}) == spec


@pytest.mark.parametrize(
    ("model", "values", "words"),
    [
        ("ladeda", {"colour": 1}, "has no setting 'colour'; it has gradient, pooling"),
        ("objectformer", {"bits": 1}, "it has none"),
        ("ladeda", {"pooling": "median"}, "one of topk, mean"),
        ("chunkyseal", {"bits": 0}, "at least 1"),
        ("chunkyseal", {"bits": 2.5}, "like 32"),
        ("chunkyseal", {"bits": True}, "like 32"),
        ("fasterrcnn", {"nms_threshold": 1.5}, "0 to 1"),
        ("fasterrcnn", {"mean": (0.5,)}, "like (0.485"),
    ],
)
def test_bad_settings_say_what_would_do(model, values, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(".", r"\.")):
        MODELS[model].configured(values)


def test_settings_are_read_from_text():
    def told(model, name, text):
        (setting,) = (s for s in MODELS[model].settings if s.name == name)
        return setting.parsed(text)

    assert told("chunkyseal", "bits", "256") == 256
    assert told("fasterrcnn", "nms_threshold", "1") == 1.0
    assert told("fasterrcnn", "mean", "0.5,0.5,0.5") == (0.5, 0.5, 0.5)
    assert told("ladeda", "pooling", "mean") == "mean"
    with pytest.raises(ValueError, match="like 32"):
        told("chunkyseal", "bits", "many")
    assert Setting("x", 1, "").parsed("2") == 2


def test_shapes_follow_the_settings():
    spec = MODELS["chunkyseal"]
    assert spec.signature().outputs[0].shape == ("batch", 33)
    assert spec.configured({"bits": 256}).signature().outputs[0].shape == ("batch", 257)
    assert spec.at("full").signature().outputs[0].shape == ("batch", 1025)
    assert MODELS["fasterrcnn"].configured({"detections": 7}).signature().outputs[0].shape == ("batch", 7, 4)


def test_sizes():
    spec = MODELS["chunkyseal"]
    assert (spec.size, spec.at("full").size, spec.sizes) == ("reduced", "full", ("reduced", "full"))
    assert MODELS["ladeda"].at("full") == MODELS["ladeda"]
    assert MODELS["ladeda"].size == "full"


def test_the_length_of_the_message_is_read_off_the_file(tmp_path):
    import torch

    from fixtures.checkpoints import CheckpointError, golden_state_dict, read_checkpoint

    spec = MODELS["chunkyseal"].configured({"bits": 8})
    state = {f"detector.{key}": value for key, value in golden_state_dict(spec).items()}
    path = tmp_path / "whole.pth"
    torch.save({"model": {**state, "embedder.x": torch.zeros(1)}, "epoch": 3}, path)
    read = read_checkpoint(path, MODELS["chunkyseal"])
    assert read.spec == spec
    assert "bits = 8 read off its shapes" in read.source
    assert "1 keys of other networks left aside" in read.source
    with pytest.raises(CheckpointError, match="bits = 8 by its shapes, but bits = 1024 is asked for"):
        read_checkpoint(path, MODELS["chunkyseal"].at("full"))


def test_pooling_and_gradient_reach_the_network():
    """The score of one image under each choice is what the choice says."""
    import torch

    from fixtures.checkpoints import weighted
    from fixtures.ladeda import pooled

    image = torch.rand(1, 3, 256, 256)
    maps = {}
    for gradient in ("right_diag", "NPR", "raw", "x_grad"):
        spec = MODELS["tiny_ladeda"].configured({"gradient": gradient, "pooling": "mean"})
        with torch.no_grad():
            score, patches = weighted(spec)(image)
        assert torch.equal(score, pooled(patches, "mean"))
        maps[gradient] = patches
    assert len({patches.sum().item() for patches in maps.values()}) == 4
