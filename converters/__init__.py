"""How a network is carried: one module a format, and the recipes, the store and the processes they share.

Arrives: a `ModelSpec`, weights, calibration images. Leaves: an `Artifact` in the store, what its
file says of itself, and its outputs by name. May import `fixtures`, and nothing to its right.

A format is one module (`convert_float`, `quantize`, a runner) and one line in `CONVERTERS`.
Toolchains are imported inside functions, in child processes: importing this package is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Converter:
    """One format.

    `module` has `convert_float(exported, target, inputs, outputs)`, `quantize(source, target,
    quantization, keep_float, calibration)` and `open_runner(path, threads)`; `toolchain` are the
    distributions whose versions decide what it writes; `dynamic_batch` says whether its files
    take any batch or only 1.
    """

    format: str
    module: str
    suffix: str
    dynamic_batch: bool
    toolchain: tuple[str, ...]


CONVERTERS: dict[str, Converter] = {
    "onnx": Converter(
        "onnx",
        module="converters.onnx",
        suffix=".onnx",
        dynamic_batch=True,
        toolchain=("torch", "onnx", "onnxscript", "onnxruntime"),
    ),
    "tflite": Converter(
        "tflite",
        module="converters.tflite",
        suffix=".tflite",
        dynamic_batch=False,
        toolchain=("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
    ),
}
