"""ONNX: by PyTorch's dynamo exporter, quantized with ONNX Runtime."""

from __future__ import annotations

from modelparity.converters.converter import Converter

CONVERTER = Converter(
    "onnx",
    module="modelparity.converters.onnx.convert",
    suffix=".onnx",
    dynamic_batch=True,
    toolchain=("torch", "onnx", "onnxscript", "onnxruntime"),
    reference_kernels=True,
)
