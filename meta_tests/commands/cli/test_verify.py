"""`verify`: what it says of right, damaged and lying files."""

from __future__ import annotations

import json

import pytest

from meta_tests.commands.cli.samples import FP32
from meta_tests.commands.command_line import modelparity, passes, refusal
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.parity.reference import FLOAT
from modelparity.reports.words import GLYPHS


def test_a_right_file_by_a_lying_name(tmp_path, converted):
    path = tmp_path / "int8_static.tflite"
    path.write_bytes(converted.read_bytes())
    found = json.loads(passes("verify", path, "--model", "tiny_ladeda", "--json"))
    assert found["verdict"] == "pass"
    assert found["cell"]["id"] == FP32.id
    assert found["cell"]["status"] == "passed"
    names = {claim["name"] for claim in found["claims"]}
    assert names >= {
        "interface",
        "precision",
        "outputs",
        "finite",
        "float_parity",
        "batch",
        "generated_inputs",
    }
    assert all(claim["status"] == "passed" and claim["because"] for claim in found["claims"])


def test_a_corrupted_weight(tmp_path, converted):
    import numpy as np
    import onnx

    model = onnx.load(converted)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values[: len(values) // 8] *= 1.02
    weight.raw_data = values.tobytes()
    onnx.save(model, tmp_path / "tiny.onnx")
    result = modelparity("verify", tmp_path / "tiny.onnx", "--model", "tiny_ladeda")
    assert result.exit_code == 1, result.output
    first, *rest = result.stdout.splitlines()
    assert first.startswith(f"FAIL: {FP32.id}: ")
    assert "float_parity = " in first
    assert first.endswith(f" floors, but should be <= 8 floors [{FLOAT.because}]")
    assert any(line.startswith("✘  float_parity") for line in rest)
    assert rest[-1] == f"reproduce: modelparity verify {tmp_path / 'tiny.onnx'} --model tiny_ladeda"
    assert "\x1b" not in result.stdout


def failed_claims(*arguments: object) -> dict[str, dict]:
    result = modelparity("verify", *arguments, "--model", "tiny_ladeda", "--json")
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert found["verdict"] == "fail"
    return {claim["name"]: claim for claim in found["claims"] if claim["status"] == "failed"}


def test_a_damaged_file(tmp_path, converted, images):
    (tmp_path / "tiny.onnx").write_bytes(converted.read_bytes()[:-3000])
    assert failed_claims(tmp_path / "tiny.onnx").keys() == {"loads"}
    words = refusal("run", tmp_path / "tiny.onnx", "--input", images, "--output", tmp_path / "o.npz")
    assert "tiny.onnx is damaged: " in words


def test_a_file_by_another_toolchain_is_judged_and_told_what_it_was_not_asked(tmp_path, converted, images):
    """ONNX Runtime's own recipe rounds every activation: its own graph is what is simulated."""
    import numpy as np
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._left = iter([dict(np.load(images))])

        def get_next(self):
            return next(self._left, None)

    model = onnx.load(converted)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "float.onnx")
    path = tmp_path / "theirs.onnx"
    quantize_static(tmp_path / "float.onnx", path, Reader(), per_channel=True)
    result = modelparity("verify", path, "--model", "tiny_ladeda")
    assert result.stdout.splitlines()[0].partition(": ")[2].startswith("tiny_ladeda-onnx-int8_static: ")
    said = [line.split()[:2] for line in result.stdout.splitlines() if line]
    asked = {name: glyph for glyph, name in said if glyph in GLYPHS.values()}
    assert {*asked.values()} == {GLYPHS["passed"]}
    assert result.exit_code == 0
    assert {"unrounded", "simulated", "network_weights", "better_than_constant", "batch"} <= asked.keys()
    assert "model_card" not in asked
    words = "because a file from elsewhere has no model card of this project"
    assert f"not asked: model_card, {words}" in result.stdout
    # The same file, but for one scale that is read otherwise than it was written, is not the network's.
    faulty = onnx.load(path)
    scales = {node.input[1] for node in faulty.graph.node if node.op_type == "QuantizeLinear"}
    read = next(
        node
        for node in faulty.graph.node
        if node.op_type == "DequantizeLinear" and node.input[1] in scales and "relu" in node.input[0].lower()
    )
    scale = next(each for each in faulty.graph.initializer if each.name == read.input[1])
    other = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * np.float32(1.05), "other_scale")
    faulty.graph.initializer.append(other)
    read.input[1] = "other_scale"
    onnx.save(faulty, tmp_path / "faulty.onnx")
    result = modelparity("verify", tmp_path / "faulty.onnx", "--model", "tiny_ladeda")
    assert result.exit_code == 1
    assert "patch_logits unrounded" in result.stdout.splitlines()[0]


@pytest.mark.usefixtures("own_processes")
def test_a_file_quantized_as_no_recipe_does(tmp_path, converted, monkeypatch):
    from modelparity.modelfiles.onnx import describe

    def third_party(*_: object) -> str:
        return "int8_weight_only"

    # In the child, too: it imports what lies first in its path.
    (tmp_path / "sitecustomize.py").write_text(
        "from modelparity.modelfiles.onnx import describe\ndescribe.recipe = lambda *_: 'int8_weight_only'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(describe, "recipe", third_party)
    claim = failed_claims(converted)["precision"]
    assert claim["observed"] == "int8_weight_only"
    assert claim["bound"] == " or ".join(QUANTIZATIONS)


@pytest.mark.usefixtures("own_processes")
@pytest.mark.parametrize(
    ("deed", "seen"), [("os.kill(os.getpid(), 11)", "SIGSEGV"), ("os._exit(3)", "exit 3")]
)
def test_a_file_that_ends_its_runtime(tmp_path, converted, monkeypatch, deed, seen):
    from dataclasses import replace

    from modelparity.converters.formats import CONVERTERS

    (tmp_path / "deadly_runtime.py").write_text(f"import os\ndef open_runner(path, threads):\n    {deed}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(CONVERTERS, "onnx", replace(CONVERTERS["onnx"], module="deadly_runtime"))
    failed = failed_claims(converted)
    assert failed.keys() == {"runs"}
    assert failed["runs"]["observed"] == seen
