"""An ONNX file without its large constants, which stay on disk until they are asked for.

protobuf reads a message whole; a quantized file of a network of 774 M parameters is a message of
0.8 to 1.6 GB. So the fields of model and graph are told apart here (protobuf's encoding: a tag, which
is number << 3 | wire type, then a varint, 4 or 8 bytes, or a length and as many bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, helper

from modelparity.modelfiles.onnx import external_data

Array = np.ndarray[Any, Any]

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # in ModelProto, GraphProto, TensorProto
_APART = 1024  # bytes; smaller constants stay in the message


class _Field(NamedTuple):
    """`start` and `end` of what it holds; `begin` is where its tag is."""

    number: int
    begin: int
    start: int
    end: int


def load(path: Path) -> tuple[ModelProto, dict[str, Callable[[], Array]]]:
    """The model, and how to read each of its initializers by name. Raises ValueError if damaged."""
    data = np.memmap(path, np.uint8, "r")
    parts: list[bytes] = []
    places: dict[str, int] = {}
    for field in _fields(data, 0, len(data)):
        if field.number != _GRAPH:
            parts.append(data[field.begin : field.end].tobytes())
            continue
        graph = b"".join(
            _without_data(data, inner, places)
            if inner.number == _INITIALIZER
            else data[inner.begin : inner.end].tobytes()
            for inner in _fields(data, field.start, field.end)
        )
        parts.append(_tagged(_GRAPH, graph))
    model = ModelProto.FromString(b"".join(parts))
    return model, {t.name: _reading(t, path, places.get(t.name)) for t in model.graph.initializer}


def _reading(tensor: TensorProto, path: Path, place: int | None) -> Callable[[], Array]:
    if place is None:
        return partial(external_data.array_of, tensor, path.parent)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return partial(np.memmap, path, dtype, "r", place, tuple(tensor.dims))


def _without_data(data: Array, initializer: _Field, places: dict[str, int]) -> bytes:
    """The initializer; where its data are noted in `places` instead, if they are large."""
    fields = list(_fields(data, initializer.start, initializer.end))
    rest = b"".join(data[f.begin : f.end].tobytes() for f in fields if f.number != _RAW_DATA)
    raw = [f for f in fields if f.number == _RAW_DATA]
    tensor = TensorProto.FromString(rest)
    size = prod(tensor.dims) * np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    if len(raw) != 1 or raw[0].end - raw[0].start != size or size < _APART:
        return data[initializer.begin : initializer.end].tobytes()
    places[tensor.name] = raw[0].start
    return _tagged(_INITIALIZER, rest)


def _fields(data: Array, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        begin = start
        tag, start = _varint(data, start)
        wire = tag & 7
        if wire == 2:
            length, start = _varint(data, start)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        elif wire == 0:
            length = _varint(data, start)[1] - start
        else:
            raise ValueError(f"wire type {wire} at byte {begin}")
        if start + length > end:
            raise ValueError(f"a field ends at byte {start + length} of {end}")
        yield _Field(tag >> 3, begin, start, start + length)
        start += length


def _varint(data: Array, start: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = 0
    for place, byte in enumerate(data[start : start + 10].tolist()):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, start + place + 1
    raise ValueError(f"a number that does not end at byte {start}")


def _tagged(number: int, content: bytes) -> bytes:
    length, encoded = len(content), bytearray([number << 3 | 2])
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length]) + content
