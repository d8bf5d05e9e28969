"""Describes an ONNX file; data kept beside it are measured, never loaded.

Model-local functions are inlined first, so that every count is of the operators that run.

*Weights* are initializers and Constant nodes that some operator reads, by the type they are stored in, each
once. Left out are: booleans and integers of 64 bits (shapes, axes, indices); integers of 32 bits, unless they
are the bias of an integer operator or pass through DequantizeLinear as a QDQ bias does; scales and zero
points of quantized operators, which also means a factor of the scale that DynamicQuantizeLinear gives; sizes
and scales of Resize.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    inliner,
    numpy_helper,
    shape_inference,
)
from onnx.external_data_helper import uses_external_data
from onnx.helper import get_node_attr_value

from modelparity.modelfiles.description import Description, Port, broken, recipe
from modelparity.modelfiles.formats import expect
from modelparity.modelfiles.onnx.macs import dtype_word, multiply_accumulates, nodes
from modelparity.modelfiles.onnx.operators import traits

_PROTOBUF_LIMIT = 2**31  # bytes in one message
_SMALL = 256  # elements; larger constants are no shapes, and inference need not carry their data
_NARROW = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}  # bits, where less than a byte
_RANDOM = {
    "Bernoulli",
    "Multinomial",
    *(f"Random{kind}" for kind in ("Normal", "NormalLike", "Uniform", "UniformLike")),
}
_NO_WEIGHTS = {"int64", "uint64", "uint32", "bool", "string"}

# What protobuf, the checks below, inlining and inference raise on a damaged file.
_DAMAGE: tuple[type[Exception], ...] = (DecodeError, EncodeError, shape_inference.InferenceError)
_DAMAGE += (ValueError, LookupError, TypeError, OverflowError, RuntimeError)


def describe_onnx(path: Path) -> Description:
    """Read an ONNX file. Raises NotAModelError and BrokenModelError."""
    expect(path, "onnx")
    if path.stat().st_size >= _PROTOBUF_LIMIT:
        raise broken(path, "it is larger than the 2 GB that a protobuf message may have")
    try:
        return _describe(_load(path))
    except _DAMAGE as error:
        raise broken(path, f"{error} ({type(error).__name__})") from error


def _describe(model: ModelProto) -> Description:
    macs, kinds = multiply_accumulates(model)
    weights = _weights(model.graph)
    constants = {tensor.name for tensor in model.graph.initializer}  # older files list these as inputs, too
    return Description(
        format="onnx",
        quantization=recipe(kinds, weights),
        inputs=tuple(_port(value) for value in model.graph.input if value.name not in constants),
        outputs=tuple(_port(value) for value in model.graph.output),
        weights=weights,
        macs=dict(sorted(macs.items())),
        operators=dict(sorted(Counter(node.op_type for node in nodes(model.graph)).items())),
        random=tuple(
            f"{n.op_type} {n.name or n.output[0]}" for n in nodes(model.graph) if _is_random(n, model.graph)
        ),
        producer=" ".join(word for word in (model.producer_name, model.producer_version) if word),
    )


def _is_random(node: NodeProto, graph: GraphProto) -> bool:
    """Dropout only if its third input says that it is in training, and its second is no ratio of 0."""
    if node.op_type != "Dropout":
        return node.op_type in _RANDOM
    values = {tensor.name: tensor for tensor in graph.initializer}
    values |= {
        n.output[0]: a.t
        for n in nodes(graph)
        if n.op_type == "Constant"
        for a in n.attribute
        if a.name == "value"
    }
    _, ratio, training = (*node.input, "", "")[:3]
    numbers = [numpy_helper.to_array(values[name]) if name in values else None for name in (ratio, training)]
    drops = numbers[0] is None or bool(numbers[0].any())
    return drops and numbers[1] is not None and bool(numbers[1].any())


def _load(path: Path) -> ModelProto:
    """The model, checked, its functions inlined and its large constants without their data."""
    model = ModelProto()
    model.ParseFromString(path.read_bytes())  # onnx.load would choose a parser by the file's name
    if not model.HasField("graph") or not model.graph.output:
        raise ValueError("it has no graph with outputs")
    if not model.opset_import:
        raise ValueError("it names no opset")
    for graph in _graphs(model):
        for tensor in _tensors(graph):
            _check(tensor, path.parent)
            if prod(tensor.dims) > _SMALL:
                tensor.ClearField("raw_data")
                for name in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                    tensor.ClearField(name)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _check_names(model.graph)
    return model


def _graphs(model: ModelProto) -> list[GraphProto]:
    graphs = [model.graph]
    for node in (*nodes(model.graph), *(node for function in model.functions for node in function.node)):
        graphs += [
            graph for a in node.attribute for graph in ([a.g] if a.HasField("g") else []) + [*a.graphs]
        ]
    return graphs


def _tensors(graph: GraphProto) -> list[TensorProto]:
    values = [a.t for node in graph.node for a in node.attribute if a.HasField("t")]
    return [*graph.initializer, *values]


def _check(tensor: TensorProto, folder: Path) -> None:
    """That the data which a tensor's shape asks for are there, in the file or beside it."""
    dtype, count = dtype_word(tensor.data_type), prod(tensor.dims)
    if any(n < 0 for n in tensor.dims):
        raise ValueError(f"constant {tensor.name!r} has the shape {tuple(tensor.dims)}")
    if dtype == "string":
        return
    itemsize = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    needed = -(-count * _NARROW.get(dtype, 8 * itemsize) // 8)
    if uses_external_data(tensor):
        place = {entry.key: entry.value for entry in tensor.external_data}
        data = folder / place.get("location", "")
        if not data.is_file():
            raise ValueError(f"its data file {place.get('location')!r} is missing")
        rest = data.stat().st_size - int(place.get("offset", 0))
        stored = min(int(place.get("length", rest)), rest)
    elif tensor.HasField("raw_data"):
        stored = len(tensor.raw_data)
    else:
        entries = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
        plain = dtype not in _NARROW and not dtype.startswith("complex")
        stored = entries * itemsize if plain else needed if entries or not count else 0
    if stored != needed:
        raise ValueError(f"constant {tensor.name!r} needs {needed} bytes, but has {stored}")


def _check_names(graph: GraphProto) -> None:
    """That everything read is made somewhere; scopes and order are left to the runtime."""
    bodies = [graph, *(g for n in nodes(graph) for a in n.attribute for g in (a.g, *a.graphs))]
    made = {name for node in nodes(graph) for name in node.output}
    for body in bodies:
        made |= {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        made |= {tensor.values.name for tensor in body.sparse_initializer}
    for node in nodes(graph):
        for name in node.input:
            if name and name not in made:
                raise ValueError(f"{node.op_type} {node.name!r} reads {name!r}, which nothing makes")
    "".join(made)  # a name that is no UTF-8 reads as bytes: a TypeError here, rather than a port named so
    for value in graph.output:
        if value.name not in made:
            raise ValueError(f"nothing makes the output {value.name!r}")


def _port(value: ValueInfoProto) -> Port:
    if not value.type.HasField("tensor_type"):
        return Port(value.name, (), value.type.WhichOneof("value") or "untyped")
    tensor = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "dynamic" for dim in tensor.shape.dim
    )
    return Port(value.name, shape, dtype_word(tensor.elem_type))


def _weights(graph: GraphProto) -> dict[str, int]:
    """Elements of the constants that operators read, by stored type."""
    every = list(nodes(graph))
    running = {node.output[1] for node in every if node.op_type == "DynamicQuantizeLinear"}
    readers: defaultdict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
    for node in every:
        for position, name in enumerate(node.input):
            readers[name].append((node, position))
    total: Counter[str] = Counter()
    for name, dtype, count in _constants(graph):
        packed = [node for node, position in readers[name] if traits(node.op_type).packed and position == 1]
        if packed:
            rows, columns, bits = (get_node_attr_value(packed[0], each) for each in ("K", "N", "bits"))
            total[f"uint{bits}"] += rows * columns
        elif any(_is_weight(dtype, node, position, running) for node, position in readers[name]):
            total[dtype] += count
    return dict(sorted(total.items()))


def _constants(graph: GraphProto) -> list[tuple[str, str, int]]:
    """Name, type and elements of each initializer and Constant, also in bodies."""
    found = [(t.name, dtype_word(t.data_type), prod(t.dims)) for t in graph.initializer]
    found += [
        (t.values.name, dtype_word(t.values.data_type), prod(t.values.dims)) for t in graph.sparse_initializer
    ]
    for node in graph.node:
        for a in node.attribute:
            for body in ([a.g] if a.HasField("g") else []) + [*a.graphs]:
                found += _constants(body)
            if node.op_type == "Constant" and a.name == "value":
                found.append((node.output[0], dtype_word(a.t.data_type), prod(a.t.dims)))
            elif node.op_type == "Constant" and a.name in {"value_float", "value_floats"}:
                found.append((node.output[0], "float32", max(1, len(a.floats))))
    return found


def _is_weight(dtype: str, node: NodeProto, position: int, running: set[str]) -> bool:
    of = traits(node.op_type)
    if dtype == "int32":  # a weight where it is a bias
        return of.bias == position
    if dtype in _NO_WEIGHTS or (of.resizes and position > 0):
        return False
    if of.tensors is not None:
        return position in of.tensors
    return not (node.op_type == "Mul" and running.intersection(node.input))
