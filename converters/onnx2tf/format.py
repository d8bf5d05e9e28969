"""TFLite by way of ONNX and TensorFlow: a second route, independent of the first."""

from __future__ import annotations

from dataclasses import replace

from modelparity.converters.tflite.format import CONVERTER as FIRST_ROUTE

# Its files differ from the first route's in how they are made, not in how they run.
CONVERTER = replace(
    FIRST_ROUTE,
    module="modelparity.converters.onnx2tf.convert",
    toolchain=("onnx2tf", "tensorflow", "tf-keras", "onnx-graphsurgeon", "onnx", "onnxruntime"),
    title="onnx2tf",
    source="onnx",
    missing="modelparity.converters.onnx2tf.convert:missing",
    extra="tensorflow",
    # Strict: `tox -e routes` fails once one of these is carried after all, or stops elsewhere.
    not_carried={},
)
