"""Quantizes an ONNX file: float16 weights, or int8 layers with run-time or calibrated activations.

The graph is rewritten by `modelparity.converters.onnx.int8`, which says how onnxruntime's quantizers differ;
they also keep a calibrated copy of the model on disk, and refuse the shapes that the exporter's optimizer
leaves behind ("Inferred shape and existing shape differ") unless `graph.value_info` is cleared. Names, order
and float32 type of inputs and outputs stay, and so does the dynamic batch.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, TensorProto, helper, numpy_helper

from modelparity.converters.onnx.int8 import Dynamic, Ranges, Static, stays_float
from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.nodes import set_nodes, shapes_of

Rewrite = Callable[[GraphProto, Sequence[KeepFloat]], None]  # of a graph, in place


def quantize(
    source: Path,
    target: Path,
    quantization: str,
    *,
    keep_float: Sequence[KeepFloat],
    calibration: Sequence[Feeds],
) -> None:
    """Writes `source`, a float32 ONNX file, to `target` under the recipe named `quantization`.

    `calibration` is a stream of feeds by input name, used by int8_static only.

    Raises:
        ValueError: this format lacks the recipe, or int8_static is not given calibration inputs on which the
            float file is finite.
    """
    rewrite = rewriter(quantization, source, target.parent, keep_float=keep_float, calibration=calibration)
    model = onnx.load(source, load_external_data=False)  # each weight is read as its turn comes
    rewrite(model.graph, keep_float)
    external_data.embed(model, source.parent)
    onnx.save(model, target)


def rewriter(
    quantization: str,
    source: Path,
    scratch: Path,
    *,
    keep_float: Sequence[KeepFloat],
    calibration: Sequence[Feeds],
) -> Rewrite:
    """What rewrites a graph of `source` under a recipe, in place; calibrated already, where that is needed.

    Raises:
        ValueError: as `quantize` does.
    """
    if quantization not in _REWRITERS:
        raise ValueError(f"onnx has no recipe {quantization!r}")
    return _REWRITERS[quantization](source, scratch, keep_float, calibration)


def kept_float(source: Path, keep_float: Sequence[KeepFloat]) -> list[tuple[KeepFloat, int]]:
    """How many operators of the float file each entry leaves in float."""
    graph = onnx.load(source, load_external_data=False).graph
    shapes = shapes_of(graph)
    return [(entry, sum(stays_float(node, shapes, [entry]) for node in graph.node)) for entry in keep_float]


def _float16(source: Path, *_: object) -> Rewrite:
    return lambda graph, keep_float: _store_float16(graph, keep_float, source.parent)


def _dynamic(source: Path, *_: object) -> Rewrite:
    return lambda graph, keep_float: Dynamic(graph, keep_float, source.parent).rewrite()


def _static(
    source: Path, scratch: Path, keep_float: Sequence[KeepFloat], calibration: Sequence[Feeds]
) -> Rewrite:
    ranges = _ranges(source, scratch, keep_float, calibration)

    def rewrite(graph: GraphProto, keep_float: Sequence[KeepFloat]) -> None:
        static = Static(graph, keep_float, source.parent)
        static.ranges = ranges
        static.rewrite()

    return rewrite


_REWRITERS: Mapping[str, Callable[[Path, Path, Sequence[KeepFloat], Sequence[Feeds]], Rewrite]] = {
    "fp16": _float16,
    "int8_dynamic": _dynamic,
    "int8_static": _static,
}


def _store_float16(graph: GraphProto, keep_float: Sequence[KeepFloat], folder: Path) -> None:
    """Matrices and kernels become float16, with a `Cast` to float32 in front of what reads them.

    Vectors (biases, normalisation) stay, and so do weights beyond float16's greatest number.
    onnxruntime folds the casts as it loads the file, so speed and arithmetic are float32's. Float16
    throughout, which a CPU casts back and forth, took 1.1 to 1.25 times as long on ObjectFormer and
    lost another 4 dB (mask 47.3 against 50.8).
    """
    shapes = shapes_of(graph)
    kept = {name for node in graph.node if stays_float(node, shapes, keep_float) for name in node.input}
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2 or weight.name in kept:
            continue
        array = external_data.array_of(weight, folder)
        if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_float16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], f"{name}_Cast", to=TensorProto.FLOAT))
    set_nodes(graph, [*casts, *graph.node])


def _ranges(
    source: Path, scratch: Path, keep_float: Sequence[KeepFloat], calibration: Sequence[Feeds]
) -> Ranges:
    """Least and greatest value of each activation over the calibration stream, by the float file.

    Narrower ranges (percentiles, least squares, a mean of ranges) were all worse on ObjectFormer.
    """
    import onnxruntime

    if not calibration:
        raise ValueError("int8_static needs calibration inputs, but got none")
    model = onnx.load(source, load_external_data=False)
    names = Static(model.graph, keep_float, source.parent).activations()
    fed = {value.name for value in model.graph.input}
    inner = [name for name in names if name not in fed]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in inner)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    low, high = dict.fromkeys(names, math.inf), dict.fromkeys(names, -math.inf)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "watched.onnx"
        for name in external_data.files_of(model):
            os.link(source.parent / name, path.with_name(name))
        onnx.save(model, path)
        del model
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for feeds in calibration:
            values = {**feeds, **dict(zip(inner, session.run(inner, dict(feeds)), strict=True))}
            for name in names:
                low[name] = float(np.minimum(low[name], values[name].min()))  # NaN stays
                high[name] = float(np.maximum(high[name], values[name].max()))
        del session  # it holds the file, which the folder is to be rid of
    for name in names:
        if not math.isfinite(high[name] - low[name]):
            raise ValueError(f"calibration found {name} between {low[name]} and {high[name]}")
    return {name: (low[name], high[name]) for name in names}
