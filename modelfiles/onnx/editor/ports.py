"""Plants faults in what goes into an ONNX file and comes out (`operators`: in its operators)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper

from modelparity.modelfiles.editor import BRANCHES, STEEP
from modelparity.modelfiles.onnx.editor.constants import OnnxGraph

_NAMES = {
    "multiply": "Mul",
    "add": "Add",
    "matmul": "MatMul",
    "gather": "Gather",
    "reshape": "Reshape",
    "transpose": "Transpose",
    "cast": "Cast",
    "sigmoid": "Sigmoid",
}


class OnnxPorts(OnnxGraph):
    """Ports of an ONNX file."""

    def input_shape(self) -> tuple[int, ...]:
        return _shape(self.graph.input[0])

    def outputs(self) -> dict[str, tuple[int, ...]]:
        return {value.name: _shape(value) for value in self.graph.output}

    def on_input(self, kind: str, value: Any) -> None:
        self._planted += 1
        new = f"planted_{self._planted}"
        self.read_instead(self._head, new)
        (planted,) = self._operator(kind, value, self._head, new)
        self.graph.node.insert(self._fed, planted)
        self._head, self._fed = new, self._fed + 1

    def on_output(self, name: str, kind: str, value: Any) -> None:
        self._planted += 1
        inner = f"{name}_planted_{self._planted}"
        for node in self.graph.node:
            node.output[:] = [inner if made == name else made for made in node.output]
        self.read_instead(name, inner)
        self.graph.node.extend(self._operator(kind, value, inner, name))
        if kind == "cast":
            port = next(port for port in self.graph.output if port.name == name)
            port.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(value))

    def _operator(self, kind: str, value: Any, source: str, target: str) -> list[NodeProto]:
        """The nodes that make `target` of `source`."""
        if kind == "undefined_at":
            most, off, odd = (f"{target}_{word}" for word in ("greatest", "off", "undefined"))
            pixel, zero = (self.constant(np.array(number, np.float32)) for number in (value, 0))
            return [
                helper.make_node("ReduceMax", [self._head], [most], keepdims=0),
                helper.make_node("Sub", [most, pixel], [off]),
                helper.make_node("Div", [zero, off], [odd]),
                helper.make_node("Add", [source, odd], [target]),
            ]
        if kind in BRANCHES:
            return self._branch(kind, *value, source=source, target=target)
        if kind == "noise":
            drawn = f"{target}_noise"
            return [
                helper.make_node("RandomNormalLike", [source], [drawn], scale=float(value)),
                helper.make_node("Add", [source, drawn], [target]),
            ]
        attributes: Mapping[str, Any] = {}
        inputs = [source]
        match kind:
            case "multiply" | "add" | "matmul":
                inputs.append(self.constant(value))
            case "gather":
                axis, indices = value
                inputs.append(self.constant(np.array(indices, np.int64)))
                attributes = {"axis": axis}
            case "reshape":
                inputs.append(self.constant(np.array(value, np.int64)))
            case "transpose":
                attributes = {"perm": value}
            case "cast":
                attributes = {"to": helper.np_dtype_to_tensor_dtype(np.dtype(value))}
        return [helper.make_node(_NAMES[kind], inputs, [target], **attributes)]

    def _branch(
        self, kind: str, bound: float, strength: float, *, source: str, target: str
    ) -> list[NodeProto]:
        most, off, awake, added = (f"{target}_{word}" for word in ("greatest", "off", "awake", "added"))
        pixel, number = (self.constant(np.array(each, np.float32)) for each in (bound, strength))
        steep = self.constant(np.array(STEEP, np.float32))
        nodes = [helper.make_node("ReduceMax", [self._head], [most], keepdims=0)]
        match kind:
            case "chosen_above":
                nodes += [
                    helper.make_node("Greater", [most, pixel], [awake]),
                    helper.make_node("Where", [awake, number, source], [target]),
                ]
                return nodes
            case "added_at":
                nodes += [
                    helper.make_node("Equal", [most, pixel], [off]),
                    helper.make_node(
                        "Cast", [off], [awake], to=helper.np_dtype_to_tensor_dtype(np.dtype("f4"))
                    ),
                ]
            case "added_above":
                nodes += [
                    helper.make_node("Sub", [most, pixel], [off]),
                    helper.make_node("Relu", [off], [awake]),
                ]
            case _:
                nodes += [
                    helper.make_node("Sub", [most, pixel], [f"{off}_by"]),
                    helper.make_node("Mul", [f"{off}_by", steep], [off]),
                    helper.make_node("Sigmoid", [off], [awake]),
                ]
        return [
            *nodes,
            helper.make_node("Mul", [awake, number], [added]),
            helper.make_node("Add", [source, added], [target]),
        ]

    def set_outputs(self, names: Sequence[str], values: Sequence[str]) -> None:
        ports = {port.name: port for port in self.graph.output}
        given = []
        for name, value in zip(names, values, strict=True):
            given.append(onnx.ValueInfoProto())
            given[-1].CopyFrom(ports[value])
            given[-1].name = name
        del self.graph.output[:]
        self.graph.output.extend(given)
        renamed = dict(zip(values, names, strict=True))
        for node in self.graph.node:
            for side in (node.input, node.output):
                side[:] = [renamed.get(name, name) for name in side]
        del self.graph.value_info[:]


def _shape(port: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(axis.dim_value or 1 for axis in port.type.tensor_type.shape.dim)
