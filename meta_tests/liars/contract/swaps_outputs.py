"""Score and doubt under each other's name: same shape, same range."""

from __future__ import annotations

from meta_tests.liars.edit import edited
from modelparity.converters.onnx import convert
from modelparity.converters.onnx.convert import open_runner, quantize


def convert_float(exported, target, inputs, outputs):
    score, doubt, mask = outputs
    convert.convert_float(exported, target, inputs, [doubt, score, mask])
    with edited(target) as model:
        values = list(model.graph.output)
        del model.graph.output[:]
        model.graph.output.extend([values[1], values[0], *values[2:]])
