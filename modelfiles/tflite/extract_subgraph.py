"""Cuts out of a file what computes one tensor from others, as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def extract(path: Path, target: Path, inputs: Sequence[int], output: int) -> list[int]:
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
