"""Every int8 weight one step too high."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from meta_tests.liars.edit import edited
from modelparity.converters.onnx import convert
from modelparity.converters.onnx.convert import convert_float, open_runner


def quantize(source, target, quantization, **options):
    convert.quantize(source, target, quantization, **options)
    with edited(target) as model:
        for weight in model.graph.initializer:
            array = numpy_helper.to_array(weight)
            if array.dtype == np.int8 and array.ndim >= 2:
                raised = np.minimum(array.astype(np.int16) + 1, 127).astype(np.int8)
                weight.CopyFrom(numpy_helper.from_array(raised, weight.name))
