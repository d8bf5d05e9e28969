"""Plants faults in an ONNX file's constants (`ports`: in its ports).

Constants of quantized files are found by the names that their recipes give them: `x_quantized`, `x_scale`,
`x_zero_point`, `x_float16`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.editor import Layer, NotApplicableError
from modelparity.modelfiles.onnx.nodes import set_nodes
from modelparity.modelfiles.onnx.operators import traits

_PASSED_ON = {"Cast", "Mul"}  # between an integer product and its bias


class OnnxGraph:
    """Constants of an ONNX file."""

    def __init__(self, source: Path) -> None:
        self.model = onnx.load(source)
        self.graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self._head = self.graph.input[0].name  # what the network reads as its input
        self._fed = 0  # operators between the input and the network
        self._planted = 0
        self.touched: list[str] = []

    def save(self, target: Path) -> None:
        set_nodes(self.graph, list(self.graph.node))  # what nothing reads any more goes
        onnx.save(self.model, target)

    def readers(self, name: str) -> list[NodeProto]:
        return [node for node in self.graph.node if name in node.input]

    def constant(self, array: Array, name: str = "") -> str:
        """The name of a new one."""
        self._planted += 1
        name = name or f"planted_{self._planted}"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        self.constants[name] = self.graph.initializer[-1]
        return name

    def read_instead(self, old: str, new: str) -> None:
        """Whoever reads `old` reads `new`."""
        for node in self.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]

    # --- constants

    def layers(self) -> list[Layer]:
        return list(self._layers())

    def _layers(self) -> Iterator[Layer]:
        for node in self.graph.node:
            if not traits(node.op_type).layer:
                continue
            weight, turned = self._stored(node.input[1])
            if not weight or len(shape := tuple(self.constants[weight].dims)) < 2:
                continue
            kernel = node.op_type.startswith("Conv")
            if any(a.name == "transB" and a.i for a in node.attribute):
                turned = not turned
            axis = 0 if kernel or turned else len(shape) - 1
            yield Layer(node.op_type, weight, shape, axis, self._bias(node, shape[axis]))

    def _stored(self, name: str) -> tuple[str, bool]:
        """The constant that a name goes back to, and whether it is transposed on the way; "" for none."""
        turned = False
        while name not in self.constants:
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in ("DequantizeLinear", "Transpose", "Cast"):
                return "", turned
            turned ^= maker.op_type == "Transpose"
            name = maker.input[0]
        return name, turned

    def _bias(self, node: NodeProto, channels: int) -> str | None:
        if node.op_type in ("Conv", "Gemm"):
            return (self._stored(node.input[2])[0] or None) if len(node.input) > 2 else None
        after = self.readers(node.output[0])
        while len(after) == 1 and after[0].op_type in _PASSED_ON:
            after = self.readers(after[0].output[0])
        if len(after) != 1 or after[0].op_type != "Add":
            return None
        names = (name for name in after[0].input if name in self.constants)
        return next((name for name in names if self.array(name).size == channels), None)

    def array(self, handle: str) -> Array:
        return numpy_helper.to_array(self.constants[handle]).copy()

    def store(self, handle: str, array: Array) -> None:
        tensor = self.constants[handle]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), handle))
        self._touch(handle)

    def name(self, handle: str) -> str:
        return _base(handle)

    def _touch(self, handle: str) -> None:
        """Notes the name. Folding and recipes call a bias otherwise: after its layer's weight, too."""
        self.touched.append(self.name(handle))
        if handle.removesuffix("_quantized").endswith("_bias"):
            weights = [self.name(layer.weight) for layer in self._layers() if layer.bias == handle]
            self.touched += [f"{weight}_bias" for weight in weights]
            self.touched += [f"{weight.removesuffix('.weight')}.bias" for weight in weights]

    # --- int8

    def scales(self, weight: str) -> Array:
        return self.array(f"{_base(weight)}_scale").reshape(-1)

    def set_scales(self, weight: str, scales: Array) -> None:
        name = f"{_base(weight)}_scale"
        self.store(name, scales.reshape(self.array(name).shape))

    def raise_zero_point(self, weight: str) -> None:
        name = f"{_base(weight)}_zero_point"
        if name in self.constants:
            self.store(name, self.array(name) + np.array(1, self.array(name).dtype))
            return
        self.touched.append(self.name(weight))
        one = self.constant(np.array(1, np.int8))
        for node in self.graph.node:
            if traits(node.op_type).layer and self._stored(node.input[1])[0] == weight:
                node.input.append(one)

    def activations(self) -> list[str]:
        return [node.output[0] for node in self.graph.node if node.op_type == "QuantizeLinear"]

    def read_otherwise(self, activation: str, strength: float) -> None:
        scale = self.constant(self.array(f"{_base(activation)}_scale") * np.float32(strength))
        self.touched.append(self.name(activation))
        for node in self.readers(activation):
            node.input[1] = scale

    def float_weights(self) -> str:
        """Every int8 or float16 weight is stored as the float numbers that it stands for."""
        nodes: list[NodeProto] = []
        gone: set[str] = set()  # outputs of what scaled integer products
        count = 0
        for node in self.graph.node:
            weight = node.input[0] if node.op_type == "DequantizeLinear" else ""
            if weight in self.constants and len(self.constants[weight].dims) > 1:
                self._float(weight, node.output[0])
            elif node.op_type in ("ConvInteger", "MatMulInteger"):
                nodes.append(self._float_layer(node, gone))
            elif node.op_type == "Cast" and _is_half(self.constants.get(node.input[0])):
                self.constant(self.array(node.input[0]).astype(np.float32), node.output[0])
            else:
                nodes.append(node)
                continue
            count += 1
        if not count:
            raise NotApplicableError("no int8 or float16 weight")
        kept = [n for n in nodes if n.op_type not in ("Cast", "Mul") or n.output[0] not in gone]
        set_nodes(self.graph, kept)
        return f"{count} layers"

    def _float(self, weight: str, name: str) -> None:
        """A constant called `name`: what the int8 weight stands for."""
        if name in self.constants:
            return
        axis = next(layer.axis for layer in self._layers() if layer.weight == weight)
        values, zero_point = self.array(weight).astype(np.float32), f"{_base(weight)}_zero_point"
        if zero_point in self.constants:
            values -= self.array(zero_point).astype(np.float32).reshape(-1)[0]
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        self.constant(values * self.scales(weight).reshape(shape), name)

    def _float_layer(self, node: NodeProto, gone: set[str]) -> NodeProto:
        """A layer of integers, with the nodes that scale its product, as one float operator."""
        weight, turned = self._stored(node.input[1])
        out = node.output[0].removesuffix("_integer")
        (scaled,) = self.readers(f"{out}_cast")
        gone |= {f"{out}_cast", f"{out}_rescale", *scaled.output}
        name = f"{_base(weight)}_float"
        self._float(weight, name)
        if turned:
            name = self.constant(self.array(name).T)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kind = node.op_type.removesuffix("Integer")
        return helper.make_node(kind, [_base(node.input[0]), name], list(scaled.output), **attributes)


def _base(name: str) -> str:
    for suffix in ("_quantized", "_scale", "_zero_point", "_float16"):
        name = name.removesuffix(suffix)
    return name


def _is_half(tensor: TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == TensorProto.FLOAT16
