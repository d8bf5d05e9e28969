"""Prepares an ONNX graph for onnx2tf: fixed at batch 1, constants folded, outputs flat."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from modelparity.converters.engine.exported_program import FloatFile, Shapes
from modelparity.converters.onnx2tf.workarounds import pass_on_counts


def prepared(source: FloatFile, folder: Path) -> Any:
    """The model to give to onnx2tf; `folder` takes what is written on the way.

    onnxruntime folds what is constant at these shapes: onnx2tf builds Keras layers, which cannot begin
    at a constant.
    """
    import onnx
    import onnxruntime

    model = onnx.load(source.path)
    for values, shapes in ((model.graph.input, source.inputs), (model.graph.output, source.outputs)):
        for value in values:
            _reshape(value, shapes[value.name])
    del model.graph.value_info[:]  # inferred anew at this batch
    fixed, folded = folder / "fixed.onnx", folder / "folded.onnx"
    onnx.save(model, fixed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(fixed, options, providers=["CPUExecutionProvider"])
    model = onnx.load(folded)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"  # onnx2tf goes by names
    _flatten_outputs(model, source.outputs)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    pass_on_counts(model)  # after it: no shape is seen through a count that is passed on
    return model


def _reshape(value: Any, shape: Sequence[int]) -> None:
    axes = value.type.tensor_type.shape.dim
    del axes[:]
    for size in shape:
        axes.add().dim_value = size


def _flatten_outputs(model: Any, shapes: Shapes) -> None:
    """Ends every output of rank 3 and more in a Reshape to [1, n]; the true shape is restored behind it."""
    import numpy as np
    from onnx import helper, numpy_helper

    for value in model.graph.output:
        shape, name = shapes[value.name], value.name
        if len(shape) < 3:
            continue
        inner = f"{name}_before_flattening"
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [inner if each == name else each for each in names]
        size = numpy_helper.from_array(np.array([1, prod(shape)], np.int64), f"{name}_flat_shape")
        model.graph.initializer.append(size)
        model.graph.node.append(helper.make_node("Reshape", [inner, size.name], [name], name=f"{name}_flat"))
        _reshape(value, (1, prod(shape)))
