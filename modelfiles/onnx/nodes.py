"""Reads the shapes of an ONNX graph's constants, and replaces its nodes."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import GraphProto, NodeProto


def shapes_of(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the constants by name."""
    return {weight.name: tuple(weight.dims) for weight in graph.initializer}


def set_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Makes `nodes`, some of which may be the graph's own, its nodes; drops constants that none reads."""
    copies = []
    for node in nodes:
        copies.append(NodeProto())
        copies[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in copies for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]
    if len(kept) != len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)
