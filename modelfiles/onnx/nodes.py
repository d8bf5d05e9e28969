"""Reads the shapes of an ONNX graph's constants, and replaces its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnx import GraphProto, NodeProto, helper


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name; tensors and graphs as their bytes."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {
        name: value.SerializeToString() if hasattr(value, "SerializeToString") else value
        for name, value in values.items()
    }


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


def ordered(graph: GraphProto) -> list[NodeProto]:
    """The nodes, each after those that it reads.

    The format asks for that order; converters to float16 append their casts, and runtimes sort anyway.
    """
    makers = {name: node for node in graph.node for name in node.output if name}
    done: dict[int, NodeProto] = {}
    pending = [(node, False) for node in reversed(graph.node)]
    entered: set[int] = set()
    while pending:
        node, ready = pending.pop()
        if ready:
            done[id(node)] = node
        elif id(node) not in entered:
            entered.add(id(node))
            pending.append((node, True))
            read = (makers[name] for name in reversed(node.input) if name in makers)
            pending += [(maker, False) for maker in read if id(maker) not in entered]
    return list(done.values())
