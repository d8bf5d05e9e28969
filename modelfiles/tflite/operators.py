"""The table of TFLite's operators: what reading, counting, comparing and editing files asks of each.

What scales and zero points may be is the TFLite 8-bit quantization specification
(https://ai.google.dev/edge/litert/models/quantization_spec).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelparity.modelfiles.operator_traits import OperatorTraits


@dataclass(frozen=True, kw_only=True)
class TfliteTraits(OperatorTraits):
    """Properties of one type of operator.

    Attributes:
        operands: it multiplies and accumulates: its inputs that are activation, weight and bias.
        convolution: it slides a kernel over an image, and may pad it and apply an activation itself.
        control: it runs another subgraph.
        fixed: the scale and zero point that the specification sets for its int8 output.
        same_scale: its int8 inputs and outputs have one scale and zero point, which kernels take for granted.
        options: the schema's class of its options, for operators that faults add to a file.
    """

    operands: tuple[int, int, int | None] | None = None
    convolution: bool = False
    control: bool = False
    fixed: tuple[float, int] | None = None
    same_scale: bool = False
    options: str = ""

    @property
    def layer(self) -> bool:
        """Whether it owns a weight that recipes quantize; faults are planted in it."""
        return self.operands == (0, 1, 2)


_UNCOUNTED = TfliteTraits(uncounted=True)
_CONTROL = TfliteTraits(control=True)
_ACTIVATION = TfliteTraits(activation=True)
_MOVES = TfliteTraits(moves=True, rearranges=True, same_scale=True)
_PART = TfliteTraits(moves=True, same_scale=True)
# The specification: "Input and outputs must all have same scale/zero_point".
_SAME_SCALE = TfliteTraits(same_scale=True)


def _with_options(options: str, traits: TfliteTraits | None = None) -> TfliteTraits:
    return replace(traits or TfliteTraits(), options=options)


OPERATORS: Mapping[str, TfliteTraits] = {
    # layers
    "FULLY_CONNECTED": TfliteTraits(operands=(0, 1, 2), channel_axis=0, options="FullyConnectedOptions"),
    "CONV_2D": TfliteTraits(operands=(0, 1, 2), channel_axis=0, convolution=True),
    "DEPTHWISE_CONV_2D": TfliteTraits(operands=(0, 1, 2), channel_axis=3, convolution=True),
    "TRANSPOSE_CONV": TfliteTraits(operands=(2, 1, 3), channel_axis=0),
    # It multiplies its sums by a number between 1/2 and 1, rounds, and shifts by bits, rounding again
    # (`MultiplyByQuantizedMultiplier`, tensorflow/lite/kernels/internal/common.h).
    "BATCH_MATMUL": TfliteTraits(operands=(0, 1, None), whole_products=True),
    # what is not counted
    **dict.fromkeys(
        (
            *("CONV_3D", "CONV_3D_TRANSPOSE", "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL"),
            *("SVDF", "RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "UNIDIRECTIONAL_SEQUENCE_RNN"),
            *("LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        ),
        _UNCOUNTED,
    ),
    **dict.fromkeys(
        ("IF", "WHILE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_CUSTOM_CALL"), _CONTROL
    ),
    # what moves numbers (of EXPAND_DIMS and STRIDED_SLICE, which copy integers, too, it says nothing)
    "RESHAPE": _with_options("ReshapeOptions", _MOVES),
    "TRANSPOSE": _with_options("TransposeOptions", _MOVES),
    "SQUEEZE": _MOVES,
    "EXPAND_DIMS": _MOVES,
    "SLICE": _PART,
    "STRIDED_SLICE": _PART,
    # what has one scale: by the specification ...
    "GATHER": _with_options("GatherOptions", _SAME_SCALE),
    "PAD": _with_options("PadOptions", _SAME_SCALE),
    **dict.fromkeys(
        (
            *("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "RESIZE_BILINEAR", "PADV2"),
            *("MAXIMUM", "MINIMUM", "SPACE_TO_DEPTH", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
        ),
        _SAME_SCALE,
    ),
    # ... and because they copy integers, too.
    **dict.fromkeys(("SPLIT", "PACK", "UNPACK", "BROADCAST_TO", "DEPTH_TO_SPACE"), _SAME_SCALE),
    "RESIZE_NEAREST_NEIGHBOR": _with_options("ResizeNearestNeighborOptions", _SAME_SCALE),
    # what has a fixed scale: "int8 quantized operator specifications"
    "SOFTMAX": TfliteTraits(fixed=(1 / 256, -128), options="SoftmaxOptions"),
    "LOGISTIC": TfliteTraits(fixed=(1 / 256, -128)),
    "LOG_SOFTMAX": TfliteTraits(fixed=(16 / 256, 127)),
    "TANH": TfliteTraits(fixed=(1 / 128, 0)),
    "L2_NORMALIZATION": TfliteTraits(fixed=(1 / 128, 0)),
    # It brings both operands to 1/64 of the greater one's step, which rounds the square of a difference of
    # 127 steps by 4 of its own; the greatest has 255 steps of the result (kernels/squared_difference.cc).
    "SQUARED_DIFFERENCE": TfliteTraits(approximate=255 * 4 / 127**2),
    # the rest
    **dict.fromkeys(("RELU", "GELU", "HARD_SWISH", "LEAKY_RELU"), _ACTIVATION),
    "MUL": _with_options("MulOptions"),
    "ADD": _with_options("AddOptions"),
    "SUB": _with_options("SubOptions"),
    "DIV": _with_options("DivOptions"),
    "CAST": _with_options("CastOptions"),
    "REDUCE_MAX": _with_options("ReducerOptions"),
    "RANDOM_STANDARD_NORMAL": _with_options("RandomOptions"),
}
_NONE = TfliteTraits()


def traits(operator: str) -> TfliteTraits:
    """The operator's properties; none of them for one that the table does not list."""
    return OPERATORS.get(operator, _NONE)
