"""Writes every tensor that a TFLite file computes: the interpreter, told to keep them all.

It runs the built-in kernels without XNNPACK, which fuses operators and so has no tensors between
them; what XNNPACK makes of the file is a stage of its own (`modelparity.parity.explain.error_by_stage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.activations import FileTensor, Folder, tensor_of
from modelparity.modelfiles.tflite.operators import traits
from modelparity.modelfiles.tflite.reader import TfliteFile


def probe(path: Path, feed: Mapping[str, Array], folder: Path) -> list[FileTensor]:
    """Runs the file on one feed; all tensors of numbers that matter to an output, in computing order, the
    inputs first."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    file = TfliteFile(path)
    graph = file.subgraphs[file.main]
    interpreter = Interpreter(
        str(path),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    names = {name: index for index in graph.inputs for name in file.names.get(index, ())}
    for name, value in feed.items():
        interpreter.set_tensor(names[name], value)
    interpreter.invoke()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    kept = Folder(folder)
    found: dict[int, FileTensor] = {}
    for name, value in feed.items():
        index = names[name]
        found[index] = tensor_of(kept, index, name, "", values=value, origin=index)
    live = set(graph.outputs)
    for operator in reversed(graph.operators):
        if live & set(operator.outputs):
            live |= {*operator.inputs, *operator.outputs}
    for operator in graph.operators:
        if not live & set(operator.outputs):
            continue
        numbers, places = [], -1
        for index in operator.outputs:
            array = interpreter.get_tensor(index)
            if array.dtype.kind in "iu" and not _steps(details[index]):
                kept.write(index, array)
                places = index
            elif array.dtype.kind in "iuf":
                numbers.append((index, _real(array, details[index])))
        constants = [graph.tensors[i].name for i in operator.inputs if i >= 0 and graph.tensors[i].constant]
        inputs = [i for i in operator.inputs if i in found]
        moved = traits(operator.name).rearranges and len(inputs) == 1
        for index, values in numbers:
            found[index] = tensor_of(
                kept,
                index,
                graph.tensors[index].name,
                operator.name,
                values=values,
                inputs=inputs,
                weights=constants,
                origin=inputs[0] if moved else index,
                places=places,
            )
    return list(found.values())


def _steps(detail: Mapping[str, Any]) -> bool:
    return bool(len(detail["quantization_parameters"]["scales"]))


def _real(array: Array, detail: Mapping[str, Any]) -> Array:
    """The numbers that integers stand for: (q - zero point) x scale, per tensor."""
    if array.dtype.kind == "f":
        return array
    steps = detail["quantization_parameters"]
    scale, zero = steps["scales"], steps["zero_points"]
    if len(scale) > 1:
        raise ValueError(f"{detail['name']}: an activation with {len(scale)} scales")
    values: Array = (array.astype(np.float32) - np.float32(zero[0])) * np.float32(scale[0])
    return values
