"""Reads and writes the Open Inference Protocol, version 2, over HTTP, with binary tensor data.

https://github.com/kserve/open-inference-protocol (inference_rest.md, extension_binary_data.md). One model,
one version, one float32 input. Clients of Triton and KServe work without changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelparity.modelfiles.formats import FILE_FORMATS
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
    """Inputs and outputs for any batch size: a file with batch 1 is run once per image."""
    return {
        "name": card.model,
        "versions": [VERSION],
        "platform": FILE_FORMATS[card.format].platform,
        "inputs": [_port(port, (3, *card.input_size)) for port in card.inputs],
        "outputs": [_port(port, port.shape[1:]) for port in card.outputs],
    }


def _port(port: Any, axes: tuple[int | str, ...]) -> dict[str, Any]:
    shape = [-1, *(axis if isinstance(axis, int) else -1 for axis in axes)]
    return {"name": port.name, "datatype": _NAMES[port.dtype], "shape": shape}


@dataclass(frozen=True)
class InferRequest:
    """One request; `outputs` maps the requested names to whether each is sent as bytes after the JSON."""

    id: str
    image: Array
    outputs: Mapping[str, bool]


def _bad(words: str) -> RefusalError:
    return RefusalError(400, "protocol", words)


def read_request(body: bytes, header_length: str | None, card: Any, limits: Limits) -> InferRequest:
    """Reads a request with one tensor [N, 3, h, w]. Raises `RefusalError` if it is malformed."""
    tail = b""
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > len(body):
            raise _bad(f"{BINARY_HEADER} is no length within the body")
        body, tail = body[: int(header_length)], body[int(header_length) :]
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise _bad("the request is not JSON") from None
    if not isinstance(request, dict):
        raise _bad("the request is not a JSON object")
    id = request.get("id", "")
    if not isinstance(id, str) or len(id) > 256:
        raise _bad("id is not a text of at most 256 characters")
    return InferRequest(id, _image(request, tail, card, limits), _outputs(request, card))


def _image(request: dict[str, Any], tail: bytes, card: Any, limits: Limits) -> Array:
    (port,) = card.inputs
    inputs = request.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise _bad(f"inputs is not a list of one tensor, {port.name}")
    sent = inputs[0]
    if sent.get("name") != port.name or sent.get("datatype") != _FLOAT:
        raise _bad(f"the input is {port.name}, of datatype {_FLOAT}")
    shape = sent.get("shape")
    fixed = [3, *card.input_size]
    if not (isinstance(shape, list) and shape[1:] == fixed and type(shape[0]) is int and shape[0] >= 1):
        raise _bad(f"the shape of {port.name} is [N, {', '.join(map(str, fixed))}]")
    if shape[0] > limits.batch:
        raise too_large("batch", f"at most {limits.batch} images a request")
    size = int(np.prod(shape))
    parameters = sent.get("parameters")
    binary = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if binary is not None:
        if binary != 4 * size or len(tail) != 4 * size:
            raise _bad(f"{port.name} has {4 * size} bytes, by binary_data_size and behind the JSON")
        flat = np.frombuffer(tail, "<f4")
    else:
        flat = _flat(sent.get("data"), port.name)
    if flat.size != size:
        raise _bad(f"{port.name} has {size} numbers by its shape, and {flat.size} in data")
    if not np.isfinite(flat).all():
        raise _bad(f"{port.name} has values that are not finite")
    return flat.astype(np.float32, copy=False).reshape(shape)


def _flat(data: Any, name: str) -> Array:
    try:
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are refused later
            flat = np.asarray(data, np.float64).astype(np.float32).ravel()
    except (TypeError, ValueError, OverflowError):
        raise _bad(f"data of {name} is not a list of numbers") from None
    if not isinstance(data, list):
        raise _bad(f"data of {name} is not a list of numbers")
    return flat


def _outputs(request: dict[str, Any], card: Any) -> dict[str, bool]:
    known = [port.name for port in card.outputs]
    binary = _flag(request, "binary_data_output", False)
    listed = request.get("outputs")
    if not listed:
        return dict.fromkeys(known, binary)
    if not (isinstance(listed, list) and all(isinstance(item, dict) for item in listed)):
        raise _bad("outputs is not a list of objects")
    names = [item.get("name") for item in listed]
    if not all(name in known for name in names):
        raise _bad(f"the outputs are {', '.join(known)}")
    return {item["name"]: _flag(item, "binary_data", binary) for item in listed}


def _flag(item: dict[str, Any], name: str, default: bool) -> bool:
    parameters = item.get("parameters")
    value = parameters.get(name, default) if isinstance(parameters, dict) else default
    return value is True


def write_response(
    request: InferRequest, outputs: Mapping[str, Array], card: Any
) -> tuple[bytes, dict[str, str]]:
    """The body and its headers: JSON, then the outputs that were requested as bytes, in their order."""
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
