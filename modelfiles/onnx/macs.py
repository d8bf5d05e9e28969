"""Counts the multiply-accumulates of an ONNX graph by what they are computed in, from inferred shapes.

An operator computes in int8 when it is an integer operator, or when both operands come out of a
DequantizeLinear of 8-bit numbers (the QDQ form; what a runtime fuses of it is the runtime's affair). Where
only a stored weight does, it computes in float: weight-only. Otherwise the type of its first operand
speaks, so float16 weights behind a Cast to float32 count as float32.

`unknown` is no multiply-accumulates but the number of operators that could not be counted: a shape stays
unknown, the operator stands in the body of a loop or branch, or its arithmetic is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import prod

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, shape_inference
from onnx.helper import get_node_attr_value

from modelparity.modelfiles.onnx.operators import traits
from modelparity.modelfiles.onnx.opset import STANDARD_DOMAINS

Type = tuple[int, tuple[int | None, ...] | None]  # element type (0: unknown) and shape, as far as known

_INT8 = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4}
_INT16 = {TensorProto.INT16, TensorProto.UINT16}
_UNTYPED: Type = (0, None)
_WORDS = {"FLOAT": "float32", "DOUBLE": "float64"}


def dtype_word(element: int) -> str:
    """An element type in numpy's word. Raises ValueError for a number that is no type."""
    name = str(TensorProto.DataType.Name(element))
    if name == "UNDEFINED":
        raise ValueError("a tensor has no type")
    return _WORDS.get(name, name.lower())


