"""Makes ONNX files with tools of others, as their documentation calls them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from meta_tests.measurements.foreign.sources import Source
from modelparity.fixtures.arrays import Array


class _Reader:
    """Calibration images, one after the other, as onnxruntime asks for them."""

    def __init__(self, source: Source) -> None:
        self._feeds: Iterator[Mapping[str, Array]] = iter(source.feeds)

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._feeds, None)


def exported(source: Source, target: Path) -> None:
    shutil.copyfile(source.onnx, target)


def traced(source: Source, target: Path) -> None:
    shutil.copyfile(source.traced, target)


def slimmed(source: Source, target: Path) -> None:
    import onnxslim

    onnx.save(onnxslim.slim(str(source.base)), target)


def simplified(source: Source, target: Path) -> None:
    import onnxsim

    model, right = onnxsim.simplify(onnx.load(source.base))
    if not right:
        raise RuntimeError("onnxsim's own check failed")
    onnx.save(model, target)


def optimized(source: Source, target: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source.base), options, providers=["CPUExecutionProvider"])


def dynamic(source: Source, target: Path, *, weights: str, **options: Any) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source.base, target, weight_type=QuantType[weights], **options)


def dynamic_of_dynamo(source: Source, target: Path, *, weights: str, **options: Any) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source.onnx, target, weight_type=QuantType[weights], **options)


def static(
    source: Source,
    target: Path,
    *,
    form: str,
    types: tuple[str, str],
    calibration: str = "MinMax",
    prepared: bool = True,
    **options: Any,
) -> None:
    """`types` are those of activations and weights."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    start = source.base
    if prepared:
        start = source.scratch / "prepared.onnx"
        quant_pre_process(source.base, start, skip_symbolic_shape=True)
    quantize_static(
        start,
        target,
        _Reader(source),
        quant_format=QuantFormat[form],
        activation_type=QuantType[types[0]],
        weight_type=QuantType[types[1]],
        calibrate_method=CalibrationMethod[calibration],
        **options,
    )


def by_blocks(source: Source, target: Path, *, bits: int, **options: Any) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source.base), bits=bits, block_size=32, **options)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), use_external_data_format=False)


def by_blocks_as_written(source: Source, target: Path) -> None:
    """With DequantizeLinear behind each matrix, instead of an operator of onnxruntime's own."""
    from onnxruntime.quantization import QuantFormat

    by_blocks(source, target, bits=4, quant_format=QuantFormat.QDQ)


def half(source: Source, target: Path) -> None:
    from onnxconverter_common import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source.base), keep_io_types=True), target)


def half_of_onnxruntime(source: Source, target: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(source.base), keep_io_types=True)
    onnx.save(model, target)


def compressed(source: Source, target: Path, **options: Any) -> None:
    import nncf

    feeds = [dict(feed) for feed in source.feeds]
    onnx.save(nncf.quantize(onnx.load(source.base), nncf.Dataset(feeds), **options), target)


def compressed_weights(source: Source, target: Path, *, mode: str) -> None:
    import nncf

    onnx.save(nncf.compress_weights(onnx.load(source.base), mode=nncf.CompressWeightsMode[mode]), target)
