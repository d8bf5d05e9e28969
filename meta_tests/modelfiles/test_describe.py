"""The census reads bytes, not names; what it cannot read it refuses in one line, and never in another way."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta_tests.miniatures.model_files import Operator, Tensor, floats, node, onnx_file, tflite_bytes
from modelparity.modelfiles.describe import describe
from modelparity.modelfiles.description import BrokenModelError, NotAModelError, recipe
from modelparity.modelfiles.formats import sniff
from modelparity.modelfiles.onnx.describe import describe_onnx
from modelparity.modelfiles.tflite.describe import describe_tflite

REFUSED = (NotAModelError, BrokenModelError)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound file of each format."""
    folder = tmp_path_factory.mktemp("census")
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("Reshape", "c s", "f"),
        node("MatMul", "f m", "y"),
    ]
    constants = {"w": floats(4, 3, 3, 3), "b": floats(4), "s": np.array([0, -1]), "m": floats(256, 5)}
    onnx_file(folder / "sound.onnx", nodes, constants, ["N", 3, 8, 8])
    tensors = [
        Tensor("in", (1, 8)),
        Tensor("w", (5, 8), stored=160),
        Tensor("b", (5,), stored=20),
        Tensor("out", (1, 5)),
    ]
    layer = Operator("FULLY_CONNECTED", "in w b", "out")
    names = {"image": "in", "score": "out"}
    (folder / "sound.tflite").write_bytes(tflite_bytes((tensors, [layer], "in", "out"), names=names))
    return {"onnx": folder / "sound.onnx", "tflite": folder / "sound.tflite"}


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_sound_files_are_described(whole: dict[str, Path], form: str) -> None:
    assert sniff(whole[form]) == form
    assert describe(whole[form]).format == form


@pytest.mark.parametrize(("form", "other"), [("onnx", "tflite"), ("tflite", "onnx")])
def test_a_name_that_lies_is_not_believed(
    whole: dict[str, Path], tmp_path: Path, form: str, other: str
) -> None:
    liar = tmp_path / f"model.{other}"
    liar.write_bytes(whole[form].read_bytes())
    assert describe(liar) == describe(whole[form])
    wrong = {"onnx": describe_onnx, "tflite": describe_tflite}[other]
    with pytest.raises(NotAModelError, match=f"no {other} file: its bytes are {form}"):
        wrong(liar)


KINDS = {
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(40),
    "empty": b"",
    "text": b"ir_version: 10\nproducer_name: 'pytorch'\n" * 200,
    "HTML": b"<!DOCTYPE html><html>404</html>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "pickle": pickle.dumps({"a": list(range(100))}, protocol=2),
    "safetensors": (30).to_bytes(8, "little") + b'{"__metadata__":{"format":"p"}}' + bytes(100),
    "NumPy array": b"\x93NUMPY\x01\x00" + bytes(100),
    r"\.ort": b"\x18\x00\x00\x00ORTM" + bytes(100),
    "SavedModel": b"\x08\x01\x12\x40\x0a\x30\x12\x05serve" + bytes(55),
    "another protobuf": b"\x08\x63\x12\x05torch",
    "unknown bytes that begin 00 00": bytes(100),
    "unknown bytes that begin 08 0a": b"\x08\x0a\xff\xff\xff\xff\xff\xff",
    "unknown bytes that begin 08 05": b"\x08\x05\x3a\x10" + b"\xff" * 16,
    "unknown bytes that begin 08 63": b"\x08\x63\x1a\x05torch".ljust(40, b"\x00"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_is_called_by_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(KINDS[kind])
    for read in (sniff, describe, describe_onnx, describe_tflite):
        with pytest.raises(NotAModelError, match=kind) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [("m/data.pkl", "checkpoint"), ("a.npy", "NumPy"), ("m/archive_format", "exported"), ("x", "ZIP")],
)
def test_archives_are_told_apart(tmp_path: Path, entry: str, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.tflite", "w") as archive:
        archive.writestr(entry, "x")
    with pytest.raises(NotAModelError, match=kind):
        describe(tmp_path / "model.tflite")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAModelError, match="directory"):
        describe(tmp_path)
    with pytest.raises(NotAModelError, match="no regular file"):
        describe(tmp_path / "pipe")
    for read in (sniff, describe, describe_onnx, describe_tflite):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "missing.onnx")


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_a_cut_file_is_refused(whole: dict[str, Path], tmp_path: Path, form: str) -> None:
    data, sound = whole[form].read_bytes(), describe(whole[form])
    cut, refused = tmp_path / "cut", 0
    for length in range(0, len(data), 13):
        cut.write_bytes(data[:length])
        try:
            assert describe(cut) == sound, f"cut at {length}"  # padding and fields that nobody asks for
        except NotAModelError:
            assert length < 16, f"cut at {length}: enough is left to tell the format"
        except BrokenModelError as error:
            refused += "\n" not in str(error)
    assert refused > 0.95 * len(data) / 13


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_flipped_bytes_never_escape(whole: dict[str, Path], form: str, data: st.DataObject) -> None:
    raw = bytearray(whole[form].read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = whole[form].with_name("flipped")
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    try:
        found = describe(path)
    except REFUSED:
        return
    assert all(isinstance(port.name, str) for port in (*found.inputs, *found.outputs))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_random_bytes_are_no_model(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "random.tflite"
    path.write_bytes(data)
    with pytest.raises(NotAModelError):
        describe(path)


@pytest.mark.parametrize(
    ("operators", "weights", "named"),
    [
        ({}, {"float32": 9}, "fp32"),
        ({}, {}, "fp32"),
        ({}, {"float16": 6, "float32": 5}, "fp16"),
        ({}, {"float16": 5, "float32": 5}, "fp32"),
        ({}, {"int8": 6, "float32": 5}, "int8_weight_only"),
        ({"int8_static": 1}, {"int8": 1, "float16": 99}, "int8_static"),
        ({"int8_static": 1, "int8_dynamic": 2}, {"int8": 9}, "int8_dynamic"),
        ({"int8_dynamic": 2, "int8_static": 2}, {"int8": 9}, "int8_static"),
        ({"int8_weight_only": 1, "int8_dynamic": 1}, {"int8": 9}, "int8_dynamic"),
        ({"int8_weight_only": 1}, {"int8": 9}, "int8_weight_only"),
    ],
)
def test_the_recipe_that_a_file_bears(operators: dict[str, int], weights: dict[str, int], named: str) -> None:
    assert recipe(operators, weights) == named
