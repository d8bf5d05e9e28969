"""Reads a TFLite file's tables, and checks them as it does: the bytes may be cut or flipped.

Read through the lazy accessors of the schema on a memory map, so that a 3 GB file is never copied. Its
generated code checks no bounds, hence the checks here. Damage shows as one of `DAMAGE`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_T = TypeVar("_T")

# What the accessors and the checks raise on an offset that leads astray; an absent table is None there.
DAMAGE = (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)

_TYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()}
_CODES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_BITS = {"int4": 4, "uint4": 4, "int2": 2, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}
_UNSIZED = {"string", "resource", "variant"}


class Tensor(NamedTuple):
    """A tensor. `constant` tells its stored data from others' (None: computed); shape -1 is dynamic."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: tuple[str, int] | None


class Operator(NamedTuple):
    """An operator with the indices of its tensors; an optional input left out is -1."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any


class Subgraph(NamedTuple):
    """Tensors and operators, with the indices of those that it takes and gives."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Map(np.memmap[Any, Any]):
    """A memory map whose slices do not stop short at the file's end, as the text of a cut file would."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop is not None and key.stop > self.size:
            raise IndexError(f"a text ends at byte {key.stop} of {self.size}")
        return super().__getitem__(key)


class TfliteFile:
    """Subgraphs, signature names and producer of a file. Raises one of `DAMAGE` where it is damaged."""

    def __init__(self, path: Path) -> None:
        self.data = data = _Map(path, mode="r")
        self._size = data.size
        root = int.from_bytes(bytes(data[:4]), "little")
        if not 8 <= root <= self._size - 4:
            raise ValueError(f"its root lies at byte {root} of {self._size}")
        self._model = model = schema.Model.GetRootAs(data, 0)
        if model.Version() != 3:
            raise ValueError(f"its schema version is {model.Version()}, but should be 3")
        self._buffers = [self._stored(buffer) for buffer in _all(model.BuffersLength(), model.Buffers)]
        self._codes = [_name(code) for code in _all(model.OperatorCodesLength(), model.OperatorCodes)]
        self.subgraphs = [self._subgraph(g) for g in _all(model.SubgraphsLength(), model.Subgraphs)]
        self.main, self.names = self._signature()
        self.producer = self._producer()

    def _signature(self) -> tuple[int, dict[int, list[str]]]:
        """The subgraph of the first signature, and that signature's names by tensor index."""
        names: dict[int, list[str]] = {}
        if not self._model.SignatureDefsLength():
            return 0, names
        signature = self._model.SignatureDefs(0)
        for entry in (
            *_all(signature.InputsLength(), signature.Inputs),
            *_all(signature.OutputsLength(), signature.Outputs),
        ):
            names.setdefault(entry.TensorIndex(), []).append(entry.Name().decode())
        return signature.SubgraphIndex(), names

    def _producer(self) -> str:
        words = [(self._model.Description() or b"").decode()]
        if value := (self.metadata("min_runtime_version") or b"").rstrip(b"\0").decode():
            words.append(f"min_runtime_version {value}")
        return " ".join(word for word in words if word)

    def metadata(self, name: str) -> bytes | None:
        """What an entry of that name holds; None if there is none."""
        found = None
        for entry in _all(self._model.MetadataLength(), self._model.Metadata):
            if entry.Buffer() >= len(self._buffers):
                raise ValueError("its metadata lie in a buffer that is not there")
            if entry.Name() == name.encode() and self._buffers[entry.Buffer()]:
                found = self._model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
        return found

    def _stored(self, buffer: Any) -> int:
        """Bytes in a buffer, all of them inside the file."""
        if buffer.Offset() > 1:  # placed behind the flatbuffer, as files above 2 GB do; 1 is a place holder
            if (end := buffer.Offset() + buffer.Size()) > self._size:
                raise ValueError(f"a buffer ends at byte {end} of {self._size}")
            return int(buffer.Size())
        return 0 if buffer.DataIsNone() else int(buffer.DataAsNumpy().size)

    def _subgraph(self, graph: Any) -> Subgraph:
        tensors = tuple(self._tensor(t) for t in _all(graph.TensorsLength(), graph.Tensors))
        operators = tuple(
            self._operator(op, len(tensors)) for op in _all(graph.OperatorsLength(), graph.Operators)
        )
        inputs, outputs = _integers(graph.InputsAsNumpy()), _integers(graph.OutputsAsNumpy())
        _within((*inputs, *outputs), len(tensors), lowest=0)
        made = {i for op in operators for i in op.outputs} | set(inputs)
        for index in outputs:
            if index not in made and not tensors[index].constant:
                raise ValueError(f"no operator makes the output {tensors[index].name!r}")
        return Subgraph(tensors, operators, inputs, outputs)

    def _tensor(self, tensor: Any) -> Tensor:
        name = (tensor.Name() or b"").decode()
        dtype = _TYPES[tensor.Type()]
        shape, signature = _integers(tensor.ShapeAsNumpy()), _integers(tensor.ShapeSignatureAsNumpy())
        # The converter writes 1 into `shape` for each dynamic axis, also for one that merges several.
        if len(signature) == len(shape):
            shape = tuple(-1 if s == -1 else n for n, s in zip(shape, signature, strict=True))
        if any(n < -1 for n in shape):
            raise ValueError(f"tensor {name!r} has the shape {shape}")
        if tensor.ExternalBuffer():
            return Tensor(name, shape, dtype, ("external", tensor.ExternalBuffer()))
        stored = self._buffers[tensor.Buffer()]
        if stored and dtype not in _UNSIZED and tensor.Sparsity() is None:
            needed = -(-prod(shape) * _bits(dtype) // 8)
            if stored != needed:
                raise ValueError(f"tensor {name!r} needs {needed} bytes, its buffer has {stored}")
        return Tensor(name, shape, dtype, ("buffer", tensor.Buffer()) if stored else None)

    def _operator(self, operator: Any, tensors: int) -> Operator:
        if operator.LargeCustomOptionsOffset() + operator.LargeCustomOptionsSize() > self._size:
            raise ValueError("an operator's options lie behind the file's end")
        inputs, outputs = _integers(operator.InputsAsNumpy()), _integers(operator.OutputsAsNumpy())
        _within(inputs, tensors, lowest=-1)
        _within(outputs, tensors, lowest=0)
        return Operator(self._codes[operator.OpcodeIndex()], inputs, outputs, operator)


def _all(length: int, get: Callable[[int], _T]) -> Iterator[_T]:
    return map(get, range(length))  # a length that lies leads behind the file's end, and that raises


def _name(code: Any) -> str:
    # Codes above 127 stand in the newer field alone, old files fill the older one alone.
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    if number not in _CODES:
        raise ValueError(f"operator code {number} is unknown")
    custom = (code.CustomCode() or b"").decode()
    return f"CUSTOM {custom}" if _CODES[number] == "CUSTOM" else _CODES[number]


def _integers(array: Any) -> tuple[int, ...]:
    return () if isinstance(array, int) else tuple(array.tolist())  # an absent vector reads as 0


def _within(indices: tuple[int, ...], tensors: int, *, lowest: int) -> None:
    if any(not lowest <= index < tensors for index in indices):
        raise ValueError(f"tensors {indices} are named, but there are {tensors}")


def _bits(dtype: str) -> int:
    return _BITS.get(dtype) or np.dtype(dtype).itemsize * 8
