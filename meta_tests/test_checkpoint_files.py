"""Every way in which a checkpoint file can be wrong: one clear line each, and nothing runs."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta_tests.refusals import TINY, refusal, saved


@pytest.fixture(scope="module", autouse=True)
def _libraries():
    """Loaded by the first test, not at collection: torch takes seconds."""
    global torch, save_file, CheckpointError, golden_state_dict, read_checkpoint
    import torch
    from safetensors.torch import save_file

    from fixtures.checkpoints import CheckpointError, golden_state_dict, read_checkpoint


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return golden_state_dict(TINY)


def test_no_file(tmp_path):
    assert refusal(tmp_path / "none.pth") == "no such file"
    assert refusal(tmp_path) == "a directory, not a checkpoint file"
    (tmp_path / "a.pth").touch()
    assert refusal(tmp_path / "a.pth") == "empty file, 0 bytes"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth") == "not a regular file"


def test_no_permission(tmp_path, weights, monkeypatch):
    path = saved(tmp_path / "a.pth", weights)

    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read anything, so the mode bits prove nothing
    assert refusal(path) == "no permission to read it"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "a JPEG image"),
        (b"\x08\x0a\x12\x07pytorch\x1a", "an ONNX model"),
        (b"\x1c\0\0\0TFL3" + bytes(50), "a TFLite model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file (Keras?)"),
        (b"hello, world\n", "text"),
        ("plain but grün\n".encode(), "text"),
        (b'{"a": 1}', "JSON text"),
        (b"<!DOCTYPE html><html>", "a web page, perhaps of a failed download"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer: the file itself was not fetched, try `git lfs pull`",
        ),
        (b"\x00\x01\x02\x03", "an unknown kind of file"),
    ],
)
def test_foreign_file(tmp_path, head, words):
    path = tmp_path / "a.pth"
    path.write_bytes(head)
    assert refusal(path) == f"not a checkpoint, it seems to be {words}"


def test_foreign_archives(tmp_path):
    path = tmp_path / "a.pth"
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    path.write_bytes((tmp_path / "x.npz").read_bytes())
    assert refusal(path) == "not a checkpoint, a zip archive of other things, first 'a.npy'"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"")
        archive.writestr("m/constants.pkl", b"")
    assert refusal(path) == "a TorchScript program; save its state_dict() instead"


def test_truncated_zip(tmp_path, weights):
    path = saved(tmp_path / "a.pth", {"model": weights, "optimizer": torch.zeros(4096)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == f"truncated: {len(whole) // 2:,} bytes and no zip directory at its end"
    path.write_bytes(whole[:4000] + whole[5000:])
    assert refusal(path) == (
        f"truncated: {len(whole) - 1000:,} bytes, expected {len(whole):,} by its zip directory"
    )


def test_truncated_safetensors(tmp_path, weights):
    path = tmp_path / "a.safetensors"
    save_file(weights, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert refusal(path) == f"truncated: {len(whole) - 7:,} bytes, expected {len(whole):,} by its header"
    header = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(whole[:100])
    assert refusal(path) == f"truncated: 100 bytes, its header alone has {header:,}"
    path.write_bytes(whole + b"xx")
    assert refusal(path) == f"damaged: {len(whole) + 2:,} bytes, expected {len(whole):,} by its header"
    broken = json.dumps({"a": {"dtype": "F32"}}).encode()
    path.write_bytes(len(broken).to_bytes(8, "little") + broken)
    assert refusal(path) == "damaged: its safetensors header cannot be read"


def test_truncated_old_format(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(4096)}, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    assert refusal(path) == f"truncated: {len(whole) - 1000:,} bytes, expected at least {len(whole):,}"
    path.write_bytes(whole[:100])
    assert refusal(path) == "truncated: 100 bytes, and its pickle does not end"


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_pickle_that_runs_code_is_named_and_never_run(tmp_path, weights, form, protocol):
    path, touched = tmp_path / "a.pth", tmp_path / "touched"
    content = {"model_state": weights, "cfg": Malicious(touched)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"cfg": content["cfg"]}, protocol))
    else:
        saved(path, content, pickle_protocol=protocol, _use_new_zipfile_serialization=form == "zip")
    assert refusal(path) == (
        f"refused: its pickle asks for {os.name}.system, and loading that can run code; nothing of it was run"
    )
    assert not touched.exists()
    pickle.loads(pickle.dumps(Malicious(touched)))  # the bait is live: loaded plainly, it bites
    assert touched.exists()


def test_a_pickle_that_torch_did_not_write(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps({"fc.bias": [0.5]}))
    assert refusal(path) == "a pickle that torch.save did not write"


def test_a_pickled_module_is_named(tmp_path):
    message = refusal(saved(tmp_path / "a.pth", {"model": torch.nn.Linear(1, 1)}))
    assert message.startswith("refused: its pickle asks for torch.nn.modules.linear.Linear, and loading")


def test_numpy_objects_stay_refused(tmp_path):
    content = {"a": np.ones(2), "b": np.array(["x"], dtype=object)}
    assert refusal(saved(tmp_path / "a.pth", content)).startswith(
        "refused: its pickle asks for numpy._core.multiarray._reconstruct, numpy.ndarray, and loading"
    )


def test_new_pickle_protocol_without_code(tmp_path, weights):
    path = saved(tmp_path / "a.pth", weights, pickle_protocol=4)
    assert refusal(path) == "pickle protocol 4, which torch cannot load safely; save it with protocol 2"


@pytest.fixture(scope="module", params=["zip", "old", "safetensors"])
def sound(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "a.pth"
    state = golden_state_dict(TINY)
    if request.param == "safetensors":
        save_file(state, path)
        return path
    zipped = request.param == "zip"
    return saved(path, {"model_state": state, "epoch": 3}, _use_new_zipfile_serialization=zipped)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_damage_is_one_clear_line_or_harmless(tmp_path, sound, data):
    """Cut, flip or drop bytes anywhere: weights of the right shapes, or a `CheckpointError`."""
    path = tmp_path / "a.pth"
    whole = bytearray(sound.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "drop"]))
    if kind == "flip":
        whole[at] ^= data.draw(st.integers(1, 255))
    else:
        del whole[at : at + data.draw(st.integers(1, 64)) if kind == "drop" else None]
    path.write_bytes(whole)
    try:
        checkpoint = read_checkpoint(path, TINY)
    except CheckpointError as error:
        message = str(error)
    else:
        assert kind != "cut"
        TINY.build().network.load_state_dict(checkpoint.state_dict, strict=True)
        return
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    assert kind != "cut" or at < 32 or "truncated" in message


def test_an_entry_of_a_later_zip_version(tmp_path, weights):
    path = saved(tmp_path / "a.pth", weights)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 6] = 64  # the directory's "version needed to extract"
    path.write_bytes(data)
    assert refusal(path) == "damaged zip archive: zip file version 6.4"
