"""Describes a TFLite file.

The first signature's subgraph is the model (subgraph 0 where a file has no signature).

*Weights* are constants that operators of any subgraph read, each buffer once. Integers of 32 and 64 bits
and booleans are shapes, axes, permutations and indices and are left out, except in the bias operand of a
convolution or fully connected layer. Scales and zero points are no tensors in this format.

*Multiply-accumulates* come from the shapes in the file. They are int8 when the operator itself reads an
int8 weight (with float activations the kernel quantizes these as it runs) or two int8 operands; behind a
DEQUANTIZE it reads a float. `macs["unknown"]` is no multiply-accumulates but the number of operators that
could not be counted: an axis is dynamic (no guess is made at it), the operator may run in a loop or a
branch, or its arithmetic is not known here. A file with a fixed batch is divided by that batch, the first
axis of its first input.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from modelparity.modelfiles.description import Description, Port, broken, recipe
from modelparity.modelfiles.formats import expect
from modelparity.modelfiles.tflite.operators import traits
from modelparity.modelfiles.tflite.reader import DAMAGE, Operator, Subgraph, Tensor, TfliteFile

_INT8 = {"int8", "uint8", "int4", "uint4", "int2"}  # what int8 kernels take as it is or unpack
_NO_WEIGHTS = {"int32", "uint32", "int64", "uint64", "bool", "string", "resource", "variant"}


def describe_tflite(path: Path) -> Description:
    """Read a TFLite file. Raises NotAModelError and BrokenModelError."""
    expect(path, "tflite")
    try:
        return _describe(TfliteFile(path))
    except DAMAGE as error:
        astray = "" if isinstance(error, ValueError) else "an offset leads astray: "
        raise broken(path, astray + str(error)) from error


def _describe(file: TfliteFile) -> Description:
    graph = file.subgraphs[file.main]
    if not graph.outputs:
        raise ValueError("it has no outputs")
    inputs = tuple(_port(graph, index, file) for index in graph.inputs)
    outputs = tuple(_port(graph, index, file) for index in graph.outputs)
    arithmetic = _Arithmetic(file)
    macs = arithmetic.total()
    first = inputs[0].shape if inputs else ()
    batch = first[0] if len(first) > 1 and isinstance(first[0], int) and first[0] else 1
    weights = _weights(file)
    return Description(
        format="tflite",
        quantization=recipe(arithmetic.kinds, weights),
        inputs=inputs,
        outputs=outputs,
        weights=weights,
        macs={k: n if k == "unknown" else n // batch for k, n in sorted(macs.items()) if n},
        operators=dict(sorted(Counter(op.name for g in file.subgraphs for op in g.operators).items())),
        producer=file.producer,
    )


def _port(graph: Subgraph, index: int, file: TfliteFile) -> Port:
    tensor = graph.tensors[index]
    names = file.names.get(index) or [tensor.name]
    # A tensor given twice has two names; they go in the signature's order.
    name = names.pop(0) if len(names) > 1 else names[0]
    return Port(name, tuple("dynamic" if n == -1 else n for n in tensor.shape), tensor.dtype)


def _weights(file: TfliteFile) -> dict[str, int]:
    """Elements of the constants that operators read, by stored type."""
    seen: dict[tuple[str, int], Tensor] = {}
    for graph in file.subgraphs:
        for operator in graph.operators:
            bias = (traits(operator.name).operands or (0, 1, None))[2]
            for position, index in enumerate(operator.inputs):
                tensor = graph.tensors[index] if index >= 0 else None
                if tensor and tensor.constant and (tensor.dtype not in _NO_WEIGHTS or position == bias):
                    seen.setdefault(tensor.constant, tensor)
    total: Counter[str] = Counter()
    for tensor in seen.values():
        total[tensor.dtype] += prod(tensor.shape)
    return dict(sorted(total.items()))


class _Arithmetic:
    """Multiply-accumulates by type, and the recipes that int8 operators show."""

    def __init__(self, file: TfliteFile) -> None:
        self.file = file
        self.kinds: Counter[str] = Counter()
        self._counted: dict[int, Counter[str]] = {}  # subgraph -> its multiply-accumulates

    def total(self) -> Counter[str]:
        macs = self._subgraph(self.file.main, ())
        graphs = self.file.subgraphs
        if any(traits(op.name).control for i in self._counted for op in graphs[i].operators):
            bodies = (graph for i, graph in enumerate(graphs) if i not in self._counted)
            macs["unknown"] += sum(
                traits(op.name).operands is not None for graph in bodies for op in graph.operators
            )
        return macs

    def _subgraph(self, index: int, within: tuple[int, ...]) -> Counter[str]:
        """Those of a subgraph with the composites that it calls, each as often as it is called."""
        if index in within or not 0 <= index < len(self.file.subgraphs):
            raise ValueError(f"subgraph {index} is called, but is not there or calls itself")
        if index not in self._counted:
            graph, total = self.file.subgraphs[index], Counter[str]()
            makers = {made: operator for operator in graph.operators for made in operator.outputs}
            for operator in graph.operators:
                if traits(operator.name).operands:
                    dtype, kind = _computes(graph, operator, makers)
                    macs = _macs(graph, operator)
                    total.update({"unknown": 1} if macs is None else {dtype: macs})
                    self.kinds.update([kind] if kind else [])
                elif operator.name == "STABLEHLO_COMPOSITE":
                    total.update(self._subgraph(_decomposition(operator), (*within, index)))
                elif traits(operator.name).uncounted or operator.name.startswith("CUSTOM"):
                    total["unknown"] += 1
            self._counted[index] = total
        return Counter(self._counted[index])


def _decomposition(operator: Operator) -> int:
    options, table = schema.StableHLOCompositeOptions(), operator.table.BuiltinOptions2()
    options.Init(table.Bytes, table.Pos)
    return int(options.DecompositionSubgraphIndex())


def _operands(operator: Operator) -> tuple[int, int]:
    """Where an operator that multiplies reads activations and weight."""
    operands = traits(operator.name).operands
    assert operands is not None
    return operands[:2]


def _computes(graph: Subgraph, operator: Operator, makers: dict[int, Operator]) -> tuple[str, str]:
    """What an operator computes in, and the int8 recipe that it shows ('' for a float operator)."""
    x, w = _operands(operator)
    if min(operator.inputs[x], operator.inputs[w]) < 0:
        raise ValueError(f"{operator.name} lacks an operand")
    activation, weight = graph.tensors[operator.inputs[x]], graph.tensors[operator.inputs[w]]
    if weight.dtype in _INT8:
        return "int8", "int8_dynamic" if activation.dtype.startswith("float") else "int8_static"
    index = operator.inputs[w]
    for _ in graph.operators:  # back to where the weight is stored
        maker = makers.get(index)
        if maker is None or not (traits(maker.name).moves or maker.name == "DEQUANTIZE"):
            break
        index = maker.inputs[0]
    stored = graph.tensors[index]
    return activation.dtype, "int8_weight_only" if stored.constant and stored.dtype in _INT8 else ""


def _macs(graph: Subgraph, operator: Operator) -> int | None:
    """Multiply-accumulates of one operator, None where a shape is dynamic.

    Each output element sums over the kernel's other axes; a transposed convolution is counted from its
    input instead, each element of which meets the whole kernel.
    """
    x, w = _operands(operator)
    activation, weight = graph.tensors[operator.inputs[x]].shape, graph.tensors[operator.inputs[w]].shape
    out = graph.tensors[operator.outputs[0]].shape
    if -1 in activation + weight + out:
        return None
    if operator.name == "CONV_2D":  # weight: out, height, width, in / groups
        return prod(out) * prod(weight[1:])
    if operator.name == "DEPTHWISE_CONV_2D":  # weight: 1, height, width, out
        return prod(out) * prod(weight[1:3])
    if operator.name == "TRANSPOSE_CONV":  # weight: out, height, width, in
        return prod(activation) * prod(weight[:3])
    if operator.name == "FULLY_CONNECTED":  # weight: out, in
        return prod(out) * weight[-1]
    options, table = schema.BatchMatMulOptions(), operator.table.BuiltinOptions()
    if table is not None:
        options.Init(table.Bytes, table.Pos)
    adjoint = table is not None and options.AdjX()
    return prod(out) * activation[-2 if adjoint else -1]
