"""Reads the constants of a TFLite file, with their scales and zero points."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from math import prod

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.tflite.reader import Tensor, TfliteFile

_NARROW = {"int4": 4, "uint4": 4, "int2": 2}  # bits


class File(TfliteFile):
    """A file whose constants can be read."""

    @cached_property
    def labels(self) -> list[list[str]]:
        """The tensors' names a subgraph, made unique: the format does not ask for that."""
        labels = []
        for graph in self.subgraphs:
            counts = Counter(tensor.name for tensor in graph.tensors)
            indexed = enumerate(graph.tensors)
            labels.append([f"{t.name} ({i})" if counts[t.name] > 1 else t.name for i, t in indexed])
        return labels

    def constant(self, graph: int, index: int) -> Constant:
        tensor = self.subgraphs[graph].tensors[index]
        name = self.labels[graph][index]
        constant = Constant(name, tensor.dtype, tensor.shape, lambda: self._read(tensor))
        step = self.quantization(graph, index)
        if step is None:
            return constant
        scale, zero_point, axis = step
        shape = [1] * len(tensor.shape)
        if scale.size > 1:
            shape[axis] = scale.size
        zero_point = np.broadcast_to(zero_point, scale.shape)
        return replace(constant, scale=scale.reshape(shape), zero_point=zero_point.reshape(shape))

    def quantization(self, graph: int, index: int) -> tuple[Array, Array, int] | None:
        """Scales, zero points and the axis they go along; None for a tensor of floats."""
        table = self._model.Subgraphs(graph).Tensors(index).Quantization()
        if table is None or not table.ScaleLength():
            return None
        return table.ScaleAsNumpy(), table.ZeroPointAsNumpy(), table.QuantizedDimension()

    def _read(self, tensor: Tensor) -> Array:
        where, number = tensor.constant or ("", 0)
        if where != "buffer":
            raise ValueError(f"{tensor.name!r} has its numbers outside the file")
        buffer = self._model.Buffers(number)
        if buffer.Offset() > 1:
            data = self._model._tab.Bytes[buffer.Offset() : buffer.Offset() + buffer.Size()]
        else:
            data = buffer.DataAsNumpy()
        if tensor.dtype in _NARROW:
            return _unpacked(np.frombuffer(data, np.uint8), tensor)
        return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)


def _unpacked(packed: Array, tensor: Tensor) -> Array:
    """Numbers of less than a byte, the lowest bits first; those with a sign as int8."""
    bits = _NARROW[tensor.dtype]
    places = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = ((packed[:, None] >> places) & np.uint8((1 << bits) - 1)).reshape(-1)[: prod(tensor.shape)]
    numbers = numbers.reshape(tensor.shape)
    if tensor.dtype.startswith("u"):
        return numbers
    signed: Array = (numbers << np.uint8(8 - bits)).astype(np.int8) >> (8 - bits)
    return signed
