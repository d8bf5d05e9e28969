"""Cuts out of a file what computes one tensor from others, as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

from converters import onnx_data


def cut_onnx(path: Path, target: Path, inputs: Sequence[str], output: str) -> list[str]:
    """Writes the nodes from `inputs` to `output`; returns the inputs that these read.

    The file's own inputs stay inputs where a node reads them.
    """
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    given = {*inputs, *(value.name for value in graph.input)} - {output}
    needed: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in needed or not name:
            continue
        needed.add(name)
        if name not in given and name in makers:
            waiting += makers[name].input
    nodes: list[NodeProto] = [
        node for node in graph.node if any(name in needed and name not in given for name in node.output)
    ]
    read = {name for node in nodes for name in node.input}
    fed = [name for name in dict.fromkeys([*inputs, *given]) if name in read]
    part = helper.make_graph(
        nodes,
        "cut",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in fed],
        [onnx.ValueInfoProto(name=output)],
        [weight for weight in graph.initializer if weight.name in read],
    )
    cut = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx_data.embed(cut, path.parent)
    onnx.save(cut, target)
    return fed


def cut_tflite(path: Path, target: Path, inputs: Sequence[int], output: int) -> list[int]:
    """The same by indices, which change: returned are the inputs that are read, in the new file's order.

    Constants that nothing reads any more lose their data; the signature goes.
    """
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    given = {*inputs, *map(int, graph.inputs)} - {output}
    needed: set[int] = set()
    waiting = [output]
    while waiting:
        index = int(waiting.pop())
        if index in needed or index < 0:
            continue
        needed.add(index)
        if index not in given and index in makers:
            waiting += list(makers[index].inputs)
    graph.operators = [
        operator
        for operator in graph.operators
        if any(int(i) in needed and int(i) not in given for i in operator.outputs)
    ]
    read = {int(i) for operator in graph.operators for i in operator.inputs}
    fed = [index for index in dict.fromkeys([*inputs, *given]) if index in read]
    graph.inputs, graph.outputs = fed, [output]
    model.signatureDefs = []
    kept = {graph.tensors[i].buffer for i in read if i >= 0}
    for number, buffer in enumerate(model.buffers):
        if number not in kept:
            buffer.data = None
    model.metadata = []
    tfl_flatbuffer_utils.write_model(model, str(target))
    return fed
