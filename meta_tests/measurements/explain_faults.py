"""Plants one fault a file and asks `explain` which layer it is.

`python -m meta_tests.measurements.explain_faults [WORDS]` prints a table, and ends with 1 if any planted
layer is not the first one named. WORDS select rows. Float files come from the store; each row costs two
runs of the network, a minute or two for the large ones. Where the fault goes is found by the weights' own
numbers, not by what `explain` looks at.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.parity.explain.explain import explain
from modelparity.parity.session import Session

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """`layer` is where the fault goes, and what has to be named but for `named`."""

    model: str
    format: str
    fault: str
    layer: str
    named: str = ""


ROWS = (
    Row("tiny_ladeda", "onnx", "one output channel x 1.05", "network.layer1.0.conv1"),
    Row("tiny_ladeda", "tflite", "bias dropped", "network.conv2"),
    Row("tiny_ladeda", "tflite", "activation dropped", "network.layer1.0.conv2", "network.layer1.0"),
    Row("ladeda", "onnx", "residual branch skipped", "network.layer3.2"),
    Row("ladeda", "tflite", "one output channel x 1.05", "network.layer2.1.conv2"),
    Row("ladeda", "tflite", "residual branch skipped", "network.layer3.4"),
    Row("chunkyseal", "onnx", "epsilon x 1000", "network.convnext.stages.2.5.norm"),
    Row("chunkyseal", "onnx", "GELU by tanh", "network.convnext.stages.1.1"),
    Row("chunkyseal", "tflite", "one output channel x 1.05", "network.convnext.stages.3.1.pwconv2"),
    Row(
        "objectformer", "onnx", "LeakyReLU slope x 1.5", "network.localizer_2", "network.localizer_2.deconv1"
    ),
    Row("objectformer", "onnx", "bias dropped", "network.layer_1.blocks.0.encoder.enc_attn.proj"),
    Row(
        "objectformer",
        "tflite",
        "LeakyReLU slope x 1.5",
        "network.localizer_2",
        "network.localizer_2.deconv1",
    ),
    Row("objectformer", "tflite", "one output channel x 1.05", "network.layer_2.blocks.1.decoder.ffn1.fc2"),
    Row("fasterrcnn", "onnx", "one output channel x 1.05", "network.model.backbone.body.12.block.3.0"),
    Row("fasterrcnn", "tflite", "one output channel x 1.05", "network.model.backbone.body.8.block.0.0"),
    Row("fasterrcnn", "tflite", "bias dropped", "network.model.roi_heads.box_head.fc7"),
)


def plant(row: Row, source: Path, target: Path, weight: Array | None) -> None:
    """Writes `source` with the fault of `row`. `weight` is the layer's own, [out, in, ...]."""
    {"onnx": _plant_onnx, "tflite": _plant_tflite}[row.format](row, source, target, weight)


