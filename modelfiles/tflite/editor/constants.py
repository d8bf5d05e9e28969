"""Plants faults in a TFLite file's constants (`ports`: in its ports)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.editor import Layer, NotApplicableError
from modelparity.modelfiles.tflite import metadata
from modelparity.modelfiles.tflite.operators import OPERATORS

_CODES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
TYPES = {
    schema.TensorType.BOOL: np.bool_,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT64: np.float64,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
}
TYPE_OF = {np.dtype(dtype): code for code, dtype in TYPES.items()}
_LAYERS = {kind: of for kind, of in OPERATORS.items() if of.layer}


class TfliteGraph:
    """Constants of a TFLite file; a handle is the index of a tensor."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.model = tfl_flatbuffer_utils.read_model(str(source))
        for buffer in self.model.buffers:
            if buffer.data is not None:  # what is no array is packed byte by byte: half a minute
                buffer.data = np.asarray(buffer.data, np.uint8)
        (self._signature,) = self.model.signatureDefs
        self.graph = self.model.subgraphs[self._signature.subgraphIndex]
        self._image = int(self.graph.inputs[0])
        self._head = self._image  # what the network reads as its input
        self._fed = 0  # operators between the two
        self.touched: list[str] = []

    def save(self, target: Path) -> None:
        tfl_flatbuffer_utils.write_model(self.model, str(target))
        card = metadata.read(self._source)
        if card is not None:  # it follows the flatbuffer, so it is not in `model`
            metadata.write(target, card)

    def kind(self, operator: Any) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return _CODES[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def of(self, *kinds: str) -> list[Any]:
        return [operator for operator in self.graph.operators if self.kind(operator) in kinds]

    def shape(self, handle: int) -> tuple[int, ...]:
        shape = self.graph.tensors[handle].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def is_constant(self, handle: int) -> bool:
        return handle >= 0 and self.model.buffers[self.graph.tensors[handle].buffer].data is not None

    def readers(self, handle: int) -> list[Any]:
        return [operator for operator in self.graph.operators if handle in operator.inputs]

    def read_instead(self, old: int, new: int) -> None:
        """Whoever reads `old` reads `new`."""
        for operator in self.graph.operators:
            operator.inputs = [new if index == old else int(index) for index in operator.inputs]

    # --- constants

    def layers(self) -> list[Layer]:
        layers = []
        for operator in self.of(*_LAYERS):
            weight, *bias = (self._stored(int(index)) for index in operator.inputs[1:])
            if not self.is_constant(weight):
                continue
            kind = self.kind(operator)
            own = bias[0] if bias and self.is_constant(bias[0]) else None
            axis = _LAYERS[kind].channel_axis
            assert axis is not None
            layers.append(Layer(kind, weight, self.shape(weight), axis, own))
        return layers

    def _stored(self, handle: int) -> int:
        """The float16 constant that a tensor is widened from; else the tensor itself."""
        for operator in self.of("DEQUANTIZE") if handle >= 0 and not self.is_constant(handle) else ():
            source = int(operator.inputs[0])
            if int(operator.outputs[0]) == handle and self.is_constant(source):
                return source
        return handle

    def name(self, handle: int) -> str:
        """As the float file has it: the quantizer marks activations that it rounded."""
        return str(self.graph.tensors[handle].name.decode()).removesuffix("_quantized")

    def array(self, handle: int) -> Array:
        tensor = self.graph.tensors[handle]
        data = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8)
        return data.view(TYPES[tensor.type]).reshape(self.shape(handle)).copy()

    def store(self, handle: int, array: Array) -> None:
        """Into a buffer of the tensor's own: others may share the one that it had."""
        tensor = self.graph.tensors[handle]
        self.touched.append(self.name(handle))
        shared = sum(
            other.buffer == tensor.buffer for graph in self.model.subgraphs for other in graph.tensors
        )
        if shared > 1:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT())
        self.model.buffers[tensor.buffer].data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def constant(self, array: Array) -> int:
        """The handle of a new one."""
        handle = self.tensor(array.shape, np.dtype(array.dtype))
        self.graph.tensors[handle].buffer = len(self.model.buffers)
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.model.buffers.append(buffer)
        return handle

    def tensor(self, shape: Sequence[int], dtype: np.dtype[Any]) -> int:
        """The handle of a new one that an operator is to fill."""
        made = schema.TensorT()
        made.shape, made.type, made.buffer = list(shape), TYPE_OF[dtype], 0
        made.name = f"planted_{len(self.graph.tensors)}".encode()
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    # --- int8

    def scales(self, weight: int) -> Array:
        return np.array(self.graph.tensors[weight].quantization.scale, np.float32)

    def set_scales(self, weight: int, scales: Array) -> None:
        self.graph.tensors[weight].quantization.scale = scales.astype(np.float32)
        self.touched.append(self.name(weight))

    def raise_zero_point(self, weight: int) -> None:
        quantization = self.graph.tensors[weight].quantization
        quantization.zeroPoint = np.asarray(quantization.zeroPoint, np.int64) + 1
        self.touched.append(self.name(weight))

    def activations(self) -> list[int]:
        fed = (int(operator.inputs[0]) for operator in self.of(*_LAYERS))
        return list(dict.fromkeys(i for i in fed if self.graph.tensors[i].type == schema.TensorType.INT8))

    def read_otherwise(self, activation: int, strength: float) -> None:
        del activation, strength
        raise NotApplicableError("a tensor has one scale, for who writes and who reads it")

    def float_weights(self) -> str:
        """Every int8 or float16 weight is stored as the float numbers that it stands for."""
        count = 0
        for layer in self.layers():
            tensor = self.graph.tensors[layer.weight]
            if tensor.type == schema.TensorType.FLOAT16:
                self._widened(layer.weight)
                count += 1
            if tensor.type != schema.TensorType.INT8:
                continue
            shape = [-1 if axis == layer.axis else 1 for axis in range(len(layer.shape))]
            values = self.array(layer.weight).astype(np.float32) * self.scales(layer.weight).reshape(shape)
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
            self.store(layer.weight, values)
            count += 1
        if not count:
            raise NotApplicableError("no int8 or float16 weight")
        return f"{count} layers"

    def _widened(self, handle: int) -> None:
        """A float16 constant becomes float32, and nothing widens it any more."""
        values = self.array(handle).astype(np.float32)
        self.graph.tensors[handle].type = schema.TensorType.FLOAT32
        self.store(handle, values)
        gone = [operator for operator in self.of("DEQUANTIZE") if int(operator.inputs[0]) == handle]
        self.graph.operators = [operator for operator in self.graph.operators if operator not in gone]
        for operator in gone:
            self.read_instead(int(operator.outputs[0]), handle)
