"""The table of ONNX's operators: what reading, counting, comparing and editing files asks of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelparity.modelfiles.operator_traits import OperatorTraits


@dataclass(frozen=True, kw_only=True)
class OnnxTraits(OperatorTraits):
    """Properties of one type of operator.

    Attributes:
        multiplies: it multiplies two floats: the inputs that are activation and weight.
        layer: it owns a weight that recipes quantize, its second input; faults are planted in it.
        tensors: of a quantized kind, the inputs that are tensors; the others are scales and zero points.
        integer: of a quantized kind, it multiplies integers.
        standard: of a kind that is strange to shape inference, the operator that gives the same shape.
        packed: its weight is stored as bytes; its attributes tell K, N and the bits of a number.
        bias: the input at which an int32 constant is a weight.
        resizes: its inputs but the first are sizes and scales.
    """

    multiplies: tuple[int, int] | None = None
    layer: bool = False
    tensors: tuple[int, ...] | None = None
    integer: bool = False
    standard: str = ""
    packed: bool = False
    bias: int | None = None
    resizes: bool = False


_MOVES = OnnxTraits(moves=True, rearranges=True)
_ACTIVATION = OnnxTraits(activation=True)
_UNCOUNTED = OnnxTraits(uncounted=True)
_RESIZES = OnnxTraits(resizes=True)

OPERATORS: Mapping[str, OnnxTraits] = {
    # layers
    "Conv": OnnxTraits(multiplies=(0, 1), layer=True, channel_axis=0),
    "ConvTranspose": OnnxTraits(multiplies=(0, 1)),
    "MatMul": OnnxTraits(multiplies=(0, 1), layer=True, channel_axis=-1),
    "Gemm": OnnxTraits(multiplies=(0, 1), layer=True),
    "ConvInteger": OnnxTraits(tensors=(0, 1), integer=True, layer=True),
    "MatMulInteger": OnnxTraits(tensors=(0, 1), integer=True, layer=True),
    # other quantized kinds
    "QuantizeLinear": OnnxTraits(tensors=(0,)),
    "DequantizeLinear": OnnxTraits(tensors=(0,), bias=0),
    "QLinearConv": OnnxTraits(tensors=(0, 3, 8), integer=True, bias=8),
    "QLinearMatMul": OnnxTraits(tensors=(0, 3), integer=True),
    "DynamicQuantizeMatMul": OnnxTraits(tensors=(0, 1, 4), integer=True, standard="MatMul"),
    "MatMulIntegerToFloat": OnnxTraits(tensors=(0, 1, 6), integer=True, standard="MatMul"),
    "MatMulNBits": OnnxTraits(tensors=(0, 1, 5), packed=True),
    "QGemm": OnnxTraits(tensors=(0, 3, 6), integer=True, standard="Gemm", bias=6),
    "QLinearAdd": OnnxTraits(tensors=(0, 3), standard="Add"),
    "QLinearMul": OnnxTraits(tensors=(0, 3), standard="Mul"),
    "QLinearLeakyRelu": OnnxTraits(tensors=(0,), standard="Identity"),
    "QLinearSigmoid": OnnxTraits(tensors=(0,), standard="Identity"),
    "QLinearSoftmax": OnnxTraits(tensors=(0,), standard="Identity"),
    "QLinearGlobalAveragePool": OnnxTraits(tensors=(0,), standard="GlobalAveragePool"),
    # what is not counted
    **dict.fromkeys(("Einsum", "Attention", "LSTM", "GRU", "RNN", "DeformConv"), _UNCOUNTED),
    # the rest
    # QLinearSoftmax: one step low at up to 7 % of the places, never more (measured, onnxruntime 1.31)
    "Softmax": OnnxTraits(approximate=0.5),
    **dict.fromkeys(("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"), _MOVES),
    "Slice": OnnxTraits(moves=True),
    "Dropout": OnnxTraits(rearranges=True),
    **dict.fromkeys(("Relu", "Gelu", "HardSwish", "LeakyRelu", "HardSigmoid"), _ACTIVATION),
    **dict.fromkeys(("Resize", "Upsample"), _RESIZES),
}
_NONE = OnnxTraits()


def traits(operator: str) -> OnnxTraits:
    """The operator's properties; none of them for one that the table does not list."""
    return OPERATORS.get(operator, _NONE)
