"""Converts without the last output."""

from __future__ import annotations

from meta_tests.liars.edit import edited
from modelparity.converters.onnx import convert
from modelparity.converters.onnx.convert import open_runner, quantize


def convert_float(exported, target, inputs, outputs):
    convert.convert_float(exported, target, inputs, outputs)
    with edited(target) as model:
        del model.graph.output[-1]
