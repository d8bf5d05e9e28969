"""Cuts out of a file what computes one tensor from others, as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

from modelparity.modelfiles.onnx import external_data


def extract(path: Path, target: Path, inputs: Sequence[str], output: str) -> list[str]:
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
    external_data.embed(cut, path.parent)
    onnx.save(cut, target)
    return fed
