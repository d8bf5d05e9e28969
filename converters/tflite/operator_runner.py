"""Runs one operator of a TFLite file at a time, in float, on LiteRT's built-in kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant, real
from modelparity.modelfiles.graph import Operator
from modelparity.modelfiles.tflite.constants import File
from modelparity.modelfiles.tflite.operators import traits

_TYPES = {name.lower(): code for name, code in vars(schema.TensorType).items() if name.isupper()}


class OperatorRunner:
    """The operators of a `Graph` that was read from `path`, each in an interpreter of its own.

    All tensors of integers that stand for real numbers are float32, so that the float kernel runs. The
    activation that is fused into an operator is the one of its attributes, which a caller may have changed.
    An operator that is fed floats in the place of truth values or integers gives floats in the place of such.
    """

    image_channels = -1  # [N, H, W, C]

    def __init__(self, path: Path) -> None:
        file = File(path)
        if len(file.subgraphs) > 1:
            raise NotImplementedError("the file has more than one subgraph")
        (graph,), (labels,) = file.subgraphs, file.labels
        self._file, self._tensors = file, graph.tensors
        self._stored = {labels[index]: made for made in graph.operators for index in made.outputs}
        self._interpreters: dict[Operator, tuple[Interpreter, tuple[tuple[int, ...], ...]]] = {}

    def run(self, operator: Operator, inputs: Sequence[Array | None]) -> list[Array]:
        """The operator's outputs, where `inputs` has a value for each input that is no constant.

        Raises:
            NotImplementedError: The operator runs another subgraph, or is a custom operator.
        """
        if traits(operator.kind).control or operator.kind.startswith("CUSTOM"):
            raise NotImplementedError(f"{operator.names[0]} is a {operator.kind}")
        fed = [value for value in inputs if value is not None]
        shapes = tuple(value.shape for value in fed)
        known = self._interpreters.get(operator)
        if known is None or known[1] != shapes:
            known = self._interpreters[operator] = (self._interpreter(operator, inputs), shapes)
        interpreter = known[0]
        for detail, value in zip(interpreter.get_input_details(), fed, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]

    def _interpreter(self, operator: Operator, inputs: Sequence[Array | None]) -> Interpreter:
        stored = self._stored[operator.names[0]]
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
        graph.tensors, graph.inputs, graph.outputs = [], [], []
        made = schema.OperatorT.InitFromObj(stored.table)
        code = schema.OperatorCodeT.InitFromObj(self._file._model.OperatorCodes(stored.table.OpcodeIndex()))
        made.opcodeIndex, model.operatorCodes = 0, [code]
        made.inputs, made.outputs, made.intermediates = [], [], None
        if (activation := operator.attributes.get("fusedActivationFunction")) is not None:
            made.builtinOptions.fusedActivationFunction = activation
        graph.operators = [made]

        def add(shape: Sequence[int], dtype: str, data: Array | None = None) -> int:
            tensor = schema.TensorT()
            tensor.shape, tensor.type, tensor.buffer = list(shape), _TYPES[dtype], 0
            tensor.name = str(len(graph.tensors)).encode()
            if data is not None:
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
                tensor.buffer = len(model.buffers)
                model.buffers.append(buffer)
            graph.tensors.append(tensor)
            return len(graph.tensors) - 1

        as_numbers = False
        for place, (edge, value) in enumerate(zip(operator.inputs, inputs, strict=True)):
            if value is not None and value.dtype == np.float32:
                declared = self._tensors[stored.inputs[place]].dtype
                as_numbers |= declared == "bool" or (
                    declared.startswith("int") and not self._real(stored, place)
                )
            if edge is None:
                made.inputs.append(-1)
            elif value is not None:
                made.inputs.append(add(value.shape, str(value.dtype)))
                graph.inputs.append(made.inputs[-1])
            else:
                assert isinstance(edge.source, Constant)
                constant = real(edge.source, np.float32)
                made.inputs.append(add(constant.shape, str(constant.dtype), constant))
        for index in stored.outputs:
            tensor = self._tensors[index]
            stands = self._file.quantization(0, index) is not None or tensor.dtype == "float16" or as_numbers
            made.outputs.append(add([max(1, n) for n in tensor.shape], "float32" if stands else tensor.dtype))
        graph.outputs = list(made.outputs)
        return _loaded(model)

    def _real(self, stored: Any, place: int) -> bool:
        """Whether an input has integers that stand for real numbers."""
        return self._file.quantization(0, stored.inputs[place]) is not None


def _loaded(model: Any) -> Interpreter:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(
        model_content=bytes(builder.Output()),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter
