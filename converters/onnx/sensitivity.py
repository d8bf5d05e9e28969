"""Measures what int8 costs one layer at a time: the float ONNX file with that layer alone quantized.

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
from modelparity.converters.onnx.int8 import Dynamic
from modelparity.converters.onnx.quantize import rewriter
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.modelfiles.activations import Sensitivity
from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.activations import scope_of
from modelparity.modelfiles.onnx.operators import OPERATORS

_LAYERS = [kind for kind, of in OPERATORS.items() if of.layer and of.multiplies]


def sensitivities(
    source: Path, quantization: str, calibration: Sequence[Mapping[str, Array]], feed: Mapping[str, Array]
) -> list[Sensitivity]:
    """Every layer that the recipe would quantize, in the file's order."""
    model = onnx.load(source, load_external_data=False)
    exact = OnnxRunner(source).run(feed)
    with tempfile.TemporaryDirectory() as scratch:
        rewrite = rewriter(quantization, source, Path(scratch), keep_float=(), calibration=calibration)
        measured = []
        for node in Dynamic(model.graph, (), source.parent).layers:
            name = node.output[0]
            others = [
                KeepFloat(kind, "one layer is asked at a time", names=f"^(?!{re.escape(name)}$)")
                for kind in _LAYERS
            ]
            alone = onnx.ModelProto()
            alone.CopyFrom(model)
            rewrite(alone.graph, others)
            external_data.embed(alone, source.parent)
            path = Path(scratch) / "alone.onnx"
            onnx.save(alone, path)
            outputs = OnnxRunner(path).run(feed)
            noise = {
                key: float(np.mean(np.square(outputs[key].astype(np.float64) - exact[key]))) for key in exact
            }
            weights = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
            elements = weights.get(node.input[1], 0)
            measured.append(Sensitivity(name, node.op_type, scope_of(node), elements, noise))
    return measured
