"""Reads weights of integers with a scale for each block of a row, and says who rounds what they multiply.

onnxruntime computes a product by such a weight as MatMulNBits, whose kernels round the other operand as they
run: to int8, by the peak of each block of its last axis (`accuracy_level` 4). It makes that operator itself
of a MatMul or a Gemm by a matrix behind DequantizeLinear, with the blocks of the matrix, or with blocks of 32
where this has a scale for each column, or one. So measured with version 1.31, to 3e-7 of the result; a Gemm
whose matrix is stored transposed computes in float.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Edge, Operator
from modelparity.modelfiles.onnx.reading.edges import as_constant, stored

_BLOCK = 32  # of a matrix without blocks of its own
_ROUNDS = 4  # the accuracy_level at which kernels round
_DTYPES = ("int8", "uint8", "int4", "uint4", "int2", "uint2")
_SCALES, _ZERO_POINTS, _ORDER = 2, 3, 4  # inputs of MatMulNBits


def repeated(part: Array, shape: Sequence[int], axis: int, size: int) -> Array:
    """Scales or zero points of blocks of `size` along an axis, one for each element."""
    return np.repeat(part, size, axis=axis)[tuple(map(slice, shape))]


def rounding_reader(edge: Edge | None, matrix: Constant | None, size: int) -> Edge | None:
    """What a product by a matrix reads, if its kernel rounds that by blocks; None if it does not.

    `size` is that of the matrix's own blocks, 0 without any.
    """
    if (
        edge is None
        or matrix is None
        or not isinstance(edge.source, Operator)
        or edge.roundings
        or edge.ranged
    ):
        return None
    if matrix.scale is None or matrix.dtype not in _DTYPES or len(matrix.shape) != 2:
        return None
    return replace(edge, blocks=size or _BLOCK)


def by_blocks(attributes: Mapping[str, Any], inputs: Sequence[Edge | None]) -> tuple[Edge, Constant] | None:
    """What a MatMulNBits reads, and its matrix [K, N]; None if that is not known from the file."""
    given = [*inputs, *[None] * 6]
    packed, scale, zero = (stored(given[place]) for place in (1, _SCALES, _ZERO_POINTS))
    read = given[0]
    if read is None or packed is None or scale is None or given[_ORDER] is not None:
        return None
    if given[_ZERO_POINTS] is not None and (zero is None or zero.dtype != "uint8"):
        return None
    rows, columns, bits, size = (int(attributes[name]) for name in ("K", "N", "bits", "block_size"))
    count = -(-rows // size)
    numbers = _unpacked(packed.read().reshape(columns * count, -1), bits, size)
    integers = numbers.reshape(columns, count * size)[:, :rows].T
    steps = scale.read().astype(np.float32).reshape(columns, count)
    middle = np.full((columns, count), 1 << (bits - 1), np.uint8)
    zeros = middle if zero is None else _unpacked(zero.read().reshape(columns, -1), bits, count)
    made = as_constant(packed.name, np.ascontiguousarray(integers)).source
    assert isinstance(made, Constant)
    matrix = replace(
        made,
        dtype=f"uint{bits}",
        scale=repeated(steps.T, (rows, columns), 0, size),
        zero_point=repeated(zeros.T, (rows, columns), 0, size),
    )
    if attributes.get("accuracy_level", 0) == _ROUNDS:
        read = replace(read, blocks=size)
    return read, matrix


def _unpacked(packed: Array, bits: int, count: int) -> Array:
    """`count` numbers of each row of bytes, the lowest bits first."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    spread = (packed[..., None] >> places) & np.uint8((1 << bits) - 1)
    return spread.reshape(len(packed), -1)[:, :count]
