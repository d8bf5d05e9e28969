"""Bad input is one line on stderr, exit code 2, and nothing written."""

from __future__ import annotations

import pytest

from meta_tests.commands.cli.samples import CONVERT, FP32, PNG, saved
from meta_tests.commands.command_line import refusal
from modelparity.modelfiles.formats import FILE_FORMATS

NO_MODEL = f"neither {' nor '.join(format.title for format in FILE_FORMATS.values())}: it seems to be text"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["list", "--jsn"], "No such option: --jsn"),
        (["convert", "tiny_ladeda", "--format", "onnx"], "Missing option '--output'"),
        (
            ["convert", "objectfromer", "--format", "onnx", "--output", "OUT/a.onnx"],
            "did you mean objectformer",
        ),
        (
            ["convert", "tiny_ladeda", "--format", "onxx", "--output", "OUT/a.onnx"],
            "no such format: 'onxx'; did you mean onnx?",
        ),
        (
            [*CONVERT, "--quantization", "int8", "--output", "OUT/a.onnx"],
            "did you mean int8_static, int8_dynamic?",
        ),
        (
            [*CONVERT, "--size", "tiny", "--output", "OUT/a.onnx"],
            "no such size: 'tiny'; known: reduced, full",
        ),
        (
            [*CONVERT, "--input-size", "224", "--output", "OUT/a.onnx"],
            "--input-size 224: tiny_ladeda takes 256",
        ),
        ([*CONVERT, "--input-size", "big", "--output", "OUT/a.onnx"], "Invalid value for '--input-size'"),
        ([*CONVERT, "--output", "FILE/a.onnx"], "is a file, not a directory"),
        ([*CONVERT, "--output", "/dev/full"], "/dev/full: not a regular file"),
        (
            ["convert", "tiny_ladeda", "--format", "pretrained", "--output", "OUT/a.pth"],
            "needs --checkpoint PATH",
        ),
        (
            [
                "convert",
                "tiny_ladeda",
                "--format",
                "pretrained",
                "--checkpoint",
                "FILE",
                "--output",
                "OUT/a.onnx",
            ],
            "suffix '.onnx', but should be one of .pth, .safetensors",
        ),
        (
            ["run", "tiny_laded", "--input", "FILE", "--output", "OUT/o"],
            "no such model or file; did you mean tiny_ladeda",
        ),
        (["run", "OUT/none.onnx", "--input", "FILE", "--output", "OUT/o"], "none.onnx: no such file"),
        (["run", "tiny_ladeda", "--input", "OUT/no.npz", "--output", "OUT/o"], "no.npz: no such file"),
        (
            ["run", "tiny_ladeda", "--input", "FILE", "--output", "OUT/o"],
            "not an .npz file, it seems to be text",
        ),
        (["run", "tiny_ladeda", "--input", "FILE", "--output", "FILE"], "is the file that is read"),
        (
            ["run", "FILE", "--input", "FILE", "--output", "OUT/o"],
            NO_MODEL,
        ),
        (["run", "FILE", "--input", "FILE", "--output", "OUT/o", "--raw"], "--raw is for a model's name"),
        (["verify", "FILE", "--model", "tiny_ladeda"], NO_MODEL),
        (["verify", "PNG", "--model", "tiny_ladeda"], "it seems to be a PNG image"),
        (["verify", "OUT", "--model", "tiny_ladeda"], "it is a directory"),
        (["verify", "OUT/none", "--model", "tiny_ladeda"], "none: no such file"),
        (["verify", "FILE", "--model", "tiny"], "no such model: 'tiny'; did you mean tiny_ladeda?"),
        (["gate", "-k", "nothing_like_it", "--output", "OUT"], "-k 'nothing_like_it' selects no cell"),
        (["gate", "-k", "onnx and", "--output", "OUT"], "-k 'onnx and'"),
        (["gate", "-k", FP32.id, "--checkpoint", "FILE", "--output", "OUT"], "but should be MODEL=PATH"),
        (["gate", "-k", FP32.id, "--checkpoint", "tiny=FILE", "--output", "OUT"], "no such model: 'tiny'"),
        (["gate", "-k", FP32.id, "--output", "FILE/report"], "is a file, not a directory"),
        (["report", "OUT"], "no run.jsonl in it"),
        (["report", "OUT/none"], "no such directory"),
        (["report", "RUN"], "run.jsonl:1: not a record of a run"),
    ],
)
def test_refusals(tmp_path, arguments, words):
    out, text, png, run = tmp_path / "out", tmp_path / "README", tmp_path / "a.onnx", tmp_path / "run"
    out.mkdir()
    text.write_text("# A README\n\nis no model.\n")
    png.write_bytes(PNG)
    run.mkdir()
    (run / "run.jsonl").write_text("neither\nnor\n")
    places = {"OUT": out, "FILE": text, "PNG": png, "RUN": run}

    def placed(argument: str) -> str:
        head, slash, tail = argument.partition("/")
        name, equals, value = head.rpartition("=")
        return f"{name}{equals}{places[value]}{slash}{tail}" if value in places else argument

    assert words in refusal(*map(placed, arguments))
    assert list(out.iterdir()) == []
    assert [path.name for path in run.iterdir()] == ["run.jsonl"]
    assert text.read_text().startswith("# A README")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda np: {"image": np.zeros((1, 3, 256, 256))}, "image is float64, but should be float32"),
        (lambda np: {"image": np.zeros((1, 3, 256, 256), "uint8")}, "image.astype(np.float32)"),
        (
            lambda np: {"image": np.zeros((3, 256, 256), "f4")},
            "has shape [3, 256, 256], but should be [batch, 3, N, N]",
        ),
        (lambda np: {"image": np.zeros((1, 256, 256, 3), "f4")}, "with N one of 256"),
        (lambda np: {"image": np.zeros((1, 3, 224, 224), "f4")}, "has shape [1, 3, 224, 224]"),
        (lambda np: {"image": np.zeros((0, 3, 256, 256), "f4")}, "has shape [0, 3, 256, 256]"),
        (
            lambda np: {"x": np.zeros((1, 3, 256, 256), "f4")},
            "should hold image, but holds x float32[1, 3, 256, 256]",
        ),
        (lambda np: {}, "should hold image, but holds nothing"),
        (lambda np: {"image": np.array([{}])}, "holds Python objects"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path, make, words):
    import numpy as np

    out = tmp_path / "out" / "o.npz"
    inputs = saved(tmp_path / "in.npz", **make(np))
    assert words in refusal("run", "tiny_ladeda", "--input", inputs, "--output", out)
    assert not out.parent.exists()


def test_files_that_are_no_npz(tmp_path, images):
    import numpy as np

    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "cut.npz").write_bytes(images.read_bytes()[:-1000])
    (tmp_path / "empty.npz").touch()
    for name, words in (
        ("one.npy", "one array without a name; save it by name"),
        ("cut.npz", "damaged"),
        ("empty.npz", "it seems to be an empty file"),
    ):
        assert words in refusal(
            "run", "tiny_ladeda", "--input", tmp_path / name, "--output", tmp_path / "o.npz"
        )
