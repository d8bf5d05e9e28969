"""Quantizes a TFLite file with ai-edge-quantizer: float16 weights, or int8 layers.

Quantized are the layers that own weights (`_LAYERS`), each in the way of its recipe: weights
stored as float16 and dequantized as the file loads (fp16); int8 weights, activations quantized at
run time (int8_dynamic) or by calibrated ranges (int8_static). Weights are symmetric per output
channel. Names and float32 type of inputs and outputs stay. Everything else - normalisation,
softmax, products of two activations - computes in float32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.modelfiles.tflite.operators import OPERATORS

_LAYERS = tuple(kind for kind, of in OPERATORS.items() if of.layer)
_CAST = (*_LAYERS, "EMBEDDING_LOOKUP")  # what float16 weights are stored for


def quantize(
    source: Path,
    target: Path,
    quantization: str,
    *,
    keep_float: Sequence[KeepFloat],
    calibration: Sequence[Feeds],
) -> None:
    """Writes `source`, a float32 TFLite file, to `target` under the recipe named `quantization`.

    `calibration` is a stream of feeds by input name, used by int8_static only.

    Raises:
        ValueError: this format lacks the recipe, or int8_static is not given calibration inputs on which the
            float file is finite.
    """
    from ai_edge_quantizer import quantizer

    from modelparity.converters.tflite.workaround_large_weights import by_channel

    recipe = _recipe(source, quantization, keep_float)
    engine = quantizer.Quantizer(str(source), recipe.get_quantization_recipe())
    ranges = None
    if _ARITHMETIC[quantization].calibrated:
        ranges = _ranges(source, recipe, calibration)
        _expect_finite(ranges, (o for o in _operators(source) if o.is_layer(keep_float)))
    with by_channel():
        result = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    assert result.quantized_model is not None
    target.write_bytes(result.quantized_model)


def kept_float(source: Path, keep_float: Sequence[KeepFloat]) -> list[tuple[KeepFloat, int]]:
    """How many operators of the float file each entry leaves in float."""
    operators = list(_operators(source))
    return [(entry, sum(operator.matches(entry) for operator in operators)) for entry in keep_float]


@dataclass(frozen=True)
class _Operator:
    """Type, `scope` (the outputs' names as ai-edge-quantizer joins them), names of activations."""

    kind: str
    scope: str
    activations: tuple[str, ...]
    constants: Mapping[int, tuple[int, ...]]  # input position -> shape

    def matches(self, entry: KeepFloat) -> bool:
        return entry.matches(self.kind, [self.scope], self.constants.values())

    def is_layer(self, keep_float: Iterable[KeepFloat], kinds: Sequence[str] = _LAYERS) -> bool:
        """Owns a weight, and is not left in float."""
        return self.kind in kinds and 1 in self.constants and not any(map(self.matches, keep_float))


def _operators(source: Path) -> Iterator[_Operator]:
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(source))
    names = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME
    for subgraph in model.subgraphs:
        tensors = subgraph.tensors
        for operator in subgraph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            constants = {
                position: tuple(int(n) for n in tensors[index].shape)
                for position, index in enumerate(operator.inputs)
                if index >= 0 and model.buffers[tensors[index].buffer].data is not None
            }
            variable = [index for place, index in enumerate(operator.inputs) if place not in constants]
            touched = (tensors[index].name for index in [*variable, *operator.outputs] if index >= 0)
            yield _Operator(
                names[code].value if code in names else str(code),
                tfl_flatbuffer_utils.get_op_scope(operator, tensors),
                tuple(name.decode() for name in touched),
                constants,
            )


def _recipe(source: Path, quantization: str, keep_float: Sequence[KeepFloat]) -> Any:
    """All layers of `source`, less those without a constant weight and those left in float."""
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    if quantization not in _ARITHMETIC:
        raise ValueError(f"tflite has no recipe {quantization!r}")
    recipe = recipe_manager.RecipeManager()
    kinds = _ARITHMETIC[quantization].kinds
    for layer in map(qtyping.TFLOperationName, kinds):
        _ARITHMETIC[quantization].configure(recipe, layer)
    for operator in _operators(source):
        if operator.kind in kinds and not operator.is_layer(keep_float, kinds):
            recipe.add_quantization_config(
                f"^{re.escape(operator.scope)}$",
                qtyping.TFLOperationName(operator.kind),
                algorithm_key=AlgorithmName.NO_QUANTIZE,
            )
    return recipe


def _float16(recipe: Any, layer: Any) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    float16 = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    recipe.add_quantization_config(".*", layer, float16, AlgorithmName.FLOAT_CASTING)


def _dynamic(recipe: Any, layer: Any) -> None:
    recipe.add_dynamic_config(".*", layer, num_bits=8)


def _static(recipe: Any, layer: Any) -> None:
    recipe.add_static_config(".*", layer, activation_num_bits=8, weight_num_bits=8)


class _Arithmetic(NamedTuple):
    """How a recipe quantizes one type of layer, whether by calibrated ranges, and which types."""

    configure: Callable[[Any, Any], None]
    calibrated: bool = False
    kinds: Sequence[str] = _LAYERS


_ARITHMETIC = {
    "fp16": _Arithmetic(_float16, kinds=_CAST),
    "int8_dynamic": _Arithmetic(_dynamic),
    "int8_static": _Arithmetic(_static, calibrated=True),
}


def _ranges(source: Path, recipe: Any, calibration: Sequence[Feeds]) -> Any:
    """Least and greatest value of each tensor over the calibration stream, by the float file.

    ai-edge-quantizer's default update, a moving average of ranges, cuts off what few images reach;
    its default mode keeps all tensors of a run in memory (ObjectFormer: 3.2 GB against 0.5 GB) and
    finds the same ranges.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    if not calibration:
        raise ValueError("int8_static needs calibration inputs, but got none")
    observer = calibrator.Calibrator(
        source.read_bytes(),
        num_threads=2,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=qsv_utils.min_max_update,
    )
    (signature,) = observer.get_signature_list()
    observer.calibrate({signature: [dict(feeds) for feeds in calibration]}, recipe)
    return observer.get_model_qsvs()


def _expect_finite(ranges: Mapping[str, Any], layers: Iterable[_Operator]) -> None:
    for name in (name for layer in layers for name in layer.activations):
        low, high = float(ranges[name]["min"].min()), float(ranges[name]["max"].max())
        if not math.isfinite(high - low):
            raise ValueError(f"calibration found {name} between {low} and {high}")
