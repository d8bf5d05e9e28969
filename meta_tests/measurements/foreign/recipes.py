"""Lists the tools, each with its options, and the networks that each is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meta_tests.measurements.foreign import onnx_tools, tflite_tools
from meta_tests.measurements.foreign.sources import Source


@dataclass(frozen=True)
class Tool:
    """One way to make a file.

    Attributes:
        words: The call, for the table.
        packages: Those that have a part in it; their versions stand in the table.
        foreign: They are those of the other Python.
        networks: What it is tried on.
    """

    name: str
    suffix: str
    words: str
    make: Callable[..., None]
    networks: tuple[str, ...]
    packages: tuple[str, ...]
    foreign: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, source: Source, target: Path, python: str) -> None:
        """Raises whatever the tool raises."""
        more = {"python": python} if self.foreign else {}
        self.make(source, target, **self.options, **more)


_SMALL = ("lstm_rows", "transposed", "tied_tokens", "unused_head", "products", "unet_operators", "no_matrix")
_TOOLS: list[Tool] = []


def _onnx(
    name: str, words: str, make: Callable[..., None], networks: tuple[str, ...], *more: str, **options: Any
) -> None:
    packages = ("torch", "onnx", *more)
    _TOOLS.append(Tool(name, "onnx", words, make, networks, packages, options=options))


def _tflite(
    name: str, words: str, make: Callable[..., None], networks: tuple[str, ...], *more: str, **options: Any
) -> None:
    _TOOLS.append(Tool(name, "tflite", words, make, networks, ("litert-torch", *more), options=options))


def _tensorflow(kind: str, words: str, *networks: str) -> None:
    packages = ("onnx2tf", "tensorflow")
    _TOOLS.append(
        Tool(
            kind,
            "tflite",
            words,
            tflite_tools.by_tensorflow,
            networks,
            packages,
            True,
            options={"kind": kind},
        )
    )


_onnx("torch_dynamo", "torch.onnx.export", onnx_tools.exported, (*_SMALL, "pnet"), "onnxscript")
_onnx(
    "torch_traced",
    "torch.onnx.export(dynamo=False)",
    onnx_tools.traced,
    (*_SMALL, "mobilenet_v2", "rxnmapper", "tiny_ladeda"),
)
_onnx("onnxslim", "onnxslim.slim", onnx_tools.slimmed, ("onet", "unet_operators"), "onnxslim")
_onnx("onnxsim", "onnxsim.simplify", onnx_tools.simplified, ("crepe", "lstm_rows", "products"), "onnxsim")
_onnx(
    "ort_optimized",
    "onnxruntime, ORT_ENABLE_EXTENDED, saved",
    onnx_tools.optimized,
    ("tiny_ladeda", "rxnmapper", "tied_tokens", "unet_operators", "lstm_rows"),
    "onnxruntime",
)
_onnx(
    "ort_dynamic_s8",
    "quantize_dynamic(weight_type=QInt8)",
    onnx_tools.dynamic,
    ("rxnmapper", "tied_tokens", "lstm_rows", "onet", "products", "unused_head"),
    "onnxruntime",
    weights="QInt8",
)
_onnx(
    "ort_dynamic_u8",
    "quantize_dynamic(weight_type=QUInt8, per_channel=True, reduce_range=True)",
    onnx_tools.dynamic_of_dynamo,
    ("pesto", "tiny_ladeda", "transposed"),
    "onnxruntime",
    weights="QUInt8",
    per_channel=True,
    reduce_range=True,
)
for _name, _form, _types, _options, _networks in (
    ("qdq_s8s8", "QDQ", ("QInt8", "QInt8"), {}, ("pnet", "tiny_ladeda", "tied_tokens", "unet_operators")),
    (
        "qdq_u8s8_channel",
        "QDQ",
        ("QUInt8", "QInt8"),
        {"per_channel": True},
        ("mobilenet_v2", "rnet", "unused_head"),
    ),
    (
        "qdq_u8s8_reduced",
        "QDQ",
        ("QUInt8", "QInt8"),
        {"per_channel": True, "reduce_range": True},
        ("onet", "lstm_rows"),
    ),
    ("qoperator_u8u8", "QOperator", ("QUInt8", "QUInt8"), {}, ("tiny_ladeda", "rnet", "unused_head")),
    (
        "qoperator_u8s8",
        "QOperator",
        ("QUInt8", "QInt8"),
        {"per_channel": True},
        ("pnet", "mobilenet_v2", "products"),
    ),
    ("qdq_percentile", "QDQ", ("QUInt8", "QInt8"), {"calibration": "Percentile"}, ("crepe", "pnet")),
    ("qdq_entropy", "QDQ", ("QInt8", "QInt8"), {"calibration": "Entropy"}, ("rnet", "products")),
    ("qdq_16", "QDQ", ("QUInt16", "QInt8"), {}, ("pnet", "tied_tokens")),
    ("qdq_raw", "QDQ", ("QInt8", "QInt8"), {"prepared": False}, ("rnet", "tiny_ladeda")),
):
    _said = ", ".join(f"{key}={value}" for key, value in _options.items())
    _onnx(
        f"ort_{_name}",
        f"quantize_static({_form}, {_types[0]} activations, {_types[1]} weights"
        + (f", {_said})" if _said else ")"),
        onnx_tools.static,
        _networks,
        "onnxruntime",
        form=_form,
        types=_types,
        **_options,
    )
_onnx(
    "ort_int4",
    "MatMulNBitsQuantizer(bits=4, block_size=32)",
    onnx_tools.by_blocks,
    ("rxnmapper", "tied_tokens"),
    "onnxruntime",
    bits=4,
)
_onnx(
    "ort_int4_qdq",
    "MatMulNBitsQuantizer(bits=4, block_size=32, quant_format=QDQ)",
    onnx_tools.by_blocks_as_written,
    ("rxnmapper", "tied_tokens"),
    "onnxruntime",
)
_onnx(
    "half_common",
    "onnxconverter_common.float16, keep_io_types",
    onnx_tools.half,
    ("tiny_ladeda", "unet_operators", "products", "pnet"),
    "onnxconverter-common",
)
_onnx(
    "half_ort",
    "onnxruntime.transformers.float16, keep_io_types",
    onnx_tools.half_of_onnxruntime,
    ("rxnmapper", "lstm_rows", "onet", "transposed"),
    "onnxruntime",
)
_onnx("nncf", "nncf.quantize", onnx_tools.compressed, ("rnet", "tiny_ladeda", "tied_tokens"), "nncf")
_onnx(
    "nncf_weights_int8",
    "nncf.compress_weights(INT8_ASYM)",
    onnx_tools.compressed_weights,
    ("rxnmapper", "onet"),
    "nncf",
    mode="INT8_ASYM",
)
_tflite(
    "litert",
    "litert_torch.convert",
    tflite_tools.converted,
    ("lstm_rows", "transposed", "tied_tokens", "unused_head", "unet_operators", "no_matrix"),
)
for _recipe, _networks in (
    ("dynamic_wi8_afp32", ("transposed", "unet_operators")),
    ("weight_only_wi8_afp32", ("onet", "tied_tokens")),
    ("weight_only_wi4_afp32", ("onet", "tied_tokens")),
    ("dynamic_wi4_afp32", ("onet", "tied_tokens")),
    ("static_wi8_ai8", ("pnet", "tiny_ladeda", "unused_head", "unet_operators", "transposed")),
    ("static_wi8_ai16", ("rnet", "tied_tokens")),
):
    _tflite(
        f"aeq_{_recipe}",
        f"ai_edge_quantizer.recipe.{_recipe}" + (", float ports" if _recipe.startswith("static") else ""),
        tflite_tools.by_recipe,
        _networks,
        "ai-edge-quantizer",
        recipe=_recipe,
        ports=_recipe.startswith("static"),
    )
_tensorflow("onnx2tf_float32", "onnx2tf -osd", "rnet", "unused_head")
_tensorflow("onnx2tf_float16", "onnx2tf -osd, its float16 file", "rnet", "unused_head")
_tensorflow("onnx2tf_dynamic", "onnx2tf -osd -oiqt, its dynamic range file", "onet")
_tensorflow("onnx2tf_int8", "onnx2tf -osd -oiqt, its int8 file", "onet", "tiny_ladeda", "unused_head")
_tensorflow("onnx2tf_int16x8", "onnx2tf -osd -oiqt, its int16 x int8 file", "onet", "tiny_ladeda")
_tensorflow("tensorflow_float32", "TFLiteConverter", "rnet")
_tensorflow("tensorflow_float16", "TFLiteConverter, float16", "unused_head")
_tensorflow("tensorflow_dynamic", "TFLiteConverter, Optimize.DEFAULT", "rnet", "unused_head")
_tensorflow("tensorflow_int8", "TFLiteConverter, int8", "unused_head")
_tensorflow("tensorflow_int16x8", "TFLiteConverter, int16 x int8", "unused_head")

# Files that a tool makes wrong: what is wrong with them.
WRONG = {
    (
        "products",
        "ort_qoperator_u8s8",
    ): "onnxruntime's quantizer loses the beta of a Gemm (29 % of the output)",
    ("products", "ort_qdq_entropy"): "onnxruntime's quantizer loses the beta of a Gemm (29 % of the output)",
}
TOOLS = {tool.name: tool for tool in _TOOLS}
