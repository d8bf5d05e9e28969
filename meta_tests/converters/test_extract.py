"""`extract`: the detector's part of every layout a checkpoint comes in, and nothing half written."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from modelparity.fixtures.models import MODELS

SPEC = MODELS["chunkyseal"]
BITS = 2


@pytest.fixture(scope="module")
def detector():
    """The published state dict, 1.6 million parameters."""
    import torch

    from modelparity.fixtures.networks.chunkyseal.network import Detector

    torch.manual_seed(0)
    return {key: tensor.detach() for key, tensor in Detector(bits=BITS).network.state_dict().items()}


@pytest.fixture(scope="module")
def checkpoints(detector, tmp_path_factory) -> dict[str, Path]:
    import torch

    folder = tmp_path_factory.mktemp("checkpoints")
    prefixed = {f"detector.{key}": tensor for key, tensor in detector.items()}
    embedder = {"embedder.unet.0.weight": torch.zeros(8, 8, 3, 3), "blender.scale": torch.ones(1)}
    whole = {"model": {**embedder, **prefixed}, "args": {"nbits": BITS}, "optimizer": {"step": 3}}
    contents = {
        "training": whole,
        "legacy": whole,
        "wrapped": {"model": prefixed},
        "prefixed": prefixed,
        "bare": detector,
        "embedder": {"model": embedder},
    }
    for name, content in contents.items():
        zipped = name != "legacy"
        torch.save(content, folder / f"{name}.pth", _use_new_zipfile_serialization=zipped)
    return {name: folder / f"{name}.pth" for name in contents}


def extracted(source: Path, output: Path) -> int:
    from modelparity.converters.pretrained.extract import read_part, write_part
    from modelparity.fixtures.whole_files import replaced

    read_part(source, SPEC)
    with replaced(output) as (partial,):
        write_part(source, SPEC, output, partial)
    return output.stat().st_size


@pytest.mark.parametrize("layout", ["training", "legacy", "wrapped", "prefixed", "bare"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_layout_gives_the_same_part(detector, checkpoints, tmp_path, layout, suffix):
    import torch

    from modelparity.fixtures.checkpoints.load import read_checkpoint

    output = tmp_path / f"detector{suffix}"
    assert extracted(checkpoints[layout], output) == output.stat().st_size
    assert list(tmp_path.iterdir()) == [output]
    found = read_checkpoint(output, SPEC)
    assert found.spec.values == {"bits": BITS}
    assert list(found.state_dict) == list(detector)
    assert all(torch.equal(found.state_dict[key], tensor) for key, tensor in detector.items())


def test_the_published_loader_reads_it(detector, checkpoints, tmp_path):
    import torch

    extracted(checkpoints["training"], tmp_path / "detector.pth")
    content = torch.load(tmp_path / "detector.pth", weights_only=True)
    assert list(content["model"]) == [f"detector.{key}" for key in detector]


def test_same_checkpoint_same_bytes(checkpoints, tmp_path):
    for name in ("a.pth", "b.pth"):
        extracted(checkpoints["training"], tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_a_view_does_not_take_its_storage_along(detector, tmp_path):
    """Tensors that are views of one storage, as some trainers save them: each comes alone."""
    import torch

    flat = torch.cat([tensor.reshape(-1) for tensor in detector.values()])
    views, at = {}, 0
    for key, tensor in detector.items():
        views[key] = flat[at : at + tensor.numel()].view(tensor.shape)
        at += tensor.numel()
    torch.save(views, tmp_path / "views.pth")
    assert extracted(tmp_path / "views.pth", tmp_path / "out.pth") < 1.1 * flat.nbytes


def test_what_is_no_detector_is_named(checkpoints, tmp_path):
    from modelparity.fixtures.checkpoints.load import CheckpointError

    with pytest.raises(CheckpointError, match="no detector in it; its parts are blender, embedder"):
        extracted(checkpoints["embedder"], tmp_path / "out.pth")


def test_a_cut_file_is_said_to_be_cut(checkpoints, tmp_path):
    from modelparity.fixtures.checkpoints.load import CheckpointError

    cut = tmp_path / "cut.pth"
    cut.write_bytes(checkpoints["training"].read_bytes()[:-100_000])
    with pytest.raises(CheckpointError, match="truncated"):
        extracted(cut, tmp_path / "out.pth")
    assert list(tmp_path.iterdir()) == [cut]


def test_a_full_disk_is_known_before_writing(checkpoints, tmp_path, monkeypatch):
    from modelparity.fixtures.checkpoints.load import CheckpointError

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 0))
    with pytest.raises(CheckpointError, match=r"needs 0\.0 GB, but its disk has 0\.0 GB free"):
        extracted(checkpoints["training"], tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing(checkpoints, tmp_path, monkeypatch):
    import torch

    def fails(_content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="No space"):
        extracted(checkpoints["training"], tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "output", "words"),
    [
        ("chunkyseal", "training.pth", "is the file that is read"),
        ("chunkyseal", "out.onnx", "suffix"),
        ("tiny_ladeda", "out.pth", "hold nothing else"),
    ],
)
def test_bad_requests_end_in_one_line(checkpoints, model, output, words):
    from modelparity.commands.extract import extract
    from modelparity.errors import BadInputError

    source = checkpoints["training"]
    with pytest.raises(BadInputError, match=words):
        extract(model, source, source.with_name(output))
