"""Score and doubt under each other's name: same shape, same range."""

from __future__ import annotations

from converters import onnx
from converters.onnx import open_runner, quantize
from meta_tests.liars.edit import edited


def convert_float(exported, target, inputs, outputs):
    score, doubt, mask = outputs
    onnx.convert_float(exported, target, inputs, [doubt, score, mask])
    with edited(target) as model:
        values = list(model.graph.output)
        del model.graph.output[:]
        model.graph.output.extend([values[1], values[0], *values[2:]])
