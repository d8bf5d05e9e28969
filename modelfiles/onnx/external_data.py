"""Weights that an ONNX file keeps beside it, read one at a time.

A protobuf ends at 2 GiB, so larger models have their weights in a file of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

Array = np.ndarray[Any, Any]


def array_of(tensor: TensorProto, folder: Path) -> Array:
    """Its values; external ones are mapped, and unmapped with the array."""
    if not uses_external_data(tensor):
        return numpy_helper.to_array(tensor)
    place = _place(tensor)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    path, offset = folder / place["location"], int(place.get("offset", 0))
    return np.memmap(path, dtype, "r", offset, tuple(tensor.dims))


def files_of(model: ModelProto) -> list[str]:
    """The files that the model's weights are in, relative to its own."""
    return sorted({_place(t)["location"] for t in model.graph.initializer if uses_external_data(t)})


def embed(model: ModelProto, folder: Path) -> None:
    """Takes what is left of the external weights into the model."""
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(array_of(tensor, folder)), tensor.name))


def _place(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
