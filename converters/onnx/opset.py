"""Rewrites an ONNX file at an older opset: operators that came later become those that were there.

The exporter writes opset 18 and up. onnx's own converter downwards stops at Relu ("No Adapter From
Version $14") and leaves the file as it was, which its callers report as a success.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from modelparity.modelfiles.onnx.nodes import set_nodes
from modelparity.modelfiles.onnx.opset import STANDARD_DOMAINS, opset_entry, opset_of

OLDEST = 12  # what the oldest runtimes in use read; the first with integer Clip, Max and Min
_EXTERNAL_DATA_BYTES = 1_900_000_000  # protobuf ends at 2 GiB


class OpsetError(ValueError):
    """The network cannot be written at that opset; the message names the operator and why."""


def lower(source: Path, target: Path, opset: int) -> None:
    """Writes `source` at `opset`, between `OLDEST` and its own.

    Raises:
        OpsetError: an operator, one of its attributes or types has no equal there.
    """
    model = onnx.load(source)
    present = opset_of(model)
    if not OLDEST <= opset <= present:
        raise OpsetError(f"opset {opset}, but should be {OLDEST} to {present}")
    _Lowering(model.graph, opset).rewrite()
    opset_entry(model).version = opset
    # The least that goes with this opset; readers of its day refuse a later one.
    model.ir_version = helper.find_min_ir_version_for([opset_entry(model)])
    _check(model, opset)
    large = model.ByteSize() > _EXTERNAL_DATA_BYTES
    onnx.save_model(model, target, save_as_external_data=large, location=f"{target.name}.data")


def _check(model: ModelProto, opset: int) -> None:
    """Types and attributes against the operators' definitions at `opset`."""
    if model.ByteSize() > _EXTERNAL_DATA_BYTES:
        return  # the checker takes serialised models only; the file is proven by running it
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OpsetError(f"opset {opset}: {' '.join(str(error).split())}") from error


