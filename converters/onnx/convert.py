"""Converts an exported program to an ONNX file by the dynamo exporter, whose batch stays dynamic.

Quantized files are made from the float one (`modelparity.converters.onnx.quantize`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelparity.converters.engine.exported_program import APART_BYTES, Exported, weight_bytes
from modelparity.converters.onnx.quantize import kept_float, quantize
from modelparity.converters.onnx.runner import OnnxRunner
from modelparity.fixtures.specs import BATCH

__all__ = ["OPSET", "OnnxRunner", "convert_float", "kept_float", "open_runner", "quantize"]

# The exporter's own: it writes this natively, and LayerNormalization (17) and Gelu (20) stay one node.
OPSET = 20


def convert_float(exported: Exported, target: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """An exported program to `.onnx` in float32, with inputs, outputs and dynamic axes named."""
    import onnx
    import torch

    program = exported.load()
    large = weight_bytes(program.state_dict.values()) > APART_BYTES
    try:
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise RuntimeError(f"the ONNX exporter stops: {_cause(error)}") from error
    assert converted is not None
    _transpose_shared(converted.model.graph)
    if large:
        _write_weights(converted.model, target)
    model = converted.model_proto
    for value in [*model.graph.input, *model.graph.output]:
        axes = value.type.tensor_type.shape.dim
        names = exported.spec.axis_names(value.name) if exported.spec else (BATCH,)
        for axis, name in zip(axes, names, strict=False):
            if axis.dim_param and name:
                _rename_dimension(model, axis.dim_param, name)
    _strip_paths(model)
    onnx.save_model(model, target)


def _cause(error: BaseException) -> str:
    """What stopped the exporter: its own message tells the step only."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _transpose_shared(graph: Any) -> None:
    """Stores a matrix as its readers take it, where all of them read its transpose.

    The exporter does so, too, but leaves the `Transpose` of a matrix that several layers share, so that none
    of them would be known as a layer with weights of its own.
    """
    import numpy as np
    import onnx_ir

    for node in list(graph):
        matrix = node.inputs[0] if node.op_type == "Transpose" else None
        if matrix is None or matrix.name not in graph.initializers or len(matrix.shape) != 2:
            continue
        alone = all(reader is node for reader, _ in matrix.uses())
        if not alone or list(node.attributes["perm"].value) != [1, 0]:
            continue
        name = node.outputs[0].name
        array = np.ascontiguousarray(matrix.const_value.numpy().T)
        turned = onnx_ir.val(name, const_value=onnx_ir.tensor(array, name=name))
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], turned)
        graph.remove(node, safe=True)
        del graph.initializers[matrix.name]
        graph.register_initializer(turned)


def _write_weights(model: Any, target: Path) -> None:
    """Writes the weights beside `target`, one after another, and leaves references to them in the model."""
    import onnx_ir

    data = f"{target.name}.data"
    onnx_ir.external_data.unload_from_model(model, target.parent, data, size_threshold_bytes=1024)


def _rename_dimension(model: Any, old: str, new: str) -> None:
    graph = model.graph
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == old:
                dimension.dim_param = new


def _strip_paths(model: Any) -> None:
    """Drops the exporter's stack traces: they hold this machine's paths and would change the sha256."""
    for node in model.graph.node:
        kept = [prop for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    model.graph.doc_string = ""


def open_runner(path: Path, threads: int, kernels: str = "fused") -> OnnxRunner:
    return OnnxRunner(path, threads, kernels)
