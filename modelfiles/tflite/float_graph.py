"""Reads a TFLite file as a `Graph` of float operators, whatever of them it computes in integers.

Operators keep their names in this format; what changes is the type of their tensors. So QUANTIZE and
DEQUANTIZE steps are left out, a tensor of integers is a rounding of its activation, and a constant of
integers or float16 is the float one. Hybrid operators (int8 weights, float activations) are float
operators with such a constant.

Some operators have a fixed output scale, others the scale of their input
(`modelparity.modelfiles.tflite.operators`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Edge, Graph, Operator, QuantizationParams
from modelparity.modelfiles.tflite.constants import File
from modelparity.modelfiles.tflite.operators import traits
from modelparity.modelfiles.tflite.ranges import observed_ranges
from modelparity.modelfiles.tflite.reader import Operator as Stored

__all__ = ["File", "graph_of", "observed_ranges"]

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_OF_QUANTIZATION = (
    "asymmetricQuantizeInputs",
    "quantizedBiasType",
    "quantSpec",
)  # options of no float operator


def graph_of(path: Path) -> Graph:
    """Every subgraph's outputs; those of the first signature by its names."""
    file = File(path)
    outputs: list[tuple[str, Edge]] = []
    shared: list[tuple[QuantizationParams, QuantizationParams]] = []
    for number, graph in enumerate(file.subgraphs):
        reader = _Reader(file, number)
        for operator in graph.operators:
            reader.read(operator)
        names = file.names if number == file.main else {}
        for place, index in enumerate(graph.outputs):
            known = names.get(index, [])
            name = known.pop(0) if known else f"{place} of subgraph {number}"
            outputs.append((name, reader.edges[index]))
        shared += reader.shared
    return Graph(tuple(outputs), tuple(shared))


class _Reader:
    """One subgraph; `edges` are what its tensors stand for, by index."""

    def __init__(self, file: File, number: int) -> None:
        self._file, self._number = file, number
        self._names = file.labels[number]
        self._tensors = file.subgraphs[number].tensors
        self.edges: dict[int, Edge] = {}
        self.shared: list[tuple[QuantizationParams, QuantizationParams]] = []
        for place, index in enumerate(file.subgraphs[number].inputs):
            attributes = {"place": place, "name": file.names.get(index)}
            self.edges[index] = self._out(index, Operator("input", attributes, (), (self._names[index],)), 0)

    def read(self, operator: Stored) -> None:
        inputs = [self._in(index) for index in operator.inputs]
        first = inputs[0] if inputs else None
        if operator.name in ("QUANTIZE", "DEQUANTIZE") and first is not None and self._folds(operator, first):
            rounding = self._rounding(operator.outputs[0])
            self.edges[operator.outputs[0]] = (
                replace(first, roundings=(*first.roundings, rounding)) if rounding else first
            )
            return
        operands = traits(operator.name).operands
        if operands is not None:
            self._hybrid(operator, inputs, *operands[:2])
        if operands is not None and operands[2] is not None:
            self._layer(operator, inputs, operands)
        names = tuple(self._names[index] for index in operator.outputs)
        made = Operator(operator.name, _options(operator.table), tuple(inputs), names)
        for place, index in enumerate(operator.outputs):
            self.edges[index] = edge = self._out(index, made, place)
            if traits(operator.name).same_scale and edge.roundings:
                read = [i.roundings[-1] for i in inputs if i is not None and i.roundings]
                self.shared += [(edge.roundings[0], rounding) for rounding in read]

    def _folds(self, operator: Stored, edge: Edge) -> bool:
        """Whether the step may be left out: not where it would quantize a float constant as it runs."""
        return operator.name == "DEQUANTIZE" or not isinstance(edge.source, Constant)

    def _in(self, index: int) -> Edge | None:
        if index < 0:
            return None
        if index not in self.edges:
            self.edges[index] = Edge(self._file.constant(self._number, index))
        return self.edges[index]

    def _out(self, index: int, made: Operator, place: int) -> Edge:
        rounding = self._rounding(index)
        if rounding is None:
            return Edge(made, place)
        return Edge(made, place, (replace(rounding, fixed=traits(made.kind).fixed),))

    def _rounding(self, index: int) -> QuantizationParams | None:
        step = self._file.quantization(self._number, index)
        limits = _LIMITS.get(self._tensors[index].dtype)
        if step is None or limits is None:
            return None
        return QuantizationParams(float(step[0][0]), int(step[1][0]), *limits)

    def _hybrid(
        self, operator: Stored, inputs: list[Edge | None], activation_at: int, weight_at: int
    ) -> None:
        """Kernels of integer weights that read floats quantize these as they run."""
        activation, weight = inputs[activation_at], inputs[weight_at]
        if activation is None or weight is None or not isinstance(weight.source, Constant):
            return
        dtypes = [self._tensors[operator.inputs[place]].dtype for place in (activation_at, weight_at)]
        if dtypes[0] == "float32" and dtypes[1].startswith("int") and weight.source.scale is not None:
            inputs[activation_at] = replace(activation, ranged=True)

    def _layer(
        self, operator: Stored, inputs: list[Edge | None], places: tuple[int, int, int | None]
    ) -> None:
        """Tells its integers what the specification asks: "zero_point = 0", and of a bias "(scale,
        zero_point) = (input0_scale * input1_scale[...], 0)"."""
        activation_at, weight_at, bias_at = places
        assert bias_at is not None
        for place in (weight_at, bias_at):
            edge = inputs[place] if place < len(inputs) else None
            if edge is None or not isinstance(edge.source, Constant) or edge.source.scale is None:
                continue
            if self._tensors[operator.inputs[place]].dtype.startswith("int"):  # no DEQUANTIZE between
                inputs[place] = Edge(replace(edge.source, symmetric=True))
        activation, weight, bias = (
            inputs[place] if place < len(inputs) else None for place in (activation_at, weight_at, bias_at)
        )
        if activation is None or weight is None or bias is None or not activation.roundings:
            return
        if isinstance(bias.source, Constant) and isinstance(weight.source, Constant):
            scale = weight.source.scale
            if bias.source.scale is not None and scale is not None:
                product = np.float64(activation.roundings[-1].scale) * scale.astype(np.float64).reshape(-1)
                inputs[bias_at] = Edge(replace(bias.source, product=product))


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
