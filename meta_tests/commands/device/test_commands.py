"""`modelparity feeds` and `modelparity judge` on the command line, of a cell and of a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from meta_tests.commands.cli.samples import FP32
from meta_tests.commands.command_line import modelparity, passes, refusal
from meta_tests.commands.device.device import answer
from modelparity.parity.session import Session


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _own_world(store, monkeypatch):
    from modelparity.parity.cells import CheckBudget

    monkeypatch.setenv("MODELPARITY_STORE", str(store))
    monkeypatch.setattr(
        "modelparity.parity.session.CheckBudget",
        lambda: CheckBudget(images=4, batches=(3,), draws=2, convert_again=False),
    )


def on_device(feeds: Path, outputs: Path) -> Path:
    (model,) = (feeds / "model").iterdir()
    with Session() as session:
        answer(
            feeds,
            outputs,
            lambda entry, inputs: session.bench.run(
                "onnx", model, [inputs], threads=entry["threads"], fresh=entry["load_anew"]
            )[0],
        )
    return outputs


@pytest.fixture
def feeds(tmp_path):
    """Those of a cell, with its file."""
    passes("feeds", FP32.id, "--output", tmp_path / "feeds", "--with-model")
    return tmp_path / "feeds"


def test_a_cell(feeds, tmp_path):
    outputs = on_device(feeds, tmp_path / "outputs")
    found = json.loads(passes("judge", feeds, outputs, "--json"))
    assert found["verdict"] == "pass"
    assert found["cell"]["id"] == FP32.id
    assert {"float_parity", "batch", "reloadable"} <= {claim["name"] for claim in found["claims"]}
    assert {"kernels", "reproducible"} <= found["cell"]["not_asked"].keys()
    first, *_, last = passes("judge", feeds, outputs).splitlines()
    assert first.startswith(f"PASS: {FP32.id}: ")
    assert last.startswith("not asked: reproducible, because ")
    # Without the copy of the file: it is in the store.
    shutil.rmtree(feeds / "model")
    assert passes("judge", feeds, outputs).startswith("PASS: ")
    written = {path.relative_to(feeds).as_posix(): path.read_bytes() for path in files(feeds)}
    passes("feeds", FP32.id, "--output", tmp_path / "again")
    assert written == {
        p.relative_to(tmp_path / "again").as_posix(): p.read_bytes() for p in files(tmp_path / "again")
    }
    # A wrong output.
    path = outputs / "001-0-score.bin"
    path.write_bytes(b"\0\0\x80\x3f")
    result = modelparity("judge", feeds, outputs)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith(f"FAIL: {FP32.id}: ")
    assert f"reproduce: modelparity judge {feeds} {outputs}" in result.stdout
    path.unlink()
    assert refusal("judge", feeds, outputs) == f"{path}: no such file"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_file_from_anywhere(tmp_path, feeds):
    (model,) = (feeds / "model").iterdir()
    path = Path(shutil.copyfile(model, tmp_path / "stranger.onnx"))
    other = tmp_path / "other"
    assert "say which model" in refusal("feeds", path, "--output", other)
    passes("feeds", path, "--model", "tiny_ladeda", "--output", other)
    assert not (other / "model").exists()
    assert "--artifact FILE" in refusal("judge", other, tmp_path / "outputs")
    shutil.copytree(feeds / "model", other / "model")
    outputs = on_device(other, tmp_path / "outputs")
    shutil.rmtree(other / "model")
    assert passes("judge", other, outputs, "--artifact", path).startswith("PASS: ")
    path.write_bytes(path.read_bytes() + b"\0")
    assert "the model file is another one" in refusal("judge", other, outputs, "--artifact", path)
    assert "no such file" in refusal("judge", other, outputs, "--artifact", tmp_path / "none")
    # These are the same runs, but the feeds of another target.
    assert "outputs are of other feeds" in refusal("judge", feeds, outputs)
    assert "which has its own" in refusal("judge", feeds, outputs, "--artifact", path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny_ladeda-onnx-fp31"], "did you mean tiny_ladeda-onnx-fp32"),
        ([FP32.id, "--model", "ladeda"], "is a cell of tiny_ladeda"),
        ([FP32.id, "--input-size", "7"], "tiny_ladeda takes"),
        ([FP32.id, "--checkpoint", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_feeds_that_cannot_be_made(tmp_path, arguments, words):
    assert words in refusal("feeds", *arguments, "--output", tmp_path / "feeds")
    assert not (tmp_path / "feeds").exists()


def test_feeds_do_not_overwrite_a_file(tmp_path):
    (tmp_path / "feeds").write_text("mine")
    assert "a file, not a" in refusal("feeds", FP32.id, "--output", tmp_path / "feeds")


@pytest.mark.parametrize("change", [{"model": "unknown"}, {"settings": {"depth": 3}}, {"outputs": ["none"]}])
def test_a_manifest_of_nothing_that_is_known(tmp_path, change):
    from modelparity.device.manifest import SCHEMA, digest_of

    target = {"model": "tiny_ladeda", "format": "onnx", "quantization": "fp32", "settings": {}, "own": True}
    data = {"schema": SCHEMA, "model_files": [{"name": "a"}], "target": target | change}
    (tmp_path / "manifest.json").write_text(json.dumps(data | {"digest": digest_of(data)}))
    assert "names no model, format and quantization known here" in refusal("judge", tmp_path, tmp_path)
