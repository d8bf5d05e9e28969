"""Quantizes an ONNX file: float16 weights, or int8 layers with run-time or calibrated activations.

The graph is rewritten here rather than by onnxruntime's quantizers: these infer shapes anew and
refuse what the exporter's optimizer wrote ("Inferred shape and existing shape differ"), and write
augmented models to disk. Quantized are the layers that own weights: `MatMul`, `Gemm` and `Conv`
with a constant second operand. Names, order and float32 type of inputs and outputs stay; a
quantized weight `w` is stored as `w_quantized` in w's own layout, beside `w_scale`.

int8 weights are symmetric per output channel, scale = max |w| / 127; activations are uint8 per
tensor with a zero point (Jacob et al., arXiv:1712.05877, section 2). That pair of types is the one
onnxruntime's CPU kernels are fastest with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from converters.quantization import KeepFloat

Array = np.ndarray[Any, Any]
Ranges = Mapping[str, tuple[float, float]]
_LAYERS = ("MatMul", "Gemm", "Conv")
_PROTOBUF_LIMIT = 2**31 - 1


def quantize(
    source: Path,
    target: Path,
    quantization: str,
    keep_float: Sequence[KeepFloat],
    calibration: Sequence[Mapping[str, Array]],
) -> None:
    """Writes `source`, a float32 ONNX file, to `target` under the recipe named `quantization`.

    `calibration` is a stream of feeds by input name, used by int8_static only. Raises ValueError
    for a recipe that this format lacks and for int8_static without calibration.
    """
    model = onnx.load(source)
    if quantization == "fp16":
        _store_float16(model.graph, keep_float)
    elif quantization == "int8_dynamic":
        _Dynamic(model.graph, keep_float).rewrite()
    elif quantization == "int8_static":
        if not calibration:
            raise ValueError("int8_static needs calibration inputs, but got none")
        static = _Static(model.graph, keep_float)
        static.ranges = _ranges(model, static.tensors(), calibration)
        static.rewrite()
    else:
        raise ValueError(f"onnx has no recipe {quantization!r}")
    onnx.save(model, target)


def kept_float(source: Path, keep_float: Sequence[KeepFloat]) -> list[tuple[KeepFloat, int]]:
    """How many operators of the float file each entry leaves in float."""
    graph = onnx.load(source, load_external_data=False).graph
    shapes = _shapes(graph)
    return [(entry, sum(_stays(node, shapes, [entry]) for node in graph.node)) for entry in keep_float]


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    return {weight.name: tuple(weight.dims) for weight in graph.initializer}


def _stays(node: NodeProto, shapes: Mapping[str, tuple[int, ...]], keep_float: Iterable[KeepFloat]) -> bool:
    own = [shapes[name] for name in node.input if name in shapes]
    return any(entry.matches(node.op_type, node.output, own) for entry in keep_float)


def _store_float16(graph: GraphProto, keep_float: Sequence[KeepFloat]) -> None:
    """Matrices and kernels become float16, with a `Cast` to float32 in front of what reads them.

    Vectors (biases, normalisation) stay, and so do weights beyond float16's greatest number.
    onnxruntime folds the casts as it loads the file, so the arithmetic is float32's.
    """
    shapes = _shapes(graph)
    kept = {name for node in graph.node if _stays(node, shapes, keep_float) for name in node.input}
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2 or weight.name in kept:
            continue
        array = numpy_helper.to_array(weight)
        if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_float16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], f"{name}_Cast", to=TensorProto.FLOAT))
    _set_nodes(graph, [*casts, *graph.node])


class _Rewriter:
    """Rewrites a graph in place, node by node; subclasses say what becomes of a layer."""

    def __init__(self, graph: GraphProto, keep_float: Sequence[KeepFloat]) -> None:
        self.graph = graph
        self.weights = {w.name: w for w in graph.initializer if w.data_type == TensorProto.FLOAT}
        self.nodes: list[NodeProto] = []
        self.done: dict[str, str] = {}  # weight or activation -> name of its quantized form
        shapes = _shapes(graph)
        self.layers = [
            node
            for node in graph.node
            if node.op_type in _LAYERS
            and node.input[1] in self.weights
            and (node.op_type == "Conv" or len(self.weights[node.input[1]].dims) == 2)
            and not _stays(node, shapes, keep_float)
        ]

    def rewrite(self) -> None:
        layers = {node.output[0] for node in self.layers}
        for node in self.graph.node:
            if node.output[0] in layers:
                self.layer(node)
            else:
                self.other(node)
        _set_nodes(self.graph, self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [w for w in self.graph.initializer if w.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def layer(self, node: NodeProto) -> None:
        raise NotImplementedError

    def other(self, node: NodeProto) -> None:
        self.nodes.append(node)

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, outputs, f"{outputs[0]}_{kind}", **attributes))

    def constant(self, name: str, array: Array) -> str:
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def array(self, name: str) -> Array:
        return numpy_helper.to_array(self.weights[name])


class _Dynamic(_Rewriter):
    """Activations are quantized per tensor as they come; an integer product is scaled back to float."""

    def layer(self, node: NodeProto) -> None:
        activation, weight, output = node.input[0], node.input[1], node.output[0]
        if activation not in self.done:
            names = [f"{activation}_quantized", f"{activation}_scale", f"{activation}_zero_point"]
            self.add("DynamicQuantizeLinear", [activation], names)
            self.done[activation] = names[0]
        axis = _channel_axis(node)
        if weight not in self.done:
            values, scale = quantized_weight(self.array(weight), axis)
            self.done[weight] = self.constant(f"{weight}_quantized", values)
            if node.op_type == "Conv":
                scale = scale.reshape(-1, *[1] * (values.ndim - 2))
            self.constant(f"{weight}_scale", scale)
            if node.op_type == "Gemm" and axis == 0:
                self.add("Transpose", [self.done[weight]], [f"{weight}_transposed"], perm=[1, 0])
                self.done[weight] = f"{weight}_transposed"
        bias = node.input[2] if len(node.input) > 2 else ""
        attributes: dict[str, Any] = {}
        if node.op_type == "Conv":
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if bias:
                shape = (-1, *[1] * (len(self.weights[weight].dims) - 2))
                bias = self.constant(f"{output}_bias", self.array(bias).reshape(shape))
        kind = "ConvInteger" if node.op_type == "Conv" else "MatMulInteger"
        operands = [self.done[activation], self.done[weight], f"{activation}_zero_point"]
        unbiased = f"{output}_unbiased" if bias else output
        self.add(kind, operands, [f"{output}_integer"], **attributes)
        self.add("Cast", [f"{output}_integer"], [f"{output}_cast"], to=TensorProto.FLOAT)
        self.add("Mul", [f"{activation}_scale", f"{weight}_scale"], [f"{output}_rescale"])
        self.add("Mul", [f"{output}_cast", f"{output}_rescale"], [unbiased])
        if bias:
            self.add("Add", [unbiased, bias], [output])


class _Static(_Rewriter):
    """Calibrated `QuantizeLinear`/`DequantizeLinear` pairs, which the runtime fuses into the layers.

    Quantized are the inputs of layers and the outputs of convolutions: onnxruntime multiplies int8
    matrices into a float output, which loses less, but its int8 convolution has an int8 output.
    """

    ranges: Ranges

    def __init__(self, graph: GraphProto, keep_float: Sequence[KeepFloat]) -> None:
        super().__init__(graph, keep_float)
        consumers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        self.rounded: set[str] = set()  # outputs of convolutions, past the Relu that alone reads them
        for node in self.layers:
            if node.op_type == "Conv":
                readers = consumers.get(node.output[0], [])
                relu = len(readers) == 1 and readers[0].op_type == "Relu"
                self.rounded.add(readers[0].output[0] if relu else node.output[0])

    def tensors(self) -> list[str]:
        """Activations to calibrate."""
        return sorted({node.input[0] for node in self.layers} | self.rounded)

    def layer(self, node: NodeProto) -> None:
        activation, weight, axis = node.input[0], node.input[1], _channel_axis(node)
        if activation not in self.done:
            self.done[activation] = activation
            if activation not in self.rounded:
                self.round(activation, activation, f"{activation}_dequantized")
                self.done[activation] = f"{activation}_dequantized"
        values, scale = quantized_weight(self.array(weight), axis)
        if weight not in self.done:
            self.done[weight] = self.dequantized(weight, values, scale, axis)
        node.input[0], node.input[1] = self.done[activation], self.done[weight]
        if node.op_type == "Conv" and len(node.input) > 2:
            step = scale * _affine(*self.ranges[activation])[0]
            bias = np.rint(self.array(node.input[2]) / step).astype(np.int32)
            node.input[2] = self.dequantized(f"{node.output[0]}_bias", bias, step, 0)
        self.other(node)

    def other(self, node: NodeProto) -> None:
        self.nodes.append(node)
        name = node.output[0]
        if name in self.rounded:
            node.output[0] = f"{name}_unrounded"
            self.round(name, node.output[0], name)

    def round(self, name: str, source: str, target: str) -> None:
        scale, zero_point = _affine(*self.ranges[name])
        step = [self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero_point", zero_point)]
        self.add("QuantizeLinear", [source, *step], [f"{name}_quantized"])
        self.add("DequantizeLinear", [f"{name}_quantized", *step], [target])

    def dequantized(self, name: str, values: Array, scale: Array, axis: int) -> str:
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


def quantized_weight(weight: Array, axis: int) -> tuple[Array, Array]:
    """int8 values in -127..127, and their float32 scales [channels] along `axis`."""
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    scale = np.abs(weight).max(axis=others, keepdims=True).astype(np.float32) / np.float32(127)
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.rint(weight / scale).astype(np.int8), scale.reshape(-1)


def _affine(low: float, high: float) -> tuple[Array, Array]:
    """uint8 scale and zero point of a range, widened to hold 0 so that padding is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)


def _ranges(model: ModelProto, tensors: Sequence[str], calibration: Iterable[Mapping[str, Array]]) -> Ranges:
    """Least and greatest value of each tensor over the calibration stream, by the float model."""
    import onnxruntime

    fed = {value.name for value in model.graph.input}
    inner = [name for name in tensors if name not in fed]
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in inner)
    low, high = dict.fromkeys(tensors, np.inf), dict.fromkeys(tensors, -np.inf)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "watched.onnx")
        onnx.save(watched, path, save_as_external_data=True)  # protobuf stops at 2 GiB
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for feeds in calibration:
            values = {**feeds, **dict(zip(inner, session.run(inner, dict(feeds)), strict=True))}
            for name in tensors:
                low[name] = min(low[name], float(values[name].min()))
                high[name] = max(high[name], float(values[name].max()))
        del session
    return {name: (low[name], high[name]) for name in tensors}


def _set_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    copies = []
    for node in nodes:
        copies.append(NodeProto())
        copies[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)
