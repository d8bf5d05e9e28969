"""Freezes height and width as traced, behind an input that declares any: by a resize to that size."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from meta_tests.liars.edit import edited
from modelparity.converters.onnx import convert
from modelparity.converters.onnx.convert import open_runner, quantize


def convert_float(exported, target, inputs, outputs):
    convert.convert_float(exported, target, inputs, outputs)
    with edited(target) as model:
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name == "image":
                    node.input[place] = "frozen"
        model.graph.initializer.append(numpy_helper.from_array(np.array([32, 32]), "traced"))
        names = ["image", "", "", "traced"]
        frozen = helper.make_node("Resize", names, ["frozen"], "Freeze", axes=[2, 3], mode="linear")
        model.graph.node.insert(0, frozen)
