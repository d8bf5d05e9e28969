"""Runs one operator of an ONNX file at a time, in float, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant, real
from modelparity.modelfiles.graph import OF_INTEGERS, Operator

_UNREAD = ("QuantizeLinear", "DynamicQuantizeLinear")  # of a graph, where no rounding was read


class OperatorRunner:
    """The operators of a `Graph` that was read from `path`, each in a session of its own.

    A session keeps the operator's constants, so that weights are packed once.
    """

    image_channels = 1  # [N, C, H, W]

    def __init__(self, path: Path) -> None:
        model = onnx.load(path, load_external_data=False)
        self._opsets, self._ir_version = list(model.opset_import), model.ir_version
        self._sessions: dict[Operator, onnxruntime.InferenceSession] = {}

    def run(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        """The operator's outputs, where `inputs` has a value for each input that is no constant.

        Raises:
            NotImplementedError: The operator computes with integers of a quantized tensor, or has a body.
        """
        if operator.kind == f"DequantizeLinear{OF_INTEGERS}":
            return [_dequantized(operator, inputs)]
        if operator.kind.endswith(OF_INTEGERS) or operator.kind in _UNREAD:
            raise NotImplementedError(f"{operator.names[0]} is a {operator.kind}")
        session = self._sessions.get(operator)
        if session is None:
            session = self._sessions[operator] = self._session(operator, inputs)
        feed = {str(place): value for place, value in enumerate(inputs) if value is not None}
        made = iter(session.run(None, feed))  # without optional outputs that are left out
        return [next(made) if name else np.empty(0) for name in operator.names]

    def _session(self, operator: Operator, inputs: Sequence[Array | None]) -> onnxruntime.InferenceSession:
        names, ports, constants = [], [], []
        for place, (edge, value) in enumerate(zip(operator.inputs, inputs, strict=True)):
            names.append("" if edge is None else str(place))
            if value is not None:
                dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
                ports.append(helper.make_tensor_value_info(str(place), dtype, None))
            elif edge is not None and isinstance(edge.source, Constant):
                value_of = np.asarray(real(edge.source, np.float32), order="C")  # a scalar stays one
                constants.append(numpy_helper.from_array(value_of, str(place)))
        node = self._node(operator, names)
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        model = helper.make_model(
            helper.make_graph([node], "one_operator", ports, results, constants),
            opset_imports=self._opsets,
            ir_version=self._ir_version,
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _node(self, operator: Operator, inputs: Sequence[str]) -> NodeProto:
        domain, _, kind = operator.kind.rpartition(".")
        version = next((o.version for o in self._opsets if o.domain == domain), 1)
        types = defs.get_schema(kind, version, domain).attributes if defs.has(kind, domain) else {}
        attributes: dict[str, Any] = {}
        for name, value in operator.attributes.items():
            of = types[name].type if name in types else None
            if of in (defs.OpSchema.AttrType.GRAPH, defs.OpSchema.AttrType.GRAPHS):
                raise NotImplementedError(f"{operator.names[0]} is a {operator.kind}, which has a body")
            attributes[name] = TensorProto.FromString(value) if of == defs.OpSchema.AttrType.TENSOR else value
        return helper.make_node(kind, list(inputs), list(operator.names), domain=domain, **attributes)


def _dequantized(operator: Operator, inputs: Sequence[Array | None]) -> Array:
    """What integers stand for by another scale or zero point than those that they were quantized by."""
    value, read = inputs[0], operator.inputs[0]
    scale, zero_point = (_constant(operator, place) for place in (1, 2))
    if value is None or read is None or not read.roundings or scale is None:
        raise NotImplementedError(f"{operator.names[0]} is a {operator.kind}")
    known = read.roundings[-1]
    integers = value / np.float32(known.scale) + np.float32(known.zero_point)
    shift = np.float32(0) if zero_point is None else zero_point.astype(np.float32)
    result: Array = ((integers - shift) * scale).astype(np.float32)
    return result


def _constant(operator: Operator, place: int) -> Array | None:
    edge = operator.inputs[place] if place < len(operator.inputs) else None
    return edge.source.read() if edge is not None and isinstance(edge.source, Constant) else None
