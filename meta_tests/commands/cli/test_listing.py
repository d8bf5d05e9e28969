"""The commands that only list: complete, and quick because they import nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meta_tests.commands.cli.samples import FP32
from meta_tests.commands.command_line import passes
from modelparity.parity.cells import columns

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["gate", "--help"]])
def test_the_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys; from modelparity.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'hypothesis', 'pytest'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)
    assert time.perf_counter() - start < 5  # 0.4 s where nothing else runs


def test_help_is_shown_without_a_command():
    assert "convert" in passes()
    assert passes("--version").startswith("modelparity ")


def test_list():
    text = passes("list")
    for word in (
        "objectformer_detection",
        "tiny_ladeda",
        "patch_logits float32 [batch, 1, 126, 126]",
        "int8_static",
    ):
        assert word in text
    assert "224, 288 (default), 380" in text
    assert "\x1b" not in text
    assert "error <= 8 × floor" in text


def test_list_as_json():
    models = {model["model"]: model for model in json.loads(passes("list", "--json"))["models"]}
    tiny = models["tiny_ladeda"]
    assert tiny["inputs"][0]["shape"] == ["batch", 3, 256, 256]
    assert [port["name"] for port in tiny["outputs"]] == ["score", "patch_logits"]
    assert len(tiny["cells"]) == len(columns())
    assert {
        "id": FP32.id,
        "format": "onnx",
        "quantization": "fp32",
        "expectation": "error <= 8 × floor",
    } in tiny["cells"]


def test_every_expectation_has_words():
    from modelparity.commands.list import expectation_words
    from modelparity.fixtures.tolerances import FloatTolerance, Limitation, QuantizedTolerance

    coarse = QuantizedTolerance({"score": 30.0, "mask": 25}, {}, "a test")
    assert expectation_words(coarse) == "score >= 30 dB, mask >= 25 dB"
    assert (
        expectation_words(Limitation("load", "no kernel", "seen", coarse)) == "limitation in load: no kernel"
    )
    assert expectation_words(None) == "nothing declared"
    own = FloatTolerance(8, 60, "a test", output_floors={"score": 18})
    assert expectation_words(own) == "error <= 8 × floor (score 18)"
