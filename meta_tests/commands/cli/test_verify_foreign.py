"""`verify` on files that another tool made: other names, channels last, and names that promise too much."""

from __future__ import annotations

import hashlib
import json
import shlex

import numpy as np
import onnx
import pytest
from onnx import helper

from meta_tests.commands.cli.samples import FP32
from meta_tests.commands.command_line import modelparity, passes, refusal
from modelparity.reports.words import GLYPHS


@pytest.fixture(scope="module")
def theirs(converted, tmp_path_factory):
    """The file with the input as `pixels`, channels last, and the score as `probability`; called int8."""
    model = onnx.load(converted)
    names = {"image": "inner", "score": "probability"}
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
    model.graph.node.insert(0, helper.make_node("Transpose", ["pixels"], ["inner"], perm=[0, 3, 1, 2]))
    shape = ["batch", 256, 256, 3]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", 1, shape))
    model.graph.output[0].name = "probability"
    path = tmp_path_factory.mktemp("theirs") / "theirs_int8.onnx"
    onnx.save(model, path)
    return path


def test_the_options_that_it_proposes_let_it_judge_the_file(theirs):
    result = modelparity("verify", theirs, "--model", "tiny_ladeda")
    assert result.exit_code == 1
    first = result.stdout.splitlines()[0]
    assert first.startswith(f"FAIL: {FP32.id}: its ports have other names: try ")
    options = shlex.split(first.partition("try ")[2])
    expected = "--rename pixels=image --rename probability=score --input-layout nhwc"
    assert options == expected.split()
    found = json.loads(passes("verify", theirs, "--model", "tiny_ladeda", *options, "--json"))
    assert found["verdict"] == "pass"
    assert found["ports"] == {
        "renamed": {"pixels": "image", "probability": "score"},
        "input_layout": "nhwc",
        "output_layout": "nchw",
    }
    assert found["cell"]["artifact"]["sha256"] == hashlib.sha256(theirs.read_bytes()).hexdigest()
    assert found["cell"]["reproduce"] == [f"modelparity verify {theirs} --model tiny_ladeda {expected}"]
    remarks = found["cell"]["remarks"]
    assert any("is called theirs_int8.onnx, but what is in it is fp32" in words for words in remarks)
    assert f"its ports are read by {expected}" in remarks


def refused(*arguments):
    """The last line of a command that refuses bad input after it has read a file."""
    result = modelparity(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_what_a_file_is_meant_to_be(converted):
    result = modelparity("verify", converted, "--model", "tiny_ladeda", "--as", "int8_static")
    assert result.exit_code == 1
    first, *rest = result.stdout.splitlines()
    assert first.startswith(f"FAIL: {FP32.id}: precision = fp32, but should be int8_static [")
    assert [line for line in rest if line.startswith(GLYPHS["failed"])] == [
        next(line for line in rest if "precision" in line)
    ]
    assert "meant to be int8_static, but what is in it is fp32" in result.stdout
    words = refusal("verify", converted, "--model", "tiny_ladeda", "--as", "int3")
    assert "no such quantization: 'int3'" in words


def test_inputs_of_the_users_own(tmp_path, converted):
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", image=generator.standard_normal((3, 3, 256, 256), np.float32))
    result = modelparity("verify", converted, "--model", "tiny_ladeda", "--feeds", tmp_path / "own.npz")
    assert "remark: judged on 3 samples of own.npz" in result.stdout
    assert "Running inference on own.npz 0..." in result.stdout
    np.savez(tmp_path / "wrong.npz", pixels=np.zeros(3))
    words = refused("verify", converted, "--model", "tiny_ladeda", "--feeds", tmp_path / "wrong.npz")
    assert "should hold image, but holds pixels float64[3]" in words


def test_names_that_nobody_has_are_refused_with_those_that_exist(theirs):
    words = refused("verify", theirs, "--model", "tiny_ladeda", "--rename", "x=image")
    assert "the file has pixels float32[batch, 256, 256, 3] -> probability float32[batch, 1]" in words
    assert "the network has image float32[batch, 3, 256, 256] -> score float32[batch, 1]" in words
