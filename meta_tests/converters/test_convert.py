"""`convert` from one command to a verified file: the student's, at older opsets, by fewer outputs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from modelparity.cli import app
from modelparity.converters.formats import CONVERTERS
from modelparity.routes.compare import CONVERTERS_AND_ROUTES


def convert(*arguments: object) -> object:
    return CliRunner().invoke(app, ["convert", "tiny_ladeda", *map(str, arguments)])


@pytest.fixture(scope="module", autouse=True)
def _world(shared_store):
    """Warm workers, and a short look at each file."""
    from meta_tests.miniatures.miniature import one_process
    from modelparity.parity.judge import CheckBudget

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPARITY_STORE", str(shared_store))
        patch.setattr("modelparity.parity.session.Workers", one_process)
        patch.setattr(
            "modelparity.parity.session.CheckBudget",
            lambda: CheckBudget(images=6, draws=1, convert_again=False),
        )
        yield


def test_the_students_one_command(tmp_path):
    """From weights to a quantized file of one output, in the words of another tool, proven."""
    path = tmp_path / "models" / "student_quantized.tflite"
    result = convert("--quantization", "dynamic_range", "--outputs", "score", "--output", path)
    assert result.exit_code == 0, result.output
    assert "verified: image float32 (1,3,256,256) -> score float32 (1,1)\n" in result.stdout
    assert re.search(r"verified: \d+ claims hold, \d of 6 labels change, [\d.]+ dB\n", result.stdout)
    verified = CliRunner().invoke(
        app, ["verify", str(path), "--model", "tiny_ladeda", "--outputs", "score", "--json"]
    )
    assert json.loads(verified.stdout)["cell"]["id"] == "tiny_ladeda-tflite-int8_dynamic"
    assert verified.exit_code == 0


def test_the_oldest_opset(tmp_path):
    import onnx

    result = convert("--opset", 12, "--output", tmp_path / "old.onnx", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["verdict"] == "pass"
    assert told["contract"].startswith("image float32 (batch,3,256,256) -> score float32 (batch,1), ")
    assert [entry.version for entry in onnx.load(tmp_path / "old.onnx").opset_import] == [12]
    refused = convert("--opset", 12, "--quantization", "full_int8", "--output", tmp_path / "static.onnx")
    assert refused.exit_code == 2
    assert "a scale a channel" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old.onnx"]


def test_a_file_that_fails_is_not_written(tmp_path, monkeypatch):
    liar = replace(CONVERTERS["onnx"], module="meta_tests.liars.process.minds_threads")
    monkeypatch.setitem(CONVERTERS_AND_ROUTES, "onnx", liar)
    path = tmp_path / "a.onnx"
    result = convert("--output", path)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("FAIL: tiny_ladeda-onnx-fp32: patch_logits threads = ")
    assert "--no-verify writes it all the same" in result.stdout
    assert not path.exists()
    assert convert("--output", path, "--no-verify").exit_code == 0
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "a"], "a: say what to make with --format, or by a suffix: .onnx, .tflite, .pth"),
        (["--output", "new/"], "a folder; say what to put in it with --format"),
        (["--output", "a.tflite", "--opset", "13"], "--opset 13: tflite has no opsets"),
        (["--output", "a.onnx", "--opset", "11"], "--opset 11, but should be 12 to 20"),
        (["--output", "a.onnx", "--outputs", "scroe"], "no output 'scroe'; it has score, patch_logits"),
        (["--output", "a.onnx", "--outputs", "score,score"], "each should be named once"),
        (["--output", "a.pth", "--checkpoint", "b", "--outputs", "score"], "pretrained weights have none"),
    ],
)
def test_refusals(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = convert(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


def test_selected_outputs_are_those_of_the_whole():
    from modelparity.fixtures.models import MODELS

    spec = MODELS["tiny_ladeda"]
    turned = spec.with_outputs(["patch_logits", "score"])
    assert turned.signature().output_names == ("patch_logits", "score")
    assert turned.with_outputs(["score"]).selected_outputs == (0,)
    assert spec.with_outputs(["score", "patch_logits"]) == spec
