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
from modelparity.fixtures.limitations import Limitation
from modelparity.parity.cells import columns
from modelparity.parity.limitations import LIMITATIONS

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
    assert "int8_static    made" in text


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
        "limitation": "",
    } in tiny["cells"]


def test_a_declared_limitation_is_listed(monkeypatch):
    monkeypatch.setitem(LIMITATIONS, FP32, Limitation("load", "no kernel", "seen"))
    words = "limitation in load: no kernel"
    assert words in passes("list")
    models = {model["model"]: model for model in json.loads(passes("list", "--json"))["models"]}
    told = {cell["id"]: cell["limitation"] for cell in models["tiny_ladeda"]["cells"]}
    assert told == {id: words if id == FP32.id else "" for id in told}
