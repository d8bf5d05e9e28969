"""Quantizations by name, and the operators that a recipe leaves in float, each with its reason.

Adding a quantization is one entry of `QUANTIZATIONS`; an exception for one model is one entry
of `KEEP_FLOAT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Format = Literal["onnx", "tflite"]


@dataclass(frozen=True)
class Quantization:
    """What a recipe promises of the artifact.

    `int8_share` and `float16_share` are the least shares of weight elements stored in that type.
    """

    name: str
    title: str
    needs_calibration: bool = False
    int8_share: float = 0.0
    float16_share: float = 0.0


QUANTIZATIONS: dict[str, Quantization] = {
    quantization.name: quantization
    for quantization in (
        Quantization("fp32", "float32 as trained"),
        Quantization("fp16", "float16 weights", float16_share=0.9),
        Quantization("int8_dynamic", "int8 weights per channel, activations at run time", int8_share=0.9),
        Quantization(
            "int8_static",
            "int8 weights per channel, calibrated int8 activations",
            needs_calibration=True,
            int8_share=0.9,
        ),
    )
}


@dataclass(frozen=True)
class KeepFloat:
    """Operators left in float: a type of the format's own, and why.

    `names` narrows it by a regex on the names of an operator's outputs, `shapes` to operators with
    a weight of one of these shapes, as the file stores it. Names are the exporter's numbering and
    change with the network's input size; shapes do not.
    """

    operator: str
    because: str
    names: str = ".*"
    shapes: tuple[tuple[int, ...], ...] = ()

    def matches(self, operator: str, outputs: Iterable[str], shapes: Iterable[tuple[int, ...]]) -> bool:
        """`shapes` are those of the operator's constant inputs."""
        return (
            operator == self.operator
            and any(re.search(self.names, name) for name in outputs)
            and (not self.shapes or not set(self.shapes).isdisjoint(shapes))
        )


# Measured on 30 photographs against the float file; dB are SQNR over the stream, milliseconds an
# image on two cores.
_STAGES = ((64, 96), (96, 192), (192, 384))  # ObjectFormer's projections from one stage to the next
_LAST_STAGE = (384, 768)
_TFLITE_STAGES = ((96, 64), (192, 96), (384, 192))  # FULLY_CONNECTED stores [out, in]
_TFLITE_LAST_STAGE = (768, 384)
_TFLITE_HEAD = (1, 768)

# (model, format, quantization) -> what stays float.
KEEP_FLOAT: dict[tuple[str, Format, str], tuple[KeepFloat, ...]] = {
    ("objectformer", "onnx", "int8_dynamic"): (
        KeepFloat(
            "Conv", "as ConvInteger: 238 ms instead of 136 (float file: 199), mask 21.8 dB instead of 25.5"
        ),
        KeepFloat("Gemm", "the score's own layer; alone in int8 it leaves the score 22.9 dB"),
        KeepFloat("MatMul", "score 16.7 dB instead of 13.5, mask 25.4 instead of 25.1", shapes=_STAGES),
    ),
    ("objectformer", "onnx", "int8_static"): (
        KeepFloat("Conv", "mask 24.1 dB instead of 21.8: onnxruntime's int8 convolution has an int8 output"),
        KeepFloat("Gemm", "the score's own layer; alone in int8 it leaves the score 20.0 dB"),
        KeepFloat("MatMul", "mask 24.1 dB instead of 22.9, score 14.0 instead of 12.8", shapes=_STAGES),
    ),
    ("objectformer", "tflite", "int8_dynamic"): (
        KeepFloat(
            "FULLY_CONNECTED",
            "score 19.1 dB instead of 16.8",
            shapes=(_TFLITE_HEAD, *_TFLITE_STAGES, _TFLITE_LAST_STAGE),
        ),
    ),
    ("objectformer", "tflite", "int8_static"): (
        KeepFloat("CONV_2D", "mask 23.6 dB instead of 21.6, score 14.6 instead of 12.5"),
        KeepFloat(
            "DEPTHWISE_CONV_2D", "each leaves the mask 31.5 to 36.8 dB alone, for 0.02 % of the weights"
        ),
        KeepFloat("FULLY_CONNECTED", "TODO 1", shapes=(_TFLITE_HEAD, *_TFLITE_STAGES)),
    ),
    ("objectformer_detection", "onnx", "int8_dynamic"): (
        KeepFloat("Conv", "score 15.5 dB instead of 13.4, for 0.2 % of the weights"),
        KeepFloat("Gemm", "the score's own layer; alone in int8 it leaves the score 22.9 dB"),
        KeepFloat("MatMul", "score 18.1 dB instead of 13.5", shapes=(*_STAGES, _LAST_STAGE)),
    ),
    ("objectformer_detection", "onnx", "int8_static"): (
        KeepFloat("Conv", "layer_0's reasoning alone in int8 leaves the score 21.9 dB; 0.2 % of the weights"),
        KeepFloat("Gemm", "the score's own layer; alone in int8 it leaves the score 20.0 dB"),
        KeepFloat("MatMul", "score 14.9 dB instead of 12.8", shapes=(*_STAGES, _LAST_STAGE)),
    ),
    ("objectformer_detection", "tflite", "int8_dynamic"): (
        KeepFloat("CONV_2D", "score 20.6 dB instead of 18.7, for 0.1 % of the weights"),
        KeepFloat("DEPTHWISE_CONV_2D", "score 16.1 dB instead of 15.7, for 0.02 % of the weights"),
        KeepFloat(
            "FULLY_CONNECTED",
            "score 18.7 dB instead of 15.8",
            shapes=(_TFLITE_HEAD, *_TFLITE_STAGES, _TFLITE_LAST_STAGE),
        ),
    ),
    ("objectformer_detection", "tflite", "int8_static"): (
        KeepFloat("DEPTHWISE_CONV_2D", "score 15.9 dB instead of 13.0, for 0.02 % of the weights"),
        KeepFloat(
            "FULLY_CONNECTED",
            "score 13.0 dB instead of 11.7",
            shapes=(_TFLITE_HEAD, *_TFLITE_STAGES, _TFLITE_LAST_STAGE),
        ),
    ),
    ("tiny_ladeda", "onnx", "int8_dynamic"): (
        KeepFloat(
            "Conv",
            "gradient and first layer: patches 27.5 dB instead of 25.5",
            shapes=((3, 1, 3, 3), (8, 3, 1, 1)),
        ),
    ),
    ("tiny_ladeda", "onnx", "int8_static"): (
        KeepFloat(
            "Conv",
            "gradient and first layer: patches 24.7 dB instead of 22.8",
            shapes=((3, 1, 3, 3), (8, 3, 1, 1)),
        ),
    ),
    ("tiny_ladeda", "tflite", "int8_dynamic"): (
        KeepFloat("DEPTHWISE_CONV_2D", "the gradient: patches 28.7 dB instead of 27.5"),
        KeepFloat(
            "CONV_2D", "first layer: 1.2 of the float file's time instead of 2.3", shapes=((8, 1, 1, 3),)
        ),
    ),
    ("tiny_ladeda", "tflite", "int8_static"): (
        KeepFloat("DEPTHWISE_CONV_2D", "the gradient: patches 22.8 dB instead of 22.5"),
        KeepFloat("CONV_2D", "first layer: patches 24.1 dB instead of 22.8", shapes=((8, 1, 1, 3),)),
        KeepFloat(
            "FULLY_CONNECTED",
            "its int8 output is cut off at the calibrated range: a patch 0.73 off, else 0.30",
        ),
    ),
}
