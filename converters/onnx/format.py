"""ONNX: by PyTorch's dynamo exporter, quantized with ONNX Runtime."""

from __future__ import annotations

from modelparity.converters.converter import Converter, PlainKernels

CONVERTER = Converter(
    "onnx",
    module="modelparity.converters.onnx.convert",
    suffix=".onnx",
    dynamic_batch=True,
    toolchain=("torch", "onnx", "onnxscript", "onnxruntime"),
    title="torch.onnx",
    runtime="ONNX Runtime",
    fast_kernels="optimised",
    plain_kernels=PlainKernels(
        "not optimised",
        sequential=False,  # the same kernels, not fused
        slow=False,
    ),
    operator_runner="modelparity.converters.onnx.operator_runner:OperatorRunner",
    runner="modelparity.converters.onnx.runner:OnnxRunner",
    opsets=range(
        12, 21
    ),  # modelparity.converters.onnx.opset.OLDEST to modelparity.converters.onnx.convert.OPSET
    lower="modelparity.converters.onnx.opset:lower",
    sensitivities="modelparity.converters.onnx.sensitivity:sensitivities",
)
