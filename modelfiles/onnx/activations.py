"""Writes every tensor that an ONNX file computes: the file itself, run with all of them as outputs.

Optimisation is off, so that operators compute what the file says, one by one; what the optimised
session makes of it is a stage of its own (`modelparity.parity.explain.error_by_stage`).
"""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.activations import FileTensor, Folder, tensor_of
from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.nodes import ordered
from modelparity.modelfiles.onnx.operators import traits

SCOPES = "pkg.torch.onnx.name_scopes"
_BATCH_BYTES = 1 << 30  # outputs of one run, by the file's own shapes


def probe(path: Path, feed: Mapping[str, Array], folder: Path) -> list[FileTensor]:
    """Runs the file on one feed; all floating tensors that matter to an output, in computing order, the
    inputs first."""
    model = onnx.load(path, load_external_data=False)
    live = _live(model)
    kept = Folder(folder)
    constants = {weight.name for weight in model.graph.initializer}
    numbers = {name: index for index, name in enumerate(tensor_names(model))}
    found: dict[str, FileTensor] = {}
    for name, value in feed.items():
        found[name] = tensor_of(kept, numbers[name], name, "", values=value, origin=numbers[name])
    outputs = {name: node for node in model.graph.node for name in node.output if name in live}
    whole: dict[str, int] = {}  # tensors of whole numbers, by name
    for values in _runs(model, path, feed, list(outputs)):
        for name, array in values.items():
            if array.dtype.kind in "iu" and array.dtype.itemsize > 1:
                kept.write(numbers[name], array)
                whole[name] = numbers[name]
            if array.dtype.kind != "f":
                continue
            node = outputs[name]
            found[name] = tensor_of(
                kept,
                numbers[name],
                name,
                node.op_type,
                values=array,
                weights=[i for i in node.input if i in constants],
                origin=numbers[name],
                scope=scope_of(node),
            )
    return [_linked(found[name], outputs.get(name), found, whole) for name in sorted(found, key=numbers.get)]  # type: ignore[arg-type]


def _linked(
    tensor: FileTensor, node: NodeProto | None, found: Mapping[str, FileTensor], whole: Mapping[str, int]
) -> FileTensor:
    """The tensor with its places among the others, which are all known by now."""
    if node is None:
        return tensor
    inputs = tuple(found[name].index for name in node.input if name in found)
    moved = traits(node.op_type).rearranges or node.op_type == "Cast"
    origin = tensor.index
    if moved and inputs and found[node.input[0]].rms == tensor.rms:
        origin = inputs[0]
    places = next((whole[name] for name in node.output if name in whole), -1)
    return FileTensor(**{**vars(tensor), "inputs": inputs, "origin": origin, "places": places})


def scope_of(node: NodeProto) -> str:
    """The module that the exporter made the node for: the innermost of its scopes, but for the node's own."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = ast.literal_eval(entry.value)
            return str(scopes[-2]) if len(scopes) > 1 else ""
    return ""


def tensor_names(model: ModelProto) -> Iterator[str]:
    """The names of inputs and computed tensors, in the order in which `probe` numbers them."""
    yield from (value.name for value in model.graph.input)
    for node in model.graph.node:
        yield from (name for name in node.output if name)


def _live(model: ModelProto) -> set[str]:
    """Outputs, and what they are computed from."""
    live = {value.name for value in model.graph.output}
    for node in reversed(ordered(model.graph)):
        if live & set(node.output):
            live |= {*node.input, *node.output} - {""}
    return live


def _runs(
    model: ModelProto, path: Path, feed: Mapping[str, Array], names: list[str]
) -> Iterator[dict[str, Array]]:
    """The values of `names`, a batch of them at a time, each computed by a run of its own."""
    import onnxruntime

    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    sizes = {name: 4 * prod(max(1, d.dim_value) for d in shapes.get(name, ())) for name in names}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory(dir=path.parent if _large(model) else None) as scratch:
        for batch in _batches(sizes):
            del model.graph.output[:]
            model.graph.output.extend(ValueInfoProto(name=name) for name in batch)
            watched = Path(scratch) / "watched.onnx"
            for name in external_data.files_of(model):
                if not (data := watched.with_name(name)).exists():
                    os.link(path.parent / name, data)
            onnx.save(model, watched)
            session = onnxruntime.InferenceSession(watched, options, providers=["CPUExecutionProvider"])
            yield dict(zip(batch, session.run(batch, dict(feed)), strict=True))
            del session


def _large(model: ModelProto) -> bool:
    """External data are linked, which works on one file system only."""
    return bool(external_data.files_of(model))


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    batch: list[str] = []
    total = 0
    for name, size in sizes.items():
        if batch and total + size > _BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(name)
        total += size
    if batch:
        yield batch
