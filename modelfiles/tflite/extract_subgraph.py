"""Extracts the part of a TFLite file that computes one tensor, as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def extract(path: Path, target: Path, inputs: Sequence[int], output: int) -> dict[str, int]:
    """Writes the operators between `inputs` and `output`, numbered as in the file.

    Returns which tensor each input of the new file stands for: its first input is "input_0". The
    file's own inputs stay inputs; an input that no operator reads is left out. Constants that are
    not read lose their data, and the signature is dropped.
    """
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    producers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    boundary = {*inputs, *map(int, graph.inputs)} - {output}
    needed: set[int] = set()
    waiting = [output]
    while waiting:
        index = int(waiting.pop())
        if index in needed or index < 0:
            continue
        needed.add(index)
        if index not in boundary and index in producers:
            waiting += list(producers[index].inputs)
    graph.operators = [
        operator
        for operator in graph.operators
        if any(int(index) in needed - boundary for index in operator.outputs)
    ]
    read = {int(index) for operator in graph.operators for index in operator.inputs}
    fed = [index for index in dict.fromkeys([*inputs, *boundary]) if index in read]
    graph.inputs, graph.outputs = fed, [output]
    model.signatureDefs = []
    buffers = {graph.tensors[index].buffer for index in read if index >= 0}
    for number, buffer in enumerate(model.buffers):
        if number not in buffers:
            buffer.data = None
    model.metadata = []
    tfl_flatbuffer_utils.write_model(model, str(target))
    return {f"input_{place}": index for place, index in enumerate(fed)}
