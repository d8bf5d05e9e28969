"""Loads an ONNX file without its large constants, which stay on disk until they are asked for.

protobuf reads messages as a whole, and a quantized file of a network of 774 M parameters is a message of
0.8 to 1.6 GB. So the fields of model and graph are found first, and all but the constants' data are parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.protobuf import Data, Field, fields, mapped

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # in ModelProto, GraphProto, TensorProto
_APART = 1024  # bytes; smaller constants are loaded with the model


def load(path: Path) -> tuple[ModelProto, dict[str, Callable[[], Array]]]:
    """The model, and a function for each of its initializers, by name, that reads it.

    Raises:
        ValueError: the file is damaged.
    """
    data = mapped(path)
    model = ModelProto()
    offsets: dict[str, int] = {}
    for field in fields(data):
        if field.number != _GRAPH:
            model.MergeFromString(bytes(data[field.begin : field.end]))
            continue
        parts = []
        for part in fields(data, field.start, field.end):
            if part.number == _INITIALIZER:
                model.graph.initializer.append(_initializer(data, part, offsets))
            else:
                parts.append(data[part.begin : part.end])
        model.graph.MergeFromString(b"".join(parts))
    return model, {t.name: _reading(t, path, offsets.get(t.name)) for t in model.graph.initializer}


def _reading(tensor: TensorProto, path: Path, offset: int | None) -> Callable[[], Array]:
    if offset is None:
        return partial(external_data.array_of, tensor, path.parent)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return partial(np.memmap, path, dtype, "r", offset, tuple(tensor.dims))


def _initializer(data: Data, field: Field, offsets: dict[str, int]) -> TensorProto:
    """The constant; if it is large, without its data, whose offset in the file goes into `offsets`."""
    parts = list(fields(data, field.start, field.end))
    rest = b"".join(data[part.begin : part.end] for part in parts if part.number != _RAW_DATA)
    raw = [part for part in parts if part.number == _RAW_DATA]
    tensor = TensorProto.FromString(rest)
    size = prod(tensor.dims) * np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    if len(raw) != 1 or raw[0].end - raw[0].start != size or size < _APART:
        return TensorProto.FromString(bytes(data[field.start : field.end]))
    offsets[tensor.name] = raw[0].start
    return tensor
