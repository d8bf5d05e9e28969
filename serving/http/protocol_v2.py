"""The Open Inference Protocol, version 2, over HTTP, with its binary tensor data extension.

https://github.com/kserve/open-inference-protocol (inference_rest.md, extension_binary_data.md). One model,
one version, one float32 input; so that clients of Triton, KServe and their kin work as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelparity.serving.http.limits import Limits
from modelparity.serving.http.refusals import RefusalError, too_large

BINARY_HEADER = "Inference-Header-Content-Length"
VERSION = "1"
_FLOAT = "FP32"
_NAMES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "bool": "BOOL"}

Array = np.ndarray[Any, Any]


def server_metadata(version: str) -> dict[str, Any]:
    return {"name": "modelparity", "version": version, "extensions": ["binary_tensor_data"]}


def model_metadata(card: Any) -> dict[str, Any]:
    """Inputs and outputs, any number of images at once: a file of one image is run once for each."""
    return {
        "name": card.model,
        "versions": [VERSION],
        "platform": {"onnx": "onnxruntime_onnx", "tflite": "litert_tflite"}[card.format],
        "inputs": [_port(port, (3, *card.input_size)) for port in card.inputs],
        "outputs": [_port(port, port.shape[1:]) for port in card.outputs],
    }


def _port(port: Any, axes: tuple[int | str, ...]) -> dict[str, Any]:
    shape = [-1, *(axis if isinstance(axis, int) else -1 for axis in axes)]
    return {"name": port.name, "datatype": _NAMES[port.dtype], "shape": shape}


@dataclass(frozen=True)
class Request:
    """`outputs` maps the wanted names to whether each is asked as bytes behind the JSON."""

    id: str
    image: Array
    outputs: Mapping[str, bool]


def _bad(words: str) -> RefusalError:
    return RefusalError(400, "protocol", words)


def read_request(body: bytes, header_length: str | None, card: Any, limits: Limits) -> Request:
    """The tensor [N, 3, h, w] of a request. Raises `RefusalError` with what is wrong with it."""
    tail = b""
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > len(body):
            raise _bad(f"{BINARY_HEADER} is no length within the body")
        body, tail = body[: int(header_length)], body[int(header_length) :]
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise _bad("the request is not JSON") from None
    if not isinstance(asked, dict):
        raise _bad("the request is not a JSON object")
    id = asked.get("id", "")
    if not isinstance(id, str) or len(id) > 256:
        raise _bad("id is not a text of at most 256 characters")
    return Request(id, _image(asked, tail, card, limits), _wanted(asked, card))


def _image(asked: dict[str, Any], tail: bytes, card: Any, limits: Limits) -> Array:
    (port,) = card.inputs
    inputs = asked.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise _bad(f"inputs is not a list of one tensor, {port.name}")
    given = inputs[0]
    if given.get("name") != port.name or given.get("datatype") != _FLOAT:
        raise _bad(f"the input is {port.name}, of datatype {_FLOAT}")
    shape = given.get("shape")
    fixed = [3, *card.input_size]
    if not (isinstance(shape, list) and shape[1:] == fixed and type(shape[0]) is int and shape[0] >= 1):
        raise _bad(f"the shape of {port.name} is [N, {', '.join(map(str, fixed))}]")
    if shape[0] > limits.batch:
        raise too_large("batch", f"at most {limits.batch} images a request")
    size = int(np.prod(shape))
    parameters = given.get("parameters")
    binary = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if binary is not None:
        if binary != 4 * size or len(tail) != 4 * size:
            raise _bad(f"{port.name} has {4 * size} bytes, by binary_data_size and behind the JSON")
        flat = np.frombuffer(tail, "<f4")
    else:
        flat = _flat(given.get("data"), port.name)
    if flat.size != size:
        raise _bad(f"{port.name} has {size} numbers by its shape, and {flat.size} in data")
    if not np.isfinite(flat).all():
        raise _bad(f"{port.name} has values that are not finite")
    return flat.astype(np.float32, copy=False).reshape(shape)


def _flat(data: Any, name: str) -> Array:
    try:
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as such
            flat = np.asarray(data, np.float64).astype(np.float32).ravel()
    except (TypeError, ValueError, OverflowError):
        raise _bad(f"data of {name} is not a list of numbers") from None
    if not isinstance(data, list):
        raise _bad(f"data of {name} is not a list of numbers")
    return flat


def _wanted(asked: dict[str, Any], card: Any) -> dict[str, bool]:
    known = [port.name for port in card.outputs]
    every = _says(asked, "binary_data_output", False)
    listed = asked.get("outputs")
    if not listed:
        return dict.fromkeys(known, every)
    if not (isinstance(listed, list) and all(isinstance(item, dict) for item in listed)):
        raise _bad("outputs is not a list of objects")
    names = [item.get("name") for item in listed]
    if not all(name in known for name in names):
        raise _bad(f"the outputs are {', '.join(known)}")
    return {item["name"]: _says(item, "binary_data", every) for item in listed}


def _says(of: dict[str, Any], name: str, default: bool) -> bool:
    parameters = of.get("parameters")
    value = parameters.get(name, default) if isinstance(parameters, dict) else default
    return value is True


def write_response(request: Request, outputs: Mapping[str, Array], card: Any) -> tuple[bytes, dict[str, str]]:
    """The body and its headers: JSON, behind it the outputs that were asked as bytes, in their order."""
    listed, tails = [], []
    for name, binary in request.outputs.items():
        value = outputs[name]
        item: dict[str, Any] = {
            "name": name,
            "datatype": _NAMES[str(value.dtype)],
            "shape": list(value.shape),
        }
        if binary:
            tails.append(np.ascontiguousarray(value).tobytes())
            item["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            item["data"] = value.ravel().tolist()
        listed.append(item)
    body = {"model_name": card.model, "model_version": VERSION, "outputs": listed}
    if request.id:
        body["id"] = request.id
    text = json.dumps(body).encode()
    if not tails:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", BINARY_HEADER: str(len(text))}
    return b"".join([text, *tails]), headers
