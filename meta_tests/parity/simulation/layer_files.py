"""Writes the files of small networks, by this project's recipes and by those of the toolchains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from meta_tests.parity.test_simulated import FEEDS, IMAGE, QUANTIZERS, Files, exact_reference
from modelparity.fixtures.specs import Signature, TensorSpec

LAYERS = ["Conv", "MatMul", "Gemm", "ConvTranspose"]


def files_of(name: str, folder: Path) -> Files:
    """The network's program, and its float file in both formats."""
    from meta_tests.parity.simulation.layer_networks import NETWORKS
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.tflite import convert as tflite_format

    files = onnx_files_of(NETWORKS[name], folder)
    tflite_format.convert_float(Exported(files.program), folder / "network.tflite", ["image"], ["head"])
    return files


def onnx_files_of(make: Callable[[], Any], folder: Path) -> Files:
    """The program of a network, and its float file in ONNX."""
    import torch

    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx_format

    def made() -> Any:
        torch.manual_seed(1)
        return make().eval()

    network = made()
    batch = {"image": {0: torch.export.Dim("batch")}}
    program = folder / "network.pt2"
    torch.export.save(
        torch.export.export(network, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch), program
    )
    onnx_format.convert_float(Exported(program), folder / "network.onnx", ["image"], ["head"])
    with torch.no_grad():
        shape = tuple(network(torch.zeros(1, 3, 32, 32))[0].shape)
    head = TensorSpec("head", ("batch", *shape[1:]), "logits")
    ports = Signature((IMAGE,), (head,))
    spec = SimpleNamespace(signature=lambda: ports, task="map", outputs=(head,))
    return Files(folder, program, spec, exact_reference(spec, made))


def quantized(files: Files, recipe: str) -> tuple[str, Path]:
    """The format and the path of a file, made by a recipe of `RECIPES`, once."""
    format, quantize = RECIPES[recipe]
    target = files.folder / f"{recipe.replace(' ', '_')}.{format}"
    if not target.exists():
        quantize(files.folder / f"network.{format}", target)
    return format, target


def _own(format: str, recipe: str) -> Callable[[Path, Path], None]:
    def quantize(source: Path, target: Path) -> None:
        QUANTIZERS[format].quantize(source, target, recipe, keep_float=(), calibration=FEEDS)

    return quantize


def _onnxruntime_dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target)


def _onnxruntime_static(format: str) -> Callable[[Path, Path], None]:
    def quantize(source: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        quantize_static(
            source,
            target,
            _Reader(),
            quant_format=getattr(QuantFormat, format),
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=LAYERS,
        )

    return quantize


class _Reader:
    def __init__(self) -> None:
        self._left: Iterator[Any] = iter(FEEDS)

    def get_next(self) -> Any:
        return next(self._left, None)


def _ai_edge_quantizer(name: str) -> Callable[[Path, Path], None]:
    def quantize(source: Path, target: Path) -> None:
        from ai_edge_quantizer import quantizer, recipe

        result = quantizer.Quantizer(str(source), getattr(recipe, name)()).quantize(None)
        target.write_bytes(result.quantized_model)

    return quantize


RECIPES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    **{
        f"{format} {recipe}": (format, _own(format, recipe))
        for format in ("onnx", "tflite")
        for recipe in ("fp16", "int8_dynamic", "int8_static")
    },
    "quantize_dynamic": ("onnx", _onnxruntime_dynamic),
    "quantize_static QDQ": ("onnx", _onnxruntime_static("QDQ")),
    "quantize_static QOperator": ("onnx", _onnxruntime_static("QOperator")),
    "ai_edge_quantizer dynamic": ("tflite", _ai_edge_quantizer("dynamic_wi8_afp32")),
    "ai_edge_quantizer weights": ("tflite", _ai_edge_quantizer("weight_only_wi8_afp32")),
}
