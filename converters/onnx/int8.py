"""Rewrites the layers of an ONNX graph to int8.

onnxruntime's quantizers, measured with onnxruntime 1.31, give other numbers:

- `quantize_dynamic` quantizes a convolution's weight per tensor.
- `quantize_static` takes max |w| / 127 as the step of every channel, so that products saturate on x86 CPUs
  without VNNI (`pair_peak`). It also computes the activations' scales otherwise from the same ranges (on
  ObjectFormer 29 of 153 are the same), and rounds the output of a convolution both before and after its Relu
  (on LaDeDa 33 roundings more).

Layers are the operators that own weights: `MatMul` and `Gemm` by a constant matrix, `Conv` with a
constant kernel. int8 weights are symmetric per output channel, in steps of which no CPU's sum of two
products saturates (`pair_peak`); activations are uint8 per tensor with a zero point (Jacob et al.,
arXiv:1712.05877, section 2). That pair of types is the one onnxruntime's CPU kernels are fastest with. A
quantized weight `w` is stored as `w_quantized`, in w's own layout, beside `w_scale`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from modelparity.fixtures.arrays import Array
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.modelfiles.constants import pair_peak
from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.nodes import set_nodes, shapes_of

Ranges = Mapping[str, tuple[float, float]]


def stays_float(
    node: NodeProto, shapes: Mapping[str, tuple[int, ...]], keep_float: Iterable[KeepFloat]
) -> bool:
    own = [shapes[name] for name in node.input if name in shapes]
    return any(entry.matches(node.op_type, node.output, own) for entry in keep_float)


def quantized_weight(weight: Array, axis: int) -> tuple[Array, Array]:
    """int8 values in -127..127, and their float32 scales [channels] along `axis`, due to `pair_peak`.

    A channel of zeros takes the coarsest scale of the others: its bias is rounded in steps of it.
    """
    scale = (pair_peak(weight.astype(np.float64), axis) / 127).astype(np.float32)
    scale = scale.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
    scale = np.where(scale > 0, scale, scale.max() or np.float32(1))
    return np.rint(weight / scale).astype(np.int8), scale.reshape(-1)


def about_128(values: Array) -> Array:
    """int8 values as uint8 with a zero point of 128: the same integers."""
    return (values.astype(np.int16) + 128).astype(np.uint8)


def affine(low: float, high: float) -> tuple[Array, Array]:
    """uint8 scale and zero point of a range, widened to hold 0 so that padding is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)


class _Rewriter:
    """Goes through the graph in order; a subclass says what becomes of a layer.

    `folder` is where the graph's external data are.
    """

    def __init__(self, graph: GraphProto, keep_float: Sequence[KeepFloat], folder: Path = Path()) -> None:
        self.graph = graph
        self.folder = folder
        self.weights = {w.name: w for w in graph.initializer if w.data_type == TensorProto.FLOAT}
        self.nodes: list[NodeProto] = []
        self.done: dict[str, str] = {}  # weight or activation -> name of its quantized form
        shapes = shapes_of(graph)
        self.layers = [
            node for node in graph.node if self._is_layer(node) and not stays_float(node, shapes, keep_float)
        ]

    def _is_layer(self, node: NodeProto) -> bool:
        if node.op_type not in ("MatMul", "Gemm", "Conv"):
            return False
        if any(name and name not in self.weights for name in node.input[1:]):
            return False
        scaled = any(a.name in ("alpha", "beta") and a.f != 1 for a in node.attribute)
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        matrix = len(self.weights[node.input[1]].dims) == 2
        return (node.op_type == "Conv" or matrix) and not scaled and not turned

    def rewrite(self) -> None:
        layers = {node.output[0] for node in self.layers}
        for node in self.graph.node:
            if node.output[0] in layers:
                self.layer(node)
            else:
                self.keep(node)
        set_nodes(self.graph, self.nodes)

    def layer(self, node: NodeProto) -> None:
        raise NotImplementedError

    def keep(self, node: NodeProto) -> None:
        self.nodes.append(node)

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, outputs, f"{outputs[0]}_{kind}", **attributes))

    def constant(self, name: str, array: Array) -> str:
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def array(self, name: str) -> Array:
        return external_data.array_of(self.weights[name], self.folder)


