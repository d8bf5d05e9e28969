"""A TFLite file as a `Graph` of float operators, whatever of them it computes in integers.

Operators keep their names in this format; what changes is the type of their tensors. So QUANTIZE and
DEQUANTIZE steps are left out, a tensor of integers is a rounding of its activation, and a constant of
integers or float16 is the float one. Hybrid operators (int8 weights, float activations) are float
operators with such a constant.

What scales and zero points may be is the TFLite 8-bit quantization specification
(https://ai.google.dev/edge/litert/models/quantization_spec): some operators have a fixed output scale,
others the scale of their input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.lineage import Graph, Operator, Rounding, Wire
from converters.lineage_constants import Array, Constant
from converters.lineage_tflite_ranges import observed_ranges
from converters.tflite_file import Operator as Stored
from converters.tflite_file import Tensor, TfliteFile

__all__ = ["File", "graph_of", "observed_ranges"]

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_LAYERS = {  # where they read activations, weights and bias
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (0, 1, 2)),
    "TRANSPOSE_CONV": (2, 1, 3),
}
# The specification, "int8 quantized operator specifications": scale and zero point of the output ...
_FIXED = {
    "SOFTMAX": (1 / 256, -128),
    "LOGISTIC": (1 / 256, -128),
    "LOG_SOFTMAX": (16 / 256, 127),
    "TANH": (1 / 128, 0),
    "L2_NORMALIZATION": (1 / 128, 0),
}
# ... and "Input and outputs must all have same scale/zero_point", which kernels then take for granted;
_SAME_SCALE = {
    *("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "GATHER", "RESHAPE", "RESIZE_BILINEAR", "PAD"),
    *("PADV2", "SLICE", "SQUEEZE", "TRANSPOSE", "MAXIMUM", "MINIMUM", "SPACE_TO_DEPTH"),
    *("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
    # it is silent on these, which copy integers, too.
    *("STRIDED_SLICE", "SPLIT", "PACK", "UNPACK", "EXPAND_DIMS", "BROADCAST_TO", "DEPTH_TO_SPACE"),
    "RESIZE_NEAREST_NEIGHBOR",
}
_OF_QUANTIZATION = (
    "asymmetricQuantizeInputs",
    "quantizedBiasType",
    "quantSpec",
)  # options of no float operator


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
        return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)


def graph_of(path: Path) -> Graph:
    """Every subgraph's outputs; those of the first signature by its names."""
    file = File(path)
    outputs: list[tuple[str, Wire]] = []
    shared: list[tuple[Rounding, Rounding]] = []
    for number, graph in enumerate(file.subgraphs):
        reader = _Reader(file, number)
        for operator in graph.operators:
            reader.read(operator)
        names = file.names if number == file.main else {}
        for place, index in enumerate(graph.outputs):
            known = names.get(index, [])
            name = known.pop(0) if known else f"{place} of subgraph {number}"
            outputs.append((name, reader.wires[index]))
        shared += reader.shared
    return Graph(tuple(outputs), tuple(shared))


class _Reader:
    """One subgraph; `wires` are what its tensors stand for, by index."""

    def __init__(self, file: File, number: int) -> None:
        self._file, self._number = file, number
        self._names = file.labels[number]
        self._tensors = file.subgraphs[number].tensors
        self.wires: dict[int, Wire] = {}
        self.shared: list[tuple[Rounding, Rounding]] = []
        for place, index in enumerate(file.subgraphs[number].inputs):
            attributes = {"place": place, "name": file.names.get(index)}
            self.wires[index] = self._out(index, Operator("input", attributes, (), (self._names[index],)), 0)

    def read(self, operator: Stored) -> None:
        inputs = [self._in(index) for index in operator.inputs]
        first = inputs[0] if inputs else None
        if operator.name in ("QUANTIZE", "DEQUANTIZE") and first is not None and self._folds(operator, first):
            rounding = self._rounding(operator.outputs[0])
            self.wires[operator.outputs[0]] = (
                replace(first, roundings=(*first.roundings, rounding)) if rounding else first
            )
            return
        if operator.name in _LAYERS:
            self._layer(operator, inputs)
        names = tuple(self._names[index] for index in operator.outputs)
        made = Operator(operator.name, _options(operator.table), tuple(inputs), names)
        for place, index in enumerate(operator.outputs):
            self.wires[index] = wire = self._out(index, made, place)
            if operator.name in _SAME_SCALE and wire.roundings:
                read = [i.roundings[-1] for i in inputs if i is not None and i.roundings]
                self.shared += [(wire.roundings[0], rounding) for rounding in read]

    def _folds(self, operator: Stored, wire: Wire) -> bool:
        """Whether the step may be left out: not where it would quantize a float constant as it runs."""
        return operator.name == "DEQUANTIZE" or not isinstance(wire.source, Constant)

    def _in(self, index: int) -> Wire | None:
        if index < 0:
            return None
        if index not in self.wires:
            self.wires[index] = Wire(self._file.constant(self._number, index))
        return self.wires[index]

    def _out(self, index: int, made: Operator, place: int) -> Wire:
        rounding = self._rounding(index)
        if rounding is None:
            return Wire(made, place)
        return Wire(made, place, (replace(rounding, fixed=_FIXED.get(made.kind)),))

    def _rounding(self, index: int) -> Rounding | None:
        step = self._file.quantization(self._number, index)
        limits = _LIMITS.get(self._tensors[index].dtype)
        if step is None or limits is None:
            return None
        return Rounding(float(step[0][0]), int(step[1][0]), *limits)

    def _layer(self, operator: Stored, inputs: list[Wire | None]) -> None:
        """Tells its integers what the specification asks: "zero_point = 0", and of a bias "(scale,
        zero_point) = (input0_scale * input1_scale[...], 0)"."""
        places = _LAYERS[operator.name]
        for place in places[1:]:
            wire = inputs[place] if place < len(inputs) else None
            if wire is None or not isinstance(wire.source, Constant) or wire.source.scale is None:
                continue
            if self._tensors[operator.inputs[place]].dtype.startswith("int"):  # no DEQUANTIZE between
                inputs[place] = Wire(replace(wire.source, symmetric=True))
        activation, weight, bias = (inputs[place] if place < len(inputs) else None for place in places)
        if activation is None or weight is None or bias is None or not activation.roundings:
            return
        if isinstance(bias.source, Constant) and isinstance(weight.source, Constant):
            scale = weight.source.scale
            if bias.source.scale is not None and scale is not None:
                product = np.float64(activation.roundings[-1].scale) * scale.astype(np.float64).reshape(-1)
                inputs[places[2]] = Wire(replace(bias.source, product=product))


def _options(table: Any) -> Mapping[str, Any]:
    """An operator's options by name, less those that only quantized operators have."""
    operator = schema.OperatorT.InitFromObj(table)
    found: dict[str, Any] = {}
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for name, value in vars(options).items() if options is not None else ():
            if name not in _OF_QUANTIZATION:
                found[name] = value.tolist() if isinstance(value, np.ndarray) else value
    if operator.customOptions is not None:
        found["custom options"] = bytes(operator.customOptions)
    return found
