"""TFLite by way of ONNX and TensorFlow: a second route, independent of the first behind the exported program."""

from __future__ import annotations

from modelparity.converters.converter import Converter

CONVERTER = Converter(
    "tflite",
    module="modelparity.converters.onnx2tf.convert",
    suffix=".tflite",
    dynamic_batch=False,
    toolchain=("onnx2tf", "tensorflow", "tf-keras", "onnx-graphsurgeon", "onnx", "onnxruntime"),
    reference_kernels=True,
    source="onnx",
)
