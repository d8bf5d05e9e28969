"""Quantizes a TFLite file with ai-edge-quantizer: float16 weights, or int8 layers.

Quantized are the layers that own weights (`_LAYERS`), each in the way of its recipe: weights
stored as float16 and dequantized as the file loads (fp16); int8 weights, activations quantized at
run time (int8_dynamic) or by calibrated ranges (int8_static). Weights are symmetric per output
channel. Names and float32 type of inputs and outputs stay. Everything else - normalisation,
softmax, products of two activations - computes in float32.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.quantization import KeepFloat

Array = np.ndarray[Any, Any]
_LAYERS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")


def quantize(
    source: Path,
    target: Path,
    quantization: str,
    keep_float: Sequence[KeepFloat],
    calibration: Sequence[Mapping[str, Array]],
) -> None:
    """Writes `source`, a float32 TFLite file, to `target` under the recipe named `quantization`.

    `calibration` is a stream of feeds by input name, used by int8_static only. Raises ValueError
    for a recipe that this format lacks and for int8_static without calibration.
    """
    from ai_edge_quantizer import quantizer

    if quantization == "int8_static" and not calibration:
        raise ValueError("int8_static needs calibration inputs, but got none")
    recipe = _recipe(source, quantization, keep_float)
    engine = quantizer.Quantizer(str(source), recipe.get_quantization_recipe())
    ranges = _ranges(source, recipe, calibration) if quantization == "int8_static" else None
    result = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    assert result.quantized_model is not None
    target.write_bytes(result.quantized_model)


def kept_float(source: Path, keep_float: Sequence[KeepFloat]) -> list[tuple[KeepFloat, int]]:
    """How many operators of the float file each entry leaves in float."""
    operators = list(_operators(source))
    return [(entry, sum(operator.matches(entry) for operator in operators)) for entry in keep_float]


@dataclass(frozen=True)
class _Operator:
    """Type, `scope` (the outputs' names as ai-edge-quantizer joins them), shapes of constant inputs."""

    kind: str
    scope: str
    constants: Mapping[int, tuple[int, ...]]  # input position -> shape

    def matches(self, entry: KeepFloat) -> bool:
        return entry.matches(self.kind, [self.scope], self.constants.values())


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
            kind = names[code].value if code in names else str(code)
            yield _Operator(kind, tfl_flatbuffer_utils.get_op_scope(operator, tensors), constants)


def _recipe(source: Path, quantization: str, keep_float: Sequence[KeepFloat]) -> Any:
    """All layers of `source`, less those without a constant weight and those left in float."""
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    float16 = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    recipe = recipe_manager.RecipeManager()
    for layer in map(qtyping.TFLOperationName, _LAYERS):
        if quantization == "fp16":
            recipe.add_quantization_config(".*", layer, float16, AlgorithmName.FLOAT_CASTING)
        elif quantization == "int8_dynamic":
            recipe.add_dynamic_config(".*", layer, num_bits=8)
        elif quantization == "int8_static":
            recipe.add_static_config(".*", layer, activation_num_bits=8, weight_num_bits=8)
        else:
            raise ValueError(f"tflite has no recipe {quantization!r}")
    for operator in _operators(source):
        stays = 1 not in operator.constants or any(map(operator.matches, keep_float))
        if operator.kind in _LAYERS and stays:
            recipe.add_quantization_config(
                f"^{re.escape(operator.scope)}$",
                qtyping.TFLOperationName(operator.kind),
                algorithm_key=AlgorithmName.NO_QUANTIZE,
            )
    return recipe


def _ranges(source: Path, recipe: Any, calibration: Sequence[Mapping[str, Array]]) -> Any:
    """Least and greatest value of each tensor over the calibration stream, by the float file.

    ai-edge-quantizer's own default, a moving average of ranges, cuts off what few images reach.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    observer = calibrator.Calibrator(
        source.read_bytes(), num_threads=2, qsv_update_func=qsv_utils.min_max_update
    )
    (signature,) = observer.get_signature_list()
    observer.calibrate({signature: [dict(feeds) for feeds in calibration]}, recipe)
    return observer.get_model_qsvs()