def multiply_accumulates(model: ModelProto) -> tuple[Counter[str], Counter[str]]:
    """Multiply-accumulates of one image by type, and the int8 operators by the recipe they show.

    One image: the first axis of the first input is the batch. A dynamic batch is inferred as 1; a fixed one
    divides the sum. `model` may lack the data of its large constants.
    """
    graph = _Graph(model)
    macs: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for node in model.graph.node:
        macs["unknown"] += sum(_multiplies(inner) for inner in _inner(node))
        if not _multiplies(node):
            continue
        dtype, kind = graph.computes(node)
        count = graph.count(node)
        kinds.update([kind] if kind else [])
        macs.update({"unknown": 1} if count is None or not dtype else {dtype: count // graph.batch})
    return +macs, kinds


def nodes(graph: GraphProto) -> Iterable[NodeProto]:
    """Every node of a graph, with those in the bodies of loops and branches."""
    for node in graph.node:
        yield node
        yield from _inner(node)


def _inner(node: NodeProto) -> Iterable[NodeProto]:
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
            yield from nodes(body)


def _multiplies(node: NodeProto) -> bool:
    of = traits(node.op_type)
    if node.domain in STANDARD_DOMAINS:
        return of.multiplies is not None or of.integer or of.uncounted
    return of.integer or of.packed or of.tensors is None


class _Graph:
    """Types, makers and constants of the main graph by name."""

    def __init__(self, model: ModelProto) -> None:
        shadow, self.batch = _for_inference(model)
        # What the file declares of its tensors may be stale or contradict what follows from its inputs,
        # which inference refuses. So it infers alone, but for what operators strange to it give, and the
        # declared only fills what stays unknown.
        declared = [v for v in (*shadow.graph.value_info, *shadow.graph.output) if v.HasField("type")]
        self.declared = {value.name: _type(value.type) for value in declared}
        strange = {
            name for node in shadow.graph.node if node.domain not in STANDARD_DOMAINS for name in node.output
        }
        kept = [value for value in shadow.graph.value_info if value.name in strange]
        del shadow.graph.value_info[:]
        shadow.graph.value_info.extend(kept)
        for value in shadow.graph.output:
            value.ClearField("type")
        graph = shape_inference.infer_shapes(shadow, data_prop=True).graph
        self.types = {v.name: _type(v.type) for v in (*graph.value_info, *graph.input, *graph.output)}
        for tensor in graph.initializer:
            self.types[tensor.name] = tensor.data_type, tuple(tensor.dims)
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.constants = {tensor.name for tensor in model.graph.initializer}
        self.constants |= {name for name, node in self.makers.items() if node.op_type == "Constant"}

    def computes(self, node: NodeProto) -> tuple[str, str]:
        """What a node computes in ('' where unknown), and the int8 recipe it shows ('' for a float one)."""
        if traits(node.op_type).packed:
            element = self._element(node.input[0])
            return dtype_word(element) if element else "", "int8_weight_only"
        if traits(node.op_type).integer:
            maker = self._maker(node.input[0])
            running = node.op_type == "DynamicQuantizeMatMul" or (
                node.op_type in {"ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"}
                and not (maker and maker.op_type == "QuantizeLinear" and maker.input[1] in self.constants)
            )
            return "int8", "int8_dynamic" if running else "int8_static"
        operands = [self._dequantize(name) for name in node.input[:2]]
        narrow = [step is not None and self._element(step.input[0]) in _INT8 for step in operands]
        kept = [step is not None and self._stored(step.input[0]) for step in operands]
        if all(operands) and (all(narrow) or any(a and b for a, b in zip(narrow, kept, strict=True))):
            stored = all(step.input[1] in self.constants for step in operands if step)
            return "int8", "int8_static" if stored else "int8_dynamic"
        element = self._element(node.input[0])
        weight_only = any(a and b for a, b in zip(narrow, kept, strict=True))
        return dtype_word(element) if element else "", "int8_weight_only" if weight_only else ""

    def count(self, node: NodeProto) -> int | None:
        """Multiply-accumulates of one node: each output element sums over the kernel's other axes."""
        of = traits(node.op_type)
        if of.packed:
            first = self._shape(node.input[0])
            return None if first is None else prod(first) * int(get_node_attr_value(node, "N"))
        operands = of.multiplies or (of.tensors[:2] if of.integer and of.tensors else None)
        if of.uncounted or operands is None:
            return None
        x, w = operands
        first, weight, out = (self._shape(n) for n in (node.input[x], node.input[w], node.output[0]))
        if first is None or weight is None or out is None:
            return None
        if (
            node.op_type == "ConvTranspose"
        ):  # each input element meets the whole kernel: in, out / groups, ...
            return prod(first) * prod(weight[1:])
        if "Conv" in node.op_type:  # weight: out, in / groups, height, width
            return prod(out) * prod(weight[1:])
        flipped = any(a.name == "transA" and get_node_attr_value(node, "transA") for a in node.attribute)
        return prod(out) * first[-2 if flipped else -1]

    def _shape(self, name: str) -> tuple[int, ...] | None:
        shapes = self.types.get(name, _UNTYPED)[1], self.declared.get(name, _UNTYPED)[1]
        inferred, declared = (shapes[0], shapes[1]) if shapes[0] is not None else (shapes[1], None)
        if inferred is None:
            return None
        if declared is not None and len(declared) == len(inferred):
            inferred = tuple(d if n is None else n for n, d in zip(inferred, declared, strict=True))
        known = tuple(n for n in inferred if n is not None)
        return known if len(known) == len(inferred) else None

    def _element(self, name: str) -> int:
        return self.types.get(name, _UNTYPED)[0] or self.declared.get(name, _UNTYPED)[0]

    def _maker(self, name: str) -> NodeProto | None:
        """What made a tensor's values, past operators that only move them."""
        for _ in self.makers:  # a bound: a damaged graph may run in circles
            maker = self.makers.get(name)
            if maker is None or not traits(maker.op_type).moves:
                return maker
            name = maker.input[0]
        return None

    def _dequantize(self, name: str) -> NodeProto | None:
        """The DequantizeLinear of 16 bits or less that a tensor comes from."""
        maker = self._maker(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        return maker if self._element(maker.input[0]) in _INT8 | _INT16 else None

    def _stored(self, name: str) -> bool:
        maker = self._maker(name)
        if maker is not None and maker.op_type == "QuantizeLinear":  # a weight that is rounded at run time
            name = maker.input[0]
        return name in self.constants or (maker is not None and maker.op_type == "Constant")


def _type(proto: TypeProto) -> Type:
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)


def _for_inference(model: ModelProto) -> tuple[ModelProto, int]:
    """A copy for one image that shape inference understands, and the batch where that is fixed."""
    shadow, batch, symbol = ModelProto(), 1, ""
    shadow.CopyFrom(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    first = next((value for value in shadow.graph.input if value.name not in constants), None)
    if first is not None and len(dims := first.type.tensor_type.shape.dim) > 0:
        if not dims[0].HasField("dim_value"):
            symbol, dims[0].dim_value = dims[0].dim_param, 1
        elif len(dims) > 1:
            batch = max(1, dims[0].dim_value)
    graph = shadow.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if symbol and dim.dim_param == symbol:
                dim.dim_value = 1
    for node in graph.node:
        tensors, standard = traits(node.op_type).tensors, traits(node.op_type).standard
        if node.domain not in STANDARD_DOMAINS and tensors is not None and not traits(node.op_type).packed:
            inputs = list(node.input)
            if standard:
                node.op_type = standard
                del node.input[:], node.attribute[:]
                node.input.extend(inputs[i] for i in tensors[:2] if i < len(inputs))
            node.domain = ""
    return shadow, batch
