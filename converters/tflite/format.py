"""TFLite: by litert-torch, quantized with ai-edge-quantizer."""

from __future__ import annotations

from modelparity.converters.converter import Converter

CONVERTER = Converter(
    "tflite",
    module="modelparity.converters.tflite.convert",
    suffix=".tflite",
    dynamic_batch=False,
    toolchain=("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
    reference_kernels=True,
)
