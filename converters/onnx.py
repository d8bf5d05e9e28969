"""ONNX: an exported program to a file, and a runner for such files.

The float file comes from the dynamo exporter, whose batch stays dynamic; quantized files are
made from it (`onnx_quantization`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from converters.onnx_quantization import kept_float, quantize

__all__ = ["OPSET", "OnnxRunner", "convert_float", "kept_float", "open_runner", "quantize"]

# The exporter's own: it writes this natively, and LayerNormalization (17) and Gelu (20) stay one node.
OPSET = 20
_EXTERNAL_DATA_BYTES = 1_900_000_000  # protobuf ends at 2 GiB


def convert_float(exported: Path, target: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """`.pt2` to `.onnx` in float32, inputs and outputs named, the first axis of each named "batch"."""
    import onnx
    import torch

    program = torch.export.load(exported)
    converted = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(inputs),
        output_names=list(outputs),
        opset_version=OPSET,
        verbose=False,
    )
    assert converted is not None
    model = converted.model_proto
    for value in [*model.graph.input, *model.graph.output]:
        axis = value.type.tensor_type.shape.dim[0]
        if axis.dim_param:
            _rename_dimension(model, axis.dim_param, "batch")
    _strip_paths(model)
    large = model.ByteSize() > _EXTERNAL_DATA_BYTES
    onnx.save_model(model, target, save_as_external_data=large, location=f"{target.name}.data")


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


def open_runner(path: Path, threads: int) -> OnnxRunner:
    return OnnxRunner(path, threads)


class OnnxRunner:
    """Runs a file on the CPU; feeds and outputs are arrays by name."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        return dict(zip(self._outputs, self._session.run(None, dict(feeds)), strict=True))

    def __enter__(self) -> OnnxRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session
