"""Plants faults in what goes into a TFLite file and comes out (`operators`: in its operators)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelparity.modelfiles.editor import BRANCHES, STEEP
from modelparity.modelfiles.tflite.editor.constants import TYPE_OF, TYPES, TfliteGraph
from modelparity.modelfiles.tflite.operators import traits

_NAMES = {
    "multiply": "MUL",
    "add": "ADD",
    "matmul": "FULLY_CONNECTED",
    "gather": "GATHER",
    "reshape": "RESHAPE",
    "transpose": "TRANSPOSE",
    "cast": "CAST",
    "sigmoid": "LOGISTIC",
}


class TflitePorts(TfliteGraph):
    """Ports of a TFLite file, and operators that are added to it."""

    def input_shape(self) -> tuple[int, ...]:
        return self.shape(self._image)

    def outputs(self) -> dict[str, tuple[int, ...]]:
        names = {port.tensorIndex: port.name.decode() for port in self._signature.outputs}
        return {names[int(index)]: self.shape(int(index)) for index in self.graph.outputs}

    def on_input(self, kind: str, value: Any) -> None:
        operators = len(self.graph.operators)
        old = self._head
        new = self._operator(kind, value, old)
        planted = self.graph.operators[operators:]
        del self.graph.operators[operators:]
        self.read_instead(old, new)
        for operator in planted:
            operator.inputs = [old if index == new else index for index in operator.inputs]
        self.graph.operators[self._fed : self._fed] = planted
        self._head, self._fed = new, self._fed + len(planted)

    def on_output(self, name: str, kind: str, value: Any) -> None:
        port = next(port for port in self._signature.outputs if port.name.decode() == name)
        old = port.tensorIndex
        port.tensorIndex = self._operator(kind, value, old)
        self.graph.outputs = [
            port.tensorIndex if index == old else int(index) for index in self.graph.outputs
        ]

    def _operator(self, kind: str, value: Any, source: int) -> int:
        """Appends the operators that make a new tensor of `source`; its handle."""
        if kind == "undefined_at":
            axes = self.constant(np.arange(len(self.shape(self._image)), dtype=np.int32))
            pixel, zero = (self.constant(np.array(number, np.float32)) for number in (value, 0))
            most = self.add("REDUCE_MAX", [self._image, axes], ())
            odd = self.add("DIV", [zero, self.add("SUB", [most, pixel], ())], ())
            return self.add("ADD", [source, odd], self.shape(source))
        if kind in BRANCHES:
            return self._branch(kind, *value, source=source)
        if kind == "noise":
            shape_of = self.constant(np.array(self.shape(source), np.int32))
            drawn = self.add("RANDOM_STANDARD_NORMAL", [shape_of], self.shape(source), np.float32)
            scaled = self.add("MUL", [drawn, self.constant(np.array(value, np.float32))], self.shape(source))
            return self.add("ADD", [source, scaled], self.shape(source))
        shape = list(self.shape(source))
        inputs = [source]
        options: dict[str, Any] = {}
        match kind:
            case "multiply" | "add":
                inputs.append(self.constant(value))
            case "matmul":
                inputs += [self.constant(np.asarray(value).T), -1]
                options = {"keepNumDims": True}
            case "gather":
                axis, indices = value
                inputs.append(self.constant(np.array(indices, np.int32)))
                shape[axis] = len(indices)
                options = {"axis": axis}
            case "reshape":
                shape = [1 if n == -1 else int(n) for n in value]
                inputs.append(self.constant(np.array(shape, np.int32)))
                options = {"newShape": shape}
            case "transpose":
                inputs.append(self.constant(np.array(value, np.int32)))
                shape = [shape[axis] for axis in value]
            case "cast":
                code = TYPE_OF[np.dtype(value)]
                options = {"inDataType": self.graph.tensors[source].type, "outDataType": code}
        return self.add(_NAMES[kind], inputs, shape, value if kind == "cast" else None, **options)

    def _branch(self, kind: str, bound: float, strength: float, *, source: int) -> int:
        axes = self.constant(np.arange(len(self.shape(self._image)), dtype=np.int32))
        pixel, number = (self.constant(np.array(each, np.float32)) for each in (bound, strength))
        most = self.add("REDUCE_MAX", [self._image, axes], ())
        match kind:
            case "chosen_above":
                awake = self.add("GREATER", [most, pixel], (), np.bool_)
                return self.add("SELECT_V2", [awake, number, source], self.shape(source), np.float32)
            case "added_at":
                equal = self.add("EQUAL", [most, pixel], (), np.bool_)
                codes = {name: TYPE_OF[np.dtype(name)] for name in ("bool", "float32")}
                options = {"inDataType": codes["bool"], "outDataType": codes["float32"]}
                awake = self.add("CAST", [equal], (), np.float32, **options)
            case "added_above":
                awake = self.add("RELU", [self.add("SUB", [most, pixel], ())], ())
            case _:
                steep = self.constant(np.array(STEEP, np.float32))
                off = self.add("MUL", [self.add("SUB", [most, pixel], ()), steep], ())
                awake = self.add("LOGISTIC", [off], ())
        return self.add("ADD", [source, self.add("MUL", [awake, number], ())], self.shape(source))

    def add(
        self, kind: str, inputs: Sequence[int], shape: Sequence[int], dtype: Any = None, **options: Any
    ) -> int:
        """Appends an operator of one output, of its first input's type unless `dtype` says another."""
        number = getattr(schema.BuiltinOperator, kind)
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        own = np.dtype(dtype or TYPES[self.graph.tensors[inputs[0]].type])
        operator.inputs, operator.outputs = list(inputs), [self.tensor(shape, own)]
        if name := traits(kind).options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(schema, f"{name}T")()
            for option, setting in options.items():
                setattr(operator.builtinOptions, option, setting)
        self.graph.operators.append(operator)
        return int(operator.outputs[0])

    def set_outputs(self, names: Sequence[str], values: Sequence[str]) -> None:
        ports = {port.name.decode(): port for port in self._signature.outputs}
        places = [ports[value].tensorIndex for value in values]
        self._signature.outputs = []
        for name, place in zip(names, places, strict=True):
            port = schema.TensorMapT()
            port.name, port.tensorIndex = name.encode(), place
            self._signature.outputs.append(port)
        self.graph.outputs = places
