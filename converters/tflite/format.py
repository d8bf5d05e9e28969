"""TFLite: by litert-torch, quantized with ai-edge-quantizer."""

from __future__ import annotations

from modelparity.converters.converter import Converter, PlainKernels

CONVERTER = Converter(
    "tflite",
    module="modelparity.converters.tflite.convert",
    suffix=".tflite",
    dynamic_batch=False,
    toolchain=("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
    title="litert-torch",
    runtime="LiteRT",
    fast_kernels="XNNPACK",
    plain_kernels=PlainKernels(
        "reference kernels",
        sequential=True,
        slow=True,
        lacks=r"Didn't find op for builtin opcode '(\w+)' version '\d+'",
    ),
    operator_runner="modelparity.converters.tflite.operator_runner:OperatorRunner",
    runner="modelparity.converters.tflite.runner:TfliteRunner",
    narrows={"int64": "int32"},
)
