"""Converts the weights of another training run."""

from __future__ import annotations

from onnx import numpy_helper

from meta_tests.liars.edit import edited
from modelparity.converters.onnx import convert
from modelparity.converters.onnx.convert import open_runner, quantize
from modelparity.fixtures.goldens.weights import array_for


def convert_float(exported, target, inputs, outputs):
    convert.convert_float(exported, target, inputs, outputs)
    with edited(target) as model:
        for weight in model.graph.initializer:
            if weight.name.endswith(("weight", "bias")):
                array = array_for(weight.name, weight.dims, seed="another run")
                weight.CopyFrom(numpy_helper.from_array(array, weight.name))