# Inputs that were attributes before: operator -> (position, attribute, the opset that changed it).
_WAS_ATTRIBUTE = {
    **{f"Reduce{kind}": (1, "axes", 18) for kind in ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum")},
    **{f"Reduce{kind}": (1, "axes", 18) for kind in ("LogSumExp", "SumSquare")},
    "ReduceSum": (1, "axes", 13),
    "Squeeze": (1, "axes", 13),
    "Unsqueeze": (1, "axes", 13),
    "Split": (1, "split", 13),
}


class _Lowering:
    """One graph, node by node. New names are the node's first output with a suffix."""

    def __init__(self, graph: GraphProto, opset: int) -> None:
        self._graph = graph
        self._opset = opset
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {
            value.name: value.type.tensor_type for value in [*graph.input, *graph.value_info, *graph.output]
        }
        self._decomposed: dict[str, Callable[[NodeProto], Iterator[NodeProto]]] = {
            "Gelu": self._gelu,
            "LayerNormalization": self._layer_normalization,
            "HardSwish": self._hard_swish,
            "Mish": self._mish,
        }

    def rewrite(self) -> None:
        set_nodes(self._graph, [made for node in self._graph.node for made in self._lowered(node)])

    def _lowered(self, node: NodeProto) -> Iterator[NodeProto]:
        if node.domain not in STANDARD_DOMAINS:
            yield node  # versioned by its own domain
            return
        if _since(node.op_type, self._opset) is None:
            if node.op_type not in self._decomposed:
                raise OpsetError(f"opset {self._opset} has no {node.op_type} (node {node.name!r})")
            for part in self._decomposed[node.op_type](node):
                yield from self._lowered(part)
            return
        if node.op_type == "Shape" and self._opset < 15 and node.attribute:
            yield from self._shape(node)
            return
        self._axes(node)
        if node.op_type in ("Softmax", "LogSoftmax", "Hardmax") and self._opset < 13:
            self._last_axis(node)
        if node.op_type == "Resize" and self._opset < 13:
            self._stand_in(node)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and self._opset < 13:
            scale = self._constants.get(node.input[1])
            if scale is None or len(scale.dims) > 0:
                raise self._refusal(node, "a scale a channel, but should be one a tensor")
            self._drop(node, "axis")
        self._attributes(node)
        yield node

    def _stand_in(self, node: NodeProto) -> None:
        """Before 13, Resize took an empty array for a region or scales that are not given."""
        for position in range(1, min(3, len(node.input))):
            if not node.input[position]:
                name = f"{node.output[0]}_none{position}"
                node.input[position] = self._constant(name, np.zeros(0, np.float32))

    def _axes(self, node: NodeProto) -> None:
        """Turns a constant input into the attribute it was."""
        position, name, changed = _WAS_ATTRIBUTE.get(node.op_type, (0, "", 0))
        if self._opset >= changed:
            return
        if len(node.input) > position and node.input[position]:
            value = self._constants.get(node.input[position])
            if value is None:
                raise self._refusal(node, f"{name} are computed, but should be constant")
            node.attribute.append(helper.make_attribute(name, numpy_helper.to_array(value).ravel().tolist()))
        elif _attribute(node, "noop_with_empty_axes", 0):
            raise self._refusal(node, "it reduces nothing")
        del node.input[position:]
        self._drop(node, "noop_with_empty_axes")

    def _last_axis(self, node: NodeProto) -> None:
        """Before 13, Softmax flattened all axes from its own on: the same only for the last one."""
        axis, rank = _attribute(node, "axis", -1), len(self._types[node.input[0]].shape.dim)
        if axis not in (-1, rank - 1):
            raise self._refusal(node, f"its axis is {axis} of {rank}, but should be the last")
        self._drop(node, "axis")
        node.attribute.append(helper.make_attribute("axis", rank - 1))

    def _attributes(self, node: NodeProto) -> None:
        """Drops attributes that came later, where they say what went without saying before."""
        schema = defs.get_schema(node.op_type, self._opset)
        if len([name for name in node.input if name]) > schema.max_input:
            raise self._refusal(node, f"{len(node.input)} inputs, but should be at most {schema.max_input}")
        latest = defs.get_schema(node.op_type)
        for attribute in [entry for entry in node.attribute if entry.name not in schema.attributes]:
            value = helper.get_attribute_value(attribute)
            known = latest.attributes.get(attribute.name)
            usual = known.default_value if known else AttributeProto()
            default = helper.get_attribute_value(usual) if usual.type else None
            # Reshape's 0 stands for an axis of no elements, which no image has.
            if attribute.name != "allowzero" and value != default:
                raise self._refusal(node, f"{attribute.name}={value!r}")
            node.attribute.remove(attribute)

    def _shape(self, node: NodeProto) -> Iterator[NodeProto]:
        """Shape of some axes, as a slice of the whole."""
        start, end = _attribute(node, "start", 0), _attribute(node, "end", np.iinfo(np.int64).max)
        out = node.output[0]
        bounds = [self._constant(f"{out}_{name}", np.array([value], np.int64))
                  for name, value in (("start", start), ("end", end))]  # fmt: skip
        yield helper.make_node("Shape", [node.input[0]], [f"{out}_whole"], f"{node.name}_whole")
        yield helper.make_node("Slice", [f"{out}_whole", *bounds], [out], node.name)

    def _gelu(self, node: NodeProto) -> Iterator[NodeProto]:
        """x/2 (1 + erf(x / sqrt 2)); by tanh where the network asks for that approximation."""
        x, out = node.input[0], node.output[0]
        inner, step = self._chain(node)
        half, one = self._scalar(node, "half", 0.5), self._scalar(node, "one", 1)
        if _attribute(node, "approximate", b"none") == b"none":
            yield step("Mul", "scaled", x, self._scalar(node, "root", 0.5**0.5))
            yield step("Erf", "curve", inner("scaled"))
        else:
            yield step("Mul", "square", x, x)
            yield step("Mul", "bent", inner("square"), self._scalar(node, "cubic", 0.044715))
            yield step("Add", "factor", inner("bent"), one)
            yield step("Mul", "cube", inner("factor"), x)
            yield step("Mul", "scaled", inner("cube"), self._scalar(node, "root", (2 / np.pi) ** 0.5))
            yield step("Tanh", "curve", inner("scaled"))
        yield step("Add", "raised", inner("curve"), one)
        yield step("Mul", "halved", x, half)
        yield helper.make_node("Mul", [inner("halved"), inner("raised")], [out], node.name)

    def _layer_normalization(self, node: NodeProto) -> Iterator[NodeProto]:
        """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the axes from `axis` on."""
        if len([name for name in node.output if name]) > 1:
            raise self._refusal(node, "its mean or deviation is used")
        x, scale, *bias = node.input
        rank = len(self._types[x].shape.dim)
        first = _attribute(node, "axis", -1)
        axes = list(range(first - rank if first >= 0 else first, 0))
        inner, step = self._chain(node)
        yield step("ReduceMean", "mean", x, axes=axes, keepdims=1)
        yield step("Sub", "centred", x, inner("mean"))
        yield step("Mul", "square", inner("centred"), inner("centred"))
        yield step("ReduceMean", "variance", inner("square"), axes=axes, keepdims=1)
        epsilon = self._scalar(node, "epsilon", _attribute(node, "epsilon", 1e-5))
        yield step("Add", "padded", inner("variance"), epsilon)
        yield step("Sqrt", "deviation", inner("padded"))
        yield step("Div", "unit", inner("centred"), inner("deviation"))
        last = "scaled" if bias and bias[0] else None
        product = [inner("unit"), scale]
        if last is None:
            yield helper.make_node("Mul", product, [node.output[0]], node.name)
            return
        yield step("Mul", last, *product)
        yield helper.make_node("Add", [inner(last), bias[0]], [node.output[0]], node.name)

    def _hard_swish(self, node: NodeProto) -> Iterator[NodeProto]:
        inner, step = self._chain(node)
        yield step("HardSigmoid", "gate", node.input[0], alpha=1 / 6, beta=0.5)
        yield helper.make_node("Mul", [node.input[0], inner("gate")], [node.output[0]], node.name)

    def _mish(self, node: NodeProto) -> Iterator[NodeProto]:
        inner, step = self._chain(node)
        yield step("Softplus", "soft", node.input[0])
        yield step("Tanh", "gate", inner("soft"))
        yield helper.make_node("Mul", [node.input[0], inner("gate")], [node.output[0]], node.name)

    def _chain(self, node: NodeProto) -> tuple[Callable[[str], str], Callable[..., NodeProto]]:
        """Names of values between a node's parts, and a maker of such parts."""

        def inner(name: str) -> str:
            return f"{node.output[0]}_{name}"

        def step(operator: str, name: str, *inputs: str, **attributes: Any) -> NodeProto:
            return helper.make_node(
                operator, list(inputs), [inner(name)], f"{node.name}_{name}", **attributes
            )

        return inner, step

    def _scalar(self, node: NodeProto, name: str, value: float) -> str:
        kind = self._types[node.input[0]].elem_type or TensorProto.FLOAT
        return self._constant(
            f"{node.output[0]}_{name}", np.array(value, helper.tensor_dtype_to_np_dtype(kind))
        )

    def _constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _drop(self, node: NodeProto, name: str) -> None:
        for attribute in [entry for entry in node.attribute if entry.name == name]:
            node.attribute.remove(attribute)

    def _refusal(self, node: NodeProto, words: str) -> OpsetError:
        return OpsetError(f"opset {self._opset} has no such {node.op_type}: {words} (node {node.name!r})")


def _since(operator: str, opset: int) -> int | None:
    """The version of an operator's definition at `opset`; None if it came later."""
    try:
        return int(defs.get_schema(operator, opset).since_version)
    except defs.SchemaError:
        return None


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name]
    return found[0] if found else default
