"""The Open Inference Protocol: a stranger's client works as it is, and what is malformed is told so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from meta_tests.miniatures.running_server import running
from modelparity.serving.http.limits import Limits

INFER = "/v2/models/miniature/infer"
IMAGE = np.random.default_rng(3).random((2, 3, 32, 32), np.float32)


@pytest.fixture(scope="module")
def server():
    with running(limits=Limits(rate=0)) as server:
        yield server


def asked(**changes):
    tensor = {"name": "image", "shape": list(IMAGE.shape), "datatype": "FP32", "data": IMAGE.ravel().tolist()}
    return {"id": "7", "inputs": [tensor | changes]}


def infer(server, body, path=INFER, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers.setdefault("Content_Type", "application/json")
    status, found, answer = server.ask("POST", path, data, **headers)
    return status, found, answer


def test_tensors_in_json(server):
    status, _, body = infer(server, asked())
    answer = json.loads(body)
    assert status == 200
    assert (answer["model_name"], answer["id"]) == ("miniature", "7")
    score, mask = answer["outputs"]
    assert (score["name"], score["shape"], score["datatype"]) == ("score", [2, 1], "FP32")
    assert score["data"] == pytest.approx(IMAGE.mean((1, 2, 3)).tolist(), abs=1e-6)
    assert mask["data"] == pytest.approx(IMAGE[:, 0].ravel().tolist())


def test_nested_data_is_the_same(server):
    flat, nested = (
        json.loads(infer(server, asked(data=data))[2]) for data in (IMAGE.ravel().tolist(), IMAGE.tolist())
    )
    assert flat == nested


def test_metadata_and_versions(server):
    status, _, body = server.ask("GET", "/v2/models/miniature")
    assert status == 200
    assert json.loads(body)["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]
    assert server.ask("GET", "/v2/models/miniature/versions/1")[2] == body
    assert json.loads(server.ask("GET", "/v2")[2])["extensions"] == ["binary_tensor_data"]
    assert infer(server, asked(), "/v2/models/miniature/versions/1/infer")[0] == 200


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/miniature/versions/2", "/v2/models/other/ready"]
)
def test_another_model_is_not_there(server, path):
    status, _, body = server.ask("GET", path)
    assert (status, json.loads(body)["reason"]) == (404, "model")


HUGE = {"image": [1] * 9}
WRONG = {
    "no JSON": b"{",
    "no object": b"[1]",
    "deep": b"[" * 100_000,
    "no inputs": {"id": "x"},
    "two inputs": {"inputs": [{}, {}]},
    "id": {**asked(), "id": 3},
    "name": asked(name="picture"),
    "datatype": asked(datatype="FP64"),
    "shape": asked(shape=[2, 3, 31, 32]),
    "negative": asked(shape=[-1, 3, 32, 32]),
    "true": asked(shape=[True, 3, 32, 32]),
    "empty": asked(shape=[0, 3, 32, 32], data=[]),
    "too few": asked(data=[1.0]),
    "words": asked(data=["a"] * IMAGE.size),
    "ragged": asked(data=[[1.0], [1.0, 2.0]]),
    "object": asked(data={"a": 1}),
    "too large": asked(data=[1e39] * IMAGE.size),
    "NaN": json.dumps(asked(data=[float("nan")] * IMAGE.size)).encode(),
    "output": {**asked(), "outputs": [{"name": "other"}]},
    "outputs": {**asked(), "outputs": [3]},
    "list as a name": {**asked(), "outputs": [{"name": ["score"]}]},
    "binary size": asked(parameters={"binary_data_size": 4}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_malformed_request_is_told_so(server, name):
    status, _, body = infer(server, WRONG[name])
    assert (status, json.loads(body)["reason"]) == (400, "protocol")


@pytest.mark.parametrize("length", ["-1", "x", "99999999"])
def test_a_header_length_outside_the_body(server, length):
    assert infer(server, asked(), Inference_Header_Content_Length=length)[0] == 400


def test_batches_have_a_bound(server):
    status, _, body = infer(server, asked(shape=[9, 3, 32, 32], data=[0.0] * (9 * 3 * 32 * 32)))
    assert (status, json.loads(body)["reason"]) == (413, "batch")


CLIENT = """
import sys, numpy as np, tritonclient.http as triton
url, binary = sys.argv[1], sys.argv[2] == "binary"
client = triton.InferenceServerClient(url)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("miniature")
said = client.get_model_metadata("miniature")
assert said["inputs"][0]["shape"] == [-1, 3, 32, 32], said
image = np.random.default_rng(3).random((2, 3, 32, 32), np.float32)
tensor = triton.InferInput("image", list(image.shape), "FP32")
tensor.set_data_from_numpy(image, binary_data=binary)
wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("mask", "score")]
answer = client.infer("miniature", [tensor], outputs=wanted, request_id="seven")
assert answer.get_response()["id"] == "seven"
np.testing.assert_allclose(answer.as_numpy("score"), image.mean((1, 2, 3))[:, None], atol=1e-6)
np.testing.assert_array_equal(answer.as_numpy("mask"), image[:, :1])
all_of_them = client.infer("miniature", [tensor])
np.testing.assert_array_equal(all_of_them.as_numpy("mask"), image[:, :1])
try:
    client.infer("other", [tensor])
except triton.InferenceServerException as error:
    assert "the model is miniature" in str(error), error
else:
    raise AssertionError("another model was answered")
print("the client is content")
"""


@pytest.mark.parametrize("form", ["binary", "json"])
def test_triton_s_own_client_works_as_it_is(server, form):
    if not find_spec("tritonclient"):
        pytest.skip("tritonclient is not installed")
    command = [sys.executable, "-c", CLIENT, f"127.0.0.1:{server.port}", form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "the client is content\n", done.stderr


def test_schemathesis_finds_no_server_error(server, tmp_path):
    if not find_spec("schemathesis"):
        pytest.skip("schemathesis is not installed")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "run",
                f"http://127.0.0.1:{server.port}/openapi.json",
            ),
            *("--checks", "not_a_server_error", "--max-examples", "6", "--seed", "1", "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,  # it keeps a folder of its own
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]
