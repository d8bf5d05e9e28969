"""Converts an ONNX file to a TFLite file by onnx2tf and TensorFlow: the second route from PyTorch to TFLite.

It shares the exported program with the first route (litert-torch) and nothing behind it, so that two
files which agree are two witnesses. onnx2tf rewrites channels-first networks as channels-last ones and,
in its strict mode, tries axis permutations on an input of ones until the outputs fit; on such an input a
transposed map looks right. Here nothing is tried, outputs leave it as [1, n], which has no axes to swap,
and what onnx2tf says of its own result is not asked: the file is judged like any other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelparity.converters.engine.exported_program import FloatFile, Shapes
from modelparity.converters.onnx2tf.graph import prepared
from modelparity.converters.onnx2tf.workarounds import mended

_MODULES = ("onnx2tf", "tensorflow", "tf_keras", "onnx_graphsurgeon", "sng4onnx")


class SecondRouteError(RuntimeError):
    """onnx2tf or TensorFlow could not carry the network; the message names the operator."""


def missing() -> tuple[str, ...]:
    """The route's modules that are not installed; looked up, not imported."""
    return tuple(name for name in _MODULES if find_spec(name) is None)


def convert_float(source: FloatFile, target: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """A float32 `.onnx` file to `.tflite` at batch 1, axes, names and order kept.

    Raises `SecondRouteError` for an operator that onnx2tf does not carry.
    """
    with tempfile.TemporaryDirectory(prefix="modelparity-") as name:
        folder = Path(name)
        model = prepared(source, folder)
        order = [value.name for value in model.graph.output]
        network = _as_keras(model, inputs, folder)
        shapes = {name: source.outputs[name] for name in order}
        target.write_bytes(_as_tflite(network, inputs, shapes, folder))
    _order(target, inputs, outputs)


def _as_keras(model: Any, inputs: Sequence[str], folder: Path) -> Any:
    import onnx2tf

    try:
        # An input kept channels-first is no photograph to onnx2tf, so that it downloads no sample images.
        with mended():
            return onnx2tf.convert(
                onnx_graph=model,
                output_folder_path=str(folder),
                keep_ncw_or_nchw_or_ncdhw_input_names=list(inputs),
                not_use_onnxsim=True,
                not_use_opname_auto_generate=True,
                disable_strict_mode=True,
                disable_model_save=True,
                verbosity="error",
            )
    except (Exception, SystemExit) as error:  # it exits where it gives up
        name = getattr(error, "onnx_op_name", "")
        kind = next((node.op_type for node in model.graph.node if node.name == name), "the network")
        words = " ".join(str(error).split())[:300]
        message = (
            f"onnx2tf {onnx2tf.__version__} does not carry {kind} {name}: {type(error).__name__}: {words}"
        )
        raise SecondRouteError(message) from error


def _as_tflite(network: Any, inputs: Sequence[str], shapes: Shapes, folder: Path) -> bytes:
    """`shapes` are those of the network's outputs, in its order."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name)
        for name, tensor in zip(inputs, network.inputs, strict=True)
    ]

    def shaped(*feeds: Any) -> list[Any]:
        found = network(list(feeds) if len(feeds) > 1 else feeds[0])
        found = found if isinstance(found, list | tuple) else [found]
        return [tf.reshape(output, shape) for output, shape in zip(found, shapes.values(), strict=True)]

    try:
        # Constants that onnx2tf's layers hold are tracked by no layer, and refused, unless they are frozen.
        frozen = convert_variables_to_constants_v2(
            tf.function(shaped, input_signature=specs).get_concrete_function()
        )
        # By way of a SavedModel: from a function alone, the converter may write a file that names nothing.
        module = tf.Module()
        module.served = tf.function(
            lambda *feeds: dict(zip(shapes, frozen(*feeds), strict=True)), input_signature=specs
        )
        saved = str(folder / "saved")
        tf.saved_model.save(module, saved, signatures=module.served)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())
    except Exception as error:
        message = (
            f"TensorFlow {tf.__version__} does not carry the network: {' '.join(str(error).split())[:300]}"
        )
        raise SecondRouteError(message) from error


def _order(target: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Puts the ports of the file's signature in this order; TensorFlow sorts them by name."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(target))
    (signature,) = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    for names, side in ((inputs, "inputs"), (outputs, "outputs")):
        ports = {port.name.decode(): port for port in getattr(signature, side)}
        setattr(signature, side, [ports[name] for name in names])
        setattr(graph, side, [ports[name].tensorIndex for name in names])
    tfl_flatbuffer_utils.write_model(model, str(target))
