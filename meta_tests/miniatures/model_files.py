"""Small model files of both formats, made by hand: all that the census counts can be counted on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from modelparity.modelfiles.describe import describe
from modelparity.modelfiles.description import Description


def onnx_file(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray[Any, Any]],
    x: Sequence[int | str | None],
    y: str = "y",
    element: int = TensorProto.FLOAT,
    **kwargs: Any,
) -> Path:
    """One input `x` of the given shape, one output of unknown shape."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", element, x)],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        graph, producer_name="hand", producer_version="1", opset_imports=opsets, **kwargs
    )
    path.write_bytes(model.SerializeToString())
    return path


def described(
    tmp_path: Path, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], x: Any, **kwargs: Any
) -> Description:
    """What the census says of such a file."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return describe(onnx_file(tmp_path / "model.bin", nodes, arrays, x, **kwargs))


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node by words: `-` stands for an optional input left out."""
    return helper.make_node(
        kind, ["" if i == "-" else i for i in inputs.split()], outputs.split(), **attributes
    )


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def int8s(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.int8)


class Tensor(NamedTuple):
    """A TFLite tensor. It is constant with `stored` bytes, or at `place` (offset, size) in the file."""

    name: str
    shape: Sequence[int]
    dtype: str = "FLOAT32"
    stored: int = 0
    place: tuple[int, int] | None = None
    signature: Sequence[int] | None = None
    buffer: str = ""  # another tensor, whose buffer this one shares


class Operator(NamedTuple):
    """A TFLite operator by the names of its tensors."""

    name: str
    inputs: str
    outputs: str
    calls: int | None = None  # subgraph of a composite
    adj_x: bool = False


def tflite_bytes(
    *graphs: tuple[Sequence[Tensor], Sequence[Operator], str, str],
    names: Mapping[str, str] | None = None,
) -> bytes:
    """A file of (tensors, operators, input names, output names) a subgraph; `names`: signature -> tensor."""
    model = schema.ModelT()
    model.version, model.description = 3, "by hand"
    model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], [], []
    for tensors, operators, inputs, outputs in graphs:
        order = [tensor.name for tensor in tensors]
        graph = schema.SubGraphT()
        graph.tensors = [_tensor(model, tensor) for tensor in tensors]
        for made, tensor in zip(graph.tensors, tensors, strict=True):
            if tensor.buffer:
                made.buffer = graph.tensors[order.index(tensor.buffer)].buffer
        graph.operators = [_operator(model, operator, order) for operator in operators]
        graph.inputs, graph.outputs = _indices(inputs, order), _indices(outputs, order)
        model.subgraphs.append(graph)
    if names is not None:
        signature, order = schema.SignatureDefT(), [tensor.name for tensor in graphs[0][0]]
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        entries = {name: _entry(name, order.index(tensor)) for name, tensor in names.items()}
        given = set(graphs[0][2].split())
        signature.inputs = [entry for name, entry in entries.items() if names[name] in given]
        signature.outputs = [entry for name, entry in entries.items() if names[name] not in given]
        model.signatureDefs.append(signature)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _entry(name: str, index: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def _indices(names: str, order: Sequence[str]) -> list[int]:
    """`-` is an optional tensor left out, `?` one that is not there."""
    return [{"-": -1, "?": -2}.get(name) or order.index(name) for name in names.split()]


def _tensor(model: schema.ModelT, tensor: Tensor) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.shape, made.type = (
        tensor.name,
        list(tensor.shape),
        getattr(schema.TensorType, tensor.dtype),
    )
    if tensor.signature is not None:
        made.shapeSignature = list(tensor.signature)
    buffer = schema.BufferT()
    if tensor.stored:
        buffer.data = np.ones(tensor.stored, np.uint8)
    if tensor.place:
        buffer.offset, buffer.size = tensor.place
    made.buffer = len(model.buffers) if tensor.stored or tensor.place else 0
    model.buffers.append(buffer)
    return made


def _operator(model: schema.ModelT, operator: Operator, order: Sequence[str]) -> schema.OperatorT:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator.name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = "Anything" if operator.name == "CUSTOM" else None
    model.operatorCodes.append(code)
    made = schema.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = _indices(operator.inputs, order), _indices(operator.outputs, order)
    if operator.calls is not None:
        made.builtinOptions2Type = schema.BuiltinOptions2.StableHLOCompositeOptions
        made.builtinOptions2 = schema.StableHLOCompositeOptionsT()
        made.builtinOptions2.name, made.builtinOptions2.decompositionSubgraphIndex = "odml.x", operator.calls
    if operator.adj_x:
        made.builtinOptionsType = schema.BuiltinOptions.BatchMatMulOptions
        made.builtinOptions = schema.BatchMatMulOptionsT()
        made.builtinOptions.adjX = True
    return made
