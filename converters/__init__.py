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
    take any batch or only 1; `reference_kernels` whether its runtime has a second, plain
    implementation of the operators. `source` is the format whose float file it converts, where
    that is not the exported program.
    """

    format: str
    module: str
    suffix: str
    dynamic_batch: bool
    toolchain: tuple[str, ...]
    reference_kernels: bool = False
    source: str = ""


CONVERTERS: dict[str, Converter] = {
    "onnx": Converter(
        "onnx",
        module="converters.onnx",
        suffix=".onnx",
        dynamic_batch=True,
        toolchain=("torch", "onnx", "onnxscript", "onnxruntime"),
        reference_kernels=True,
    ),
    "tflite": Converter(
        "tflite",
        module="converters.tflite",
        suffix=".tflite",
        dynamic_batch=False,
        toolchain=("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
        reference_kernels=True,
    ),
}

# Second routes to a format, by the toolchain's name: witnesses, not formats of their own.
ROUTES: dict[str, Converter] = {
    "onnx2tf": Converter(
        "tflite",
        module="converters.second_route",
        suffix=".tflite",
        dynamic_batch=False,
        toolchain=("onnx2tf", "tensorflow", "tf-keras", "onnx-graphsurgeon", "onnx", "onnxruntime"),
        reference_kernels=True,
        source="onnx",
    ),
}