class Dynamic(_Rewriter):
    """Activations are quantized per tensor as they come; an integer product is scaled back to float."""

    def layer(self, node: NodeProto) -> None:
        activation, weight, output = node.input[0], node.input[1], node.output[0]
        if activation not in self.done:
            names = [f"{activation}_quantized", f"{activation}_scale", f"{activation}_zero_point"]
            self.add("DynamicQuantizeLinear", [activation], names)
            self.done[activation] = names[0]
        ones = [1] * (len(self.weights[weight].dims) - 2)  # behind the channels of a convolution
        if weight not in self.done:
            self.done[weight] = self._weight(node, ones)
        bias = node.input[2] if len(node.input) > 2 else ""
        if bias and ones:
            bias = self.constant(f"{output}_bias", self.array(bias).reshape(-1, *ones))
        convolution = node.op_type == "Conv"
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute} if convolution else {}
        kind = "ConvInteger" if convolution else "MatMulInteger"
        operands = [self.done[activation], self.done[weight], f"{activation}_zero_point"]
        if convolution:
            operands.append(f"{weight}_zero_point")
        unbiased = f"{output}_unbiased" if bias else output
        self.add(kind, operands, [f"{output}_integer"], **attributes)
        self.add("Cast", [f"{output}_integer"], [f"{output}_cast"], to=TensorProto.FLOAT)
        self.add("Mul", [f"{activation}_scale", f"{weight}_scale"], [f"{output}_rescale"])
        self.add("Mul", [f"{output}_cast", f"{output}_rescale"], [unbiased])
        if bias:
            self.add("Add", [unbiased, bias], [output])

    def _weight(self, node: NodeProto, ones: Sequence[int]) -> str:
        weight, axis = node.input[1], _channel_axis(node)
        values, scale = quantized_weight(self.array(weight), axis)
        self.constant(f"{weight}_scale", scale.reshape(-1, *ones))
        if node.op_type == "Conv":
            # The same integers, moved by 128: onnxruntime before 1.24 has no ConvInteger of int8 weights.
            self.constant(f"{weight}_zero_point", np.array(128, np.uint8))
            return self.constant(f"{weight}_quantized", about_128(values))
        stored = self.constant(f"{weight}_quantized", values)
        if axis == 1:
            return stored
        self.add("Transpose", [stored], [f"{weight}_transposed"], perm=[1, 0])  # folded as the file loads
        return f"{weight}_transposed"


class Static(_Rewriter):
    """Calibrated `QuantizeLinear`/`DequantizeLinear` pairs, which the runtime fuses into the layers.

    Quantized are the inputs of layers and the outputs of convolutions: onnxruntime multiplies int8
    matrices into a float output, which loses less, but its int8 convolution has an int8 output.
    """

    ranges: Ranges

    def __init__(self, graph: GraphProto, keep_float: Sequence[KeepFloat], folder: Path = Path()) -> None:
        super().__init__(graph, keep_float, folder)
        readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        self.rounded: set[str] = set()  # outputs of convolutions, past the Relu that alone reads them
        for node in self.layers:
            if node.op_type == "Conv":
                after = readers.get(node.output[0], [])
                relu = len(after) == 1 and after[0].op_type == "Relu"
                self.rounded.add(after[0].output[0] if relu else node.output[0])

    def activations(self) -> list[str]:
        """What to calibrate."""
        return sorted({node.input[0] for node in self.layers} | self.rounded)

    def layer(self, node: NodeProto) -> None:
        activation, weight, axis = node.input[0], node.input[1], _channel_axis(node)
        if activation not in self.done:
            self.done[activation] = activation
            if activation not in self.rounded:
                self.done[activation] = f"{activation}_dequantized"
                self._round(activation, activation, f"{activation}_dequantized")
        values, scale = quantized_weight(self.array(weight), axis)
        bias = step = None
        if len(node.input) > 2:
            step = scale * affine(*self.ranges[activation])[0]  # the integer product's own step
            bias = np.rint(self.array(node.input[2]) / step)
            if np.abs(bias).max(initial=0) > np.iinfo(np.int32).max:
                # A channel of next to no weights, so that its bias has no int32 in such steps.
                node.input[0] = self.done[activation]
                self.keep(node)
                return
        if weight not in self.done:
            self.done[weight] = self._dequantized(weight, values, scale, axis)
        node.input[0], node.input[1] = self.done[activation], self.done[weight]
        if bias is not None and step is not None:
            node.input[2] = self._dequantized(f"{node.output[0]}_bias", bias.astype(np.int32), step, 0)
        self.keep(node)

    def keep(self, node: NodeProto) -> None:
        self.nodes.append(node)
        name = node.output[0]
        if name in self.rounded:
            node.output[0] = f"{name}_unrounded"
            self._round(name, node.output[0], name)

    def _round(self, name: str, source: str, target: str) -> None:
        scale, zero_point = affine(*self.ranges[name])
        step = [self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero_point", zero_point)]
        self.add("QuantizeLinear", [source, *step], [f"{name}_quantized"])
        self.add("DequantizeLinear", [f"{name}_quantized", *step], [target])

    def _dequantized(self, name: str, values: Array, scale: Array, axis: int) -> str:
        constants = [
            self.constant(f"{name}_quantized", values),
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero_point", np.zeros(scale.shape, values.dtype)),
        ]
        self.add("DequantizeLinear", constants, [f"{name}_dequantized"], axis=axis)
        return f"{name}_dequantized"


def _channel_axis(node: NodeProto) -> int:
    """The output-channel axis of a weight: 0 of a kernel, 1 of a matrix unless `Gemm` transposes it."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1
