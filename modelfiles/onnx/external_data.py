"""Reads the weights that an ONNX file keeps beside it, one at a time.

A protobuf ends at 2 GiB, so larger models have their weights in a file of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, external_data_helper, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from modelparity.fixtures.arrays import Array


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


def rename(source: Path, target: Path, name: str) -> None:
    """Writes `source` again so that it looks for its weights in a file called `name`."""
    model = onnx.load(source, load_external_data=False)
    for tensor in external_data_helper._get_all_tensors(model):
        if uses_external_data(tensor):
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = name
    target.write_bytes(model.SerializeToString(deterministic=True))


def _place(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