def _normal(weight: Array, axis: int) -> Array:
    """Each output channel by its own size: as it is with or without a batch norm folded in."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    return rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-30)


def _plant_onnx(row: Row, source: Path, target: Path, weight: Array | None) -> None:
    import onnx
    from onnx import NodeProto, helper, numpy_helper

    from modelparity.modelfiles.onnx.activations import scope_of

    model = onnx.load(source)
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}

    def inside(node: NodeProto) -> bool:
        return any(f"'{row.layer}." in entry.value for entry in node.metadata_props)

    def own(node: NodeProto) -> bool:
        """In the layer itself, not in a part of it."""
        return scope_of(node) == row.layer

    def attribute(node: NodeProto, name: str) -> Any:
        return next(a for a in node.attribute if a.name == name)

    if row.fault.startswith("one output channel"):
        assert weight is not None
        name, axis = next(
            (t.name, axis)
            for t in graph.initializer
            for axis, turned in ((0, weight), (1, weight.T))
            if tuple(t.dims) == turned.shape
            and np.allclose(_normal(numpy_helper.to_array(t), axis), _normal(turned, axis), atol=1e-5)
        )
        array = numpy_helper.to_array(stored[name]).copy()
        np.moveaxis(array, axis, 0)[array.shape[axis] // 3] *= 1.05
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    elif row.fault == "residual branch skipped":
        made = {name: node for node in graph.node for name in node.output}
        (add,) = (n for n in graph.node if n.op_type == "Add" and own(n))
        # The branch ends in the last kernel of the block; the other input is the shortcut.
        kept = next(i for i in add.input if made[i].op_type != "Conv")
        add.CopyFrom(helper.make_node("Identity", [kept], list(add.output), add.name))
    elif row.fault.startswith("epsilon"):
        (node,) = (n for n in graph.node if n.op_type == "LayerNormalization" and own(n))
        attribute(node, "epsilon").f *= 1000
    elif row.fault == "GELU by tanh":
        (node,) = (n for n in graph.node if n.op_type == "Gelu" and own(n))
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("approximate", "tanh"))
    elif row.fault.startswith("LeakyReLU"):
        node = next(n for n in graph.node if n.op_type == "LeakyRelu" and inside(n))
        attribute(node, "alpha").f *= 1.5
    elif row.fault == "bias dropped":
        node = next(n for n in graph.node if n.op_type == "Add" and own(n))
        name = next(i for i in node.input if i in stored)
        array = np.zeros_like(numpy_helper.to_array(stored[name]))
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    else:
        raise ValueError(row.fault)
    onnx.save(model, target)


def _plant_tflite(row: Row, source: Path, target: Path, weight: Array | None) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(source))
    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]
    kinds = schema.BuiltinOperator

    def data(index: int) -> Array:
        tensor = graph.tensors[index]
        return np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape)

    def write(index: int, values: Array) -> None:
        model.buffers[graph.tensors[index].buffer].data = np.frombuffer(values.tobytes(), np.uint8)

    def layer_of(weight: Array) -> tuple[Any, int]:
        """The operator with this weight, and the axis of its output channels."""
        for operator in graph.operators:
            code = codes[operator.opcodeIndex]
            if code not in (kinds.CONV_2D, kinds.FULLY_CONNECTED):
                continue
            turned = weight.transpose(0, 2, 3, 1) if weight.ndim == 4 else weight
            if model.buffers[graph.tensors[operator.inputs[1]].buffer].data is None:
                continue
            stored = data(operator.inputs[1])
            if stored.squeeze().shape != turned.squeeze().shape:
                continue
            if np.allclose(_normal(stored, 0), _normal(turned, 0), atol=1e-5):
                return operator, 0
        raise ValueError(f"no operator has the weight of {row.layer}")

    if row.fault == "residual branch skipped":
        # The shortcut's ADD follows the block's last kernel, whose weight was given.
        assert weight is not None
        last, _ = layer_of(weight)
        (add,) = (
            o
            for o in graph.operators
            if codes[o.opcodeIndex] == kinds.ADD and last.outputs[0] in list(o.inputs)
        )
        (kept,) = (i for i in add.inputs if i != last.outputs[0])
        for operator in graph.operators:
            if operator is not add:
                operator.inputs = [kept if i == add.outputs[0] else i for i in operator.inputs]
    elif row.fault.startswith("LeakyReLU"):
        # The first of them follows the localizer's first upsampling.
        leaky = [o for o in graph.operators if codes[o.opcodeIndex] == kinds.LEAKY_RELU]
        leaky[0].builtinOptions.alpha *= 1.5
    else:
        assert weight is not None
        operator, axis = layer_of(weight)
        if row.fault == "bias dropped":
            write(operator.inputs[2], np.zeros_like(data(operator.inputs[2])))
        elif row.fault == "activation dropped":
            operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
        elif row.fault.startswith("one output channel"):
            array = data(operator.inputs[1]).copy()
            np.moveaxis(array, axis, 0)[array.shape[axis] // 3] *= 1.05
            write(operator.inputs[1], array)
        else:
            raise ValueError(row.fault)
    tfl_flatbuffer_utils.write_model(model, str(target))


def weight_of(session: Session, row: Row) -> Array | None:
    """The float32 weight of the row's layer, or of the last kernel of a block that is named."""
    from modelparity.fixtures.checkpoints.load import weighted

    module = weighted(session.subject(row.model).spec, None).get_submodule(row.layer)
    if row.fault == "residual branch skipped":
        module = module.get_submodule("conv3")
    weight = getattr(module, "weight", None)
    return None if weight is None else weight.detach().numpy().copy()


def main(words: list[str]) -> int:
    rows = [row for row in ROWS if all(word in " ".join(vars(row).values()) for word in words)]
    wrong = 0
    for row in rows:
        with Session() as session, tempfile.TemporaryDirectory() as scratch:
            spec = session.models[row.model]
            source = session.artifact(row.model, row.format, "fp32").path
            target = Path(scratch) / source.name
            plant(row, source, target, weight_of(session, row))
            start = time.monotonic()
            folder = Path(scratch) / "values"
            folder.mkdir()
            followed = explain(
                session.bench,
                session.subject(spec.name),
                row.format,
                target,
                feed=session.feeds(spec.name)[0],
                folder=folder,
            )
            found, seconds = followed.explanation, time.monotonic() - start
        first = found.diverging[0] if found.diverging else None
        named = f"{first.module} {first.operator}" if first else "no layer"
        right = (
            first is not None
            and first.module == (row.named or row.layer)
            and len(found.diverging) == 1
            and found.explained
        )
        wrong += not right
        ratio = f"{first.ratio:,.0f} floors" if first else ""
        planted = f"{row.model:12} {row.format:6} {row.fault:25} {row.named or row.layer:46}"
        count = f"{len(found.diverging)} diverging, {found.covered}/{found.steps} covered, {seconds:.0f} s"
        print(f"{'ok ' if right else 'NOT'} {planted} -> {named:60} {ratio:17} {count}", flush=True)
    print(f"{len(rows) - wrong} of {len(rows)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
