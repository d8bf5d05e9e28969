"""Writes the program's recurrent layers out, step by step, as products and functions of numbers.

A file may hold such a layer as one operator, or have every step in its graph. Either way, it rounds what the
products of each step read. The equations are those of PyTorch's documentation
(https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, and of GRU and RNN beside it).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

_ATEN = torch.ops.aten
_LSTM, _GRU = "lstm", "gru"
# By node: what a step computes; of a plain recurrent layer, its function.
_LAYERS: dict[Any, Any] = {
    _ATEN.lstm.input: _LSTM,
    _ATEN.gru.input: _GRU,
    _ATEN.rnn_tanh.input: _ATEN.tanh.default,
    _ATEN.rnn_relu.input: _ATEN.relu.default,
}
_CELLS: dict[Any, Any] = {
    _ATEN.lstm_cell.default: _LSTM,
    _ATEN.gru_cell.default: _GRU,
    _ATEN.rnn_tanh_cell.default: _ATEN.tanh.default,
    _ATEN.rnn_relu_cell.default: _ATEN.relu.default,
}


def write_out(module: torch.nn.Module) -> None:
    """Replaces each recurrent layer of the program, and each cell of one, in place.

    Left as it is: a layer whose number of steps depends on the input.
    """
    graph: fx.Graph = module.graph  # type: ignore[assignment]
    for node in list(graph.nodes):
        if node.target in _CELLS:
            with graph.inserting_before(node):
                _replace(node, _Writer(graph, node, _CELLS[node.target], 1).cell())
        elif node.target in _LAYERS:
            steps = node.args[0].meta["val"].shape[1 if node.args[-1] else 0]
            if isinstance(steps, int):
                with graph.inserting_before(node):
                    _replace(node, _Writer(graph, node, _LAYERS[node.target], steps).results())


def _replace(node: fx.Node, results: list[fx.Node]) -> None:
    """Puts a node's results, or its one result, in its place."""
    several = isinstance(node.meta["val"], list | tuple)
    for user in list(node.users) if several else [node]:
        assert not several or user.target is operator.getitem
        result = results[user.args[1] if several else 0]  # type: ignore[index]
        result.meta = dict(user.meta)  # its shape, which another recurrent layer asks for
        user.replace_all_uses_with(result)
        node.graph.erase_node(user)
    if several:
        node.graph.erase_node(node)


@dataclass
class _Writer:
    """Writes the nodes of one layer in front of it.

    `kind` is what a step computes, and `steps` how many there are.
    """

    graph: fx.Graph
    node: fx.Node
    kind: Any
    steps: int

    def cell(self) -> list[fx.Node]:
        """The states behind one step."""
        read, state, inner, recurrent, *rest = self.node.args
        biases: list[Any] = [*rest, None, None][:2]
        into = self._call(_ATEN.linear.default, read, inner, biases[0])
        states: Any = list(state) if isinstance(state, list | tuple) else [state]
        return self._step(into, self._call(_ATEN.linear.default, states[0], recurrent, biases[1]), states)

    def results(self) -> list[fx.Node]:
        """The output of all steps, and the last hidden state (of an LSTM, also the cell's)."""
        arguments: Any = self.node.args
        read, states, weights, has_biases, layers, _, _, both, batch_first = arguments
        states = states if isinstance(states, list | tuple) else [states]
        directions = 2 if both else 1
        each = len(weights) // (layers * directions)
        value = self._call(_ATEN.transpose.int, read, 0, 1) if batch_first else read
        last: list[list[fx.Node]] = [[] for _ in states]
        for layer in range(layers):
            given = []
            for direction in range(directions):
                at = layer * directions + direction
                own = list(weights[at * each : (at + 1) * each])
                first = [self._call(_ATEN.select.int, state, 0, at) for state in states]
                hidden, state = self._layer(value, first, own, bool(has_biases), reverse=direction == 1)
                given.append(hidden)
                for found, one in zip(last, state, strict=True):
                    found.append(one)
            value = self._call(_ATEN.cat.default, given, -1) if both else given[0]
        output = self._call(_ATEN.transpose.int, value, 0, 1) if batch_first else value
        return [output, *(self._call(_ATEN.stack.default, found) for found in last)]

    def _layer(
        self, value: Any, state: list[fx.Node], weights: list[fx.Node], has_biases: bool, *, reverse: bool
    ) -> tuple[fx.Node, list[fx.Node]]:
        """Of one direction: the hidden states of all steps, [steps, batch, width], and the last states."""
        inner, recurrent, *rest = weights
        biases = rest[:2] if has_biases else [None, None]
        projection = rest[2 * has_biases] if len(rest) > 2 * has_biases else None
        gates = self._call(_ATEN.linear.default, value, inner, biases[0])
        hidden: list[fx.Node] = []
        order = range(self.steps)
        for step in reversed(order) if reverse else order:
            into = self._call(_ATEN.select.int, gates, 0, step)
            back = self._call(_ATEN.linear.default, state[0], recurrent, biases[1])
            state = self._step(into, back, state)
            if projection is not None:
                state[0] = self._call(_ATEN.linear.default, state[0], projection)
            hidden.append(state[0])
        return self._call(_ATEN.stack.default, hidden[::-1] if reverse else hidden), state

    def _step(self, into: fx.Node, back: fx.Node, state: list[fx.Node]) -> list[fx.Node]:
        if self.kind not in (_LSTM, _GRU):
            return [self._call(self.kind, self._add(into, back))]
        if self.kind == _GRU:
            into_gates, back_gates = self._chunks(into, 3), self._chunks(back, 3)
            reset, update = (
                self._call(_ATEN.sigmoid.default, self._add(one, other))
                for one, other in zip(into_gates[:2], back_gates[:2], strict=True)
            )
            new = self._add(into_gates[2], self._mul(reset, back_gates[2]))
            new = self._call(_ATEN.tanh.default, new)
            kept = self._mul(self._call(_ATEN.sub.Tensor, state[0], new), update)
            return [self._add(new, kept)]
        gates = self._chunks(self._add(into, back), 4)
        entry, forget, output = (self._call(_ATEN.sigmoid.default, gates[i]) for i in (0, 1, 3))
        new = self._mul(entry, self._call(_ATEN.tanh.default, gates[2]))
        cell = self._add(self._mul(forget, state[1]), new)
        return [self._mul(output, self._call(_ATEN.tanh.default, cell)), cell]

    def _chunks(self, value: fx.Node, count: int) -> list[fx.Node]:
        chunks = self._call(_ATEN.chunk.default, value, count, -1)
        return [self._call(operator.getitem, chunks, place) for place in range(count)]

    def _add(self, one: fx.Node, other: fx.Node) -> fx.Node:
        return self._call(_ATEN.add.Tensor, one, other)

    def _mul(self, one: fx.Node, other: fx.Node) -> fx.Node:
        return self._call(_ATEN.mul.Tensor, one, other)

    def _call(self, target: Callable[..., Any], *arguments: Any) -> fx.Node:
        return self.graph.call_function(target, arguments)
