"""What int8 costs one layer at a time: the float ONNX file with that layer alone quantized.

A layer's share of the outputs' error is measured rather than guessed from its own: how much of an error
reaches the outputs differs between layers by orders of magnitude. Runs in the `onnx` worker.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from modelparity.converters.onnx.convert import OnnxRunner
from modelparity.converters.onnx.int8 import Dynamic, Static
from modelparity.converters.onnx.quantize import _ranges
from modelparity.converters.recipes import KeepFloat
from modelparity.modelfiles.activations import Array, Sensitivity
from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.activations import scope_of

_OPERATORS = ("Conv", "MatMul", "Gemm")


def sensitivities(
    source: Path, quantization: str, calibration: Sequence[Mapping[str, Array]], feed: Mapping[str, Array]
) -> list[Sensitivity]:
    """Every layer that the recipe would quantize, in the file's order."""
    model = onnx.load(source, load_external_data=False)
    exact = OnnxRunner(source).run(feed)
    with tempfile.TemporaryDirectory() as scratch:
        static = quantization == "int8_static"
        ranges = _ranges(source, Path(scratch), (), calibration) if static else {}
        found = []
        for node in Dynamic(model.graph, (), source.parent).layers:
            name = node.output[0]
            others = [
                KeepFloat(kind, "one layer is asked at a time", names=f"^(?!{re.escape(name)}$)")
                for kind in _OPERATORS
            ]
            alone = onnx.ModelProto()
            alone.CopyFrom(model)
            if static:
                rewriter = Static(alone.graph, others, source.parent)
                rewriter.ranges = ranges
                rewriter.rewrite()
            else:
                Dynamic(alone.graph, others, source.parent).rewrite()
            external_data.embed(alone, source.parent)
            path = Path(scratch) / "alone.onnx"
            onnx.save(alone, path)
            outputs = OnnxRunner(path).run(feed)
            noise = {
                key: float(np.mean(np.square(outputs[key].astype(np.float64) - exact[key]))) for key in exact
            }
            weights = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
            elements = weights.get(node.input[1], 0)
            found.append(Sensitivity(name, node.op_type, scope_of(node), elements, noise))
    return found
