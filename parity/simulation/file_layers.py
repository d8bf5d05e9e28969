"""Says which operators of a file own rounded weights, and how these become PyTorch's layout.

One table for all formats, because operators are told apart by their kinds. What it does not have is not
simulated: a file in which such an operator reads rounded numbers is named (`not_simulated`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import OF_INTEGERS, Edge, Operator

SUM = "sum"  # products of matrices and convolutions: [out, in, ...]
TRANSPOSED = "transposed"  # transposed convolutions: [in, out / groups, ...]
TABLE = "table"  # embeddings: [rows, width]

DYNAMIC_LSTM = "com.microsoft.DynamicQuantizeLSTM"
_GATES = (0, 2, 3, 1)  # PyTorch's input, forget, cell, output among ONNX's input, output, forget, cell


@dataclass(frozen=True)
class Kind:
    """How an operator owns a weight: which of its inputs it multiplies, by which, and adds which.

    `turned` gives the axes of the stored weight in PyTorch's order, by the operator and the weight's rank.
    """

    family: str
    read: int
    weight: int
    bias: int | None = None
    turned: Callable[[Operator, int], tuple[int, ...]] = lambda _, rank: tuple(range(rank))


def _last_two(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def _gemm(operator: Operator, rank: int) -> tuple[int, ...]:
    return tuple(range(rank)) if operator.attributes.get("transB") else _last_two(rank)


def _batch_matmul(operator: Operator, rank: int) -> tuple[int, ...]:
    return tuple(range(rank)) if operator.attributes.get("adjY") else _last_two(rank)


def _out_first(_: Operator, rank: int) -> tuple[int, ...]:
    return (0, rank - 1, *range(1, rank - 1))


def _out_last(_: Operator, rank: int) -> tuple[int, ...]:
    return (rank - 1, *range(rank - 1))


_KINDS: Mapping[str, Kind] = {
    "Conv": Kind(SUM, 0, 1, 2),
    "MatMul": Kind(SUM, 0, 1, None, lambda _, rank: _last_two(rank)),
    "Gemm": Kind(SUM, 0, 1, 2, _gemm),
    "ConvTranspose": Kind(TRANSPOSED, 0, 1, 2),
    "Gather": Kind(TABLE, 1, 0),
    "CONV_2D": Kind(SUM, 0, 1, 2, _out_first),
    "DEPTHWISE_CONV_2D": Kind(SUM, 0, 1, 2, _out_last),
    "FULLY_CONNECTED": Kind(SUM, 0, 1, 2),
    "BATCH_MATMUL": Kind(SUM, 0, 1, None, _batch_matmul),
    "TRANSPOSE_CONV": Kind(TRANSPOSED, 2, 1, 3, _out_last),
    "EMBEDDING_LOOKUP": Kind(TABLE, 0, 1),
    "GATHER": Kind(TABLE, 1, 0),
}
# What readers leave in a graph where they do not understand integers.
_INTEGERS = ("Integer", "QLinear", "QGemm", "Quantize", OF_INTEGERS)


def kind_of(operator: Operator) -> Kind:
    return _KINDS[operator.kind]


def is_narrow(constant: Constant) -> bool:
    """Whether it is stored in fewer bits than float32."""
    return constant.scale is not None or constant.dtype == "float16"


def is_rounded(operator: Operator) -> bool:
    """Whether it is a layer with a rounded weight."""
    kind = _KINDS.get(operator.kind)
    if kind is None or len(operator.inputs) <= max(kind.weight, kind.read):
        return False
    stored, read = operator.inputs[kind.weight], operator.inputs[kind.read]
    if stored is None or not isinstance(stored.source, Constant) or len(stored.source.shape) < 2:
        return False
    if read is None or not isinstance(read.source, Operator):
        return False  # known before any input is
    if kind.family == TABLE:  # of float16, it is a constant as any other
        rows = len(stored.source.shape) == 2 and not operator.attributes.get("axis", 0)
        return rows and stored.source.scale is not None
    return is_narrow(stored.source)


def in_pytorchs_layout(operator: Operator, array: Array) -> Array:
    turned: Array = array.transpose(kind_of(operator).turned(operator, array.ndim))
    return turned


def lstm_weights(operator: Operator) -> Iterator[tuple[str, Array, Array]] | None:
    """Of an LSTM that quantizes as it runs: each matrix's name, values [4 width, in] and steps, in PyTorch's
    order of gates; None if one of them is no constant.

    It stores [directions, in, 4 width], with scales of [directions] or [directions, 4 width]
    (ONNX Runtime, docs/ContribOperators.md, com.microsoft.DynamicQuantizeLSTM).
    """
    sources = [edge.source if edge is not None else None for edge in operator.inputs]
    constants = [sources[place] for place in (1, 8, 9, 2, 10, 11)] if len(sources) > 11 else []
    if not constants or not all(isinstance(one, Constant) for one in constants):
        return None
    return _lstm_weights([one for one in constants if isinstance(one, Constant)])


def _lstm_weights(constants: list[Constant]) -> Iterator[tuple[str, Array, Array]]:
    values = [constant.read().astype(np.float64) for constant in constants]
    for direction in range(constants[0].shape[0]):
        for first in (0, 3):
            stored, scale, zero = (part[direction] for part in values[first : first + 3])
            matrix = ((stored - zero) * scale).T
            step = np.broadcast_to(scale, stored.shape).T
            name = f"{constants[first].name}, direction {direction}"
            yield name, _pytorchs_gates(matrix), _pytorchs_gates(step)


def _pytorchs_gates(matrix: Array) -> Array:
    gates = matrix.reshape(4, -1, matrix.shape[1])
    return np.concatenate([gates[gate] for gate in _GATES])


def not_simulated(operators: Iterable[Operator], biases: Collection[Edge]) -> list[str]:
    """Operators that read or make rounded numbers as the simulation does not, with the reason.

    `biases` are those of layers, which the operator behind a layer may add.
    """
    found = []
    for operator in operators:
        if is_rounded(operator) or (operator.kind == DYNAMIC_LSTM and lstm_weights(operator) is not None):
            continue
        named = f"{operator.kind} {operator.names[0][-60:]}"
        stored = [edge for edge in operator.inputs if edge is not None and isinstance(edge.source, Constant)]
        stored = [edge for edge in stored if edge not in biases and edge.source.scale is not None]  # type: ignore[union-attr]
        if stored:
            found.append(f"{named}, which reads the quantized constant {stored[0].name[-60:]}")
        elif any(word in operator.kind for word in _INTEGERS):
            found.append(f"{named}, which computes in integers")
    return found
