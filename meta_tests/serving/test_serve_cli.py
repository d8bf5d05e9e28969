"""`modelparity serve` in a process of its own, on a real file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from meta_tests.miniatures.miniature import SPEC
from meta_tests.miniatures.running_server import file_of, photograph

ROOT = Path(__file__).parents[2]


@pytest.fixture
def artifact(tmp_path) -> Path:
    """A file with a card, of three operators: means of the image, and its red channel."""
    import onnx
    from onnx import TensorProto, helper

    from modelparity.modelfiles.model_card import card_for, write_metadata

    signature = SPEC.signature(32)
    card = card_for(SPEC, signature, "onnx", "fp32", checkpoint="golden:0", versions={}, dynamic_batch=True)
    ports = [
        [helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape) for port in ports]
        for ports in (card.inputs, card.outputs)
    ]
    constants = {"axes": [2, 3], "last": [1], "zero": [0], "one": [1]}
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["means"], keepdims=0),
        helper.make_node("ReduceMean", ["means", "last"], ["score"], keepdims=1),
        helper.make_node("Slice", ["means", "zero", "one", "last"], ["doubt"]),
        helper.make_node("Slice", ["image", "zero", "one", "last"], ["mask"]),
    ]
    tensors = [helper.make_tensor(name, TensorProto.INT64, [len(v)], v) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "miniature", *ports, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = tmp_path / "miniature.onnx"
    onnx.save_model(model, path)
    write_metadata(path, card.text())
    return path


def serve(*arguments: str, **options):
    command = [sys.executable, "-m", "modelparity", "serve", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def done(*arguments: str, **options) -> tuple[int, str, str]:
    process = serve(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_release_then_serve_then_stop(artifact):
    code, out, err = done(str(artifact), "--release")
    assert code == 0, err
    verdict = artifact.with_name("miniature.onnx.verdict.json")
    assert f"{verdict}: authentic" in out
    process = serve(str(artifact), "--port", "0")
    try:
        said = process.stdout.readline()
        assert "Miniature, onnx fp32, sha256 " in said
        url = process.stdout.readline().rpartition(" ")[2].strip()
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=10) as answer:
            assert json.load(answer)["golden"].endswith("as released")
        request = urllib.request.Request(
            f"{url}/v1/detect", file_of(photograph()), {"Content-Type": "image/png"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = json.load(answer)
        assert (body["model"], body["mask"]["width"]) == ("miniature", 64)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out == "stopped: 1 requests accepted, 1 answered\n"
    assert err == "warning: these weights are untrained: the answers mean nothing\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.onnx"], "no.onnx: no such file"),
        (["FILE", "--threads", "0"], "--threads and --copies are at least 1"),
        (["FILE", "--port", "70000"], "--port"),
        ([], "modelparity gate -k objectformer-tflite-int8_dynamic"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_line(artifact, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("MODELPARITY_STORE", str(tmp_path / "store"))
    code, out, err = done(*(str(artifact) if word == "FILE" else word for word in arguments))
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("green", "taken"),
    [(("tflite", "onnx"), "tflite"), (("onnx",), "onnx"), ((), None)],
)
def test_without_a_file_the_fastest_green_cell_is_taken(monkeypatch, green, taken):
    from modelparity.commands import serve as commands_serve
    from modelparity.errors import BadInputError

    class Store:
        """What a session says of ObjectFormer's cells; red ones are there too."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def cached(self, cell):
            assert (cell.model, cell.quantization) == ("objectformer", "int8_dynamic")
            return SimpleNamespace(green=cell.format in green)

        def artifact(self, model, format, quantization):
            return SimpleNamespace(path=Path(f"{model}.{format}"))

    monkeypatch.setattr("modelparity.parity.session.Session", Store)
    if taken:
        assert commands_serve._from_the_store() == Path(f"objectformer.{taken}")
    else:
        with pytest.raises(BadInputError, match="modelparity gate -k"):
            commands_serve._from_the_store()


def test_a_broken_verdict_is_no_verdict(artifact):
    artifact.with_name("miniature.onnx.verdict.json").write_text("{}")
    code, _, err = done(str(artifact))
    assert code == 2
    assert "make it again with `serve ARTIFACT --release`" in err


def test_a_port_that_is_taken_is_told_in_a_line(artifact):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = done(str(artifact), "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "address already in use" in err.lower()


def test_the_server_loads_neither_torch_nor_a_converter():
    modules = "modelparity.serving.http.app", "modelparity.serving.http.server", "modelparity.commands.serve"
    code = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert "fastapi" in found
    assert not {"torch", "onnx", "litert_torch", "scipy", "tensorflow"} & found
