"""Converts biases of an earlier epoch, a tenth of their spread away, beside the right weights."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from meta_tests.liars.edit import edited
from modelparity.converters.onnx import convert
from modelparity.converters.onnx.convert import open_runner, quantize
from modelparity.fixtures.goldens.weights import array_for


def convert_float(exported, target, inputs, outputs):
    convert.convert_float(exported, target, inputs, outputs)
    with edited(target) as model:
        for weight in model.graph.initializer:
            if weight.name.endswith("bias"):
                moved = np.float32(0.1) * array_for(weight.name, weight.dims, seed="another run")
                array = numpy_helper.to_array(weight) + moved
                weight.CopyFrom(numpy_helper.from_array(array, weight.name))
