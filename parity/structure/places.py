"""Finds where a file differs from the program, by the values that both computed.

A tensor of the file is known if a node of the program has its values, in any order. What lies between known
tensors is written otherwise, and right. An operator is strange if no known tensor lies between it and an
output. A difference is found by mending it: with one value in the place of a strange operator's result, the
outputs become the network's.

If that value is what the operator reads, the file has operators that the network has not. That proves the
file wrong, unless a clip alone was mended, which may do nothing, or an index. If the value is what a node of
the program gives, something else is computed in its place. That proves the file wrong only if linear
operators alone give it, and some of its channels are right: the others have other weights. Anything else may
be a function that a toolchain writes in a way of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from torch import fx

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Graph, Operator
from modelparity.parity.reference import FLOAT
from modelparity.parity.simulation.graph_run import run_graph
from modelparity.parity.structure import file as of_file
from modelparity.parity.structure.file_rules import LINEAR, Parts
from modelparity.parity.structure.result import Difference

_MOST_TRIED = 24  # mendings of one difference
_NEAREST = 3  # nodes whose values are tried in the place of a result
_MOST_MENDED = 4  # differences of one file
_MOST_AXES = 5
_CLIPS = {"Clip", "Relu", "Min", "Max", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "MINIMUM", "MAXIMUM"}


@dataclass(frozen=True)
class Node:
    """A node of the program, its values, and their float32 error."""

    node: fx.Node
    value: Array
    noise: float

    @property
    def mean(self) -> float:
        return float(self.value.mean())


def located(
    nodes: Sequence[Node],
    graph: Graph,
    run: of_file.Substituted,
    feed: Mapping[str, Array],
) -> Difference | None:
    """The difference of a file whose outputs are not the program's; None if nothing is found."""
    search = _Search(nodes, graph, run, feed)
    words: list[str] = []
    doubted = False
    for _ in range(_MOST_MENDED):
        strange = search.strange()
        if not strange:
            break
        mended = search.mended(strange)
        if mended is None:
            return Difference(
                "; ".join([*words, search.unexplained(strange)]), proven=bool(words) and not doubted
            )
        words.append(mended[0])
        doubted |= mended[1]
    if not words:
        return None
    return Difference("; ".join(words), proven=not doubted and not search.strange())


class _Search:
    """The file's values, with some of them mended, and which of its operators are known."""

    def __init__(
        self, nodes: Sequence[Node], graph: Graph, run: of_file.Substituted, feed: Mapping[str, Array]
    ) -> None:
        self._run, self._feed = run, feed
        self._operators = [each for each in graph.operators() if each in run.follows]
        self._by_size: dict[int, list[Node]] = {}
        for node in nodes:
            self._by_size.setdefault(node.value.size, []).append(node)
        self._ordered: dict[fx.Node, Array] = {}
        self._readers: dict[Operator, list[Operator]] = {}
        for operator in self._operators:
            for edge in operator.inputs:
                if edge is not None and isinstance(edge.source, Operator):
                    self._readers.setdefault(edge.source, []).append(operator)
        self._ends = {edge.source for _, edge in graph.outputs}
        run.values = {}
        run_graph(graph, run, feed)
        self._values: dict[Operator, list[Array]] = dict(run.values)
        run.values = None
        for operator in self._operators:
            if operator.kind == "input":
                self._values[operator] = [self._fed(operator)]
        self._known: dict[Operator, Node] = {}
        self._recognise(self._operators)

    def _recognise(self, operators: Iterable[Operator]) -> None:
        for operator in operators:
            node = self._alike(np.asarray(self._values[operator][0]))
            if node is not None:
                self._known[operator] = node
            else:
                self._known.pop(operator, None)

    def _mend(self, operator: Operator, value: Array) -> None:
        """Puts a value in the place of an operator's result, and computes what depends on it."""
        self._values[operator] = [value, *self._values[operator][1:]]
        changed = {operator}
        for other in self._operators:
            sources = [edge.source for edge in other.inputs if edge is not None]
            if other in changed or changed.isdisjoint(sources):
                continue
            inputs = [
                None
                if edge is None or isinstance(edge.source, Constant)
                else self._values[edge.source][edge.place]
                for edge in other.inputs
            ]
            self._values[other] = self._run.run(other, inputs)
            changed.add(other)
        self._recognise(changed)

    def _fed(self, operator: Operator) -> Array:
        name = operator.attributes["name"]
        names = [name] if isinstance(name, str) else name or []
        found: Array = self._feed[next((n for n in names if n in self._feed), next(iter(self._feed)))]
        return found

    def _alike(self, value: Array) -> Node | None:
        """The node with the same numbers in any order."""
        if value.dtype.kind != "f" or not value.size:
            return None
        exact, ordered = value.astype(np.float64), None
        mean = exact.mean()
        for node in self._by_size.get(value.size, ()):
            within = FLOAT.most * node.noise
            if not abs(mean - node.mean) <= within:  # no farther apart than the numbers in order of size
                continue
            ordered = np.sort(exact, axis=None) if ordered is None else ordered
            if node.node not in self._ordered:
                self._ordered[node.node] = np.sort(node.value, axis=None)
            if float(np.sqrt(np.mean(np.square(ordered - self._ordered[node.node])))) <= within:
                return node
        return None

    def strange(self) -> list[Operator]:
        """The operators from which a path without a known tensor leads to an output, in computing order."""
        found: set[Operator] = set()
        for operator in reversed(self._operators):
            if operator in self._known or operator.kind == "input":
                continue
            if operator in self._ends or any(reader in found for reader in self._readers.get(operator, ())):
                found.add(operator)
        return [operator for operator in self._operators if operator in found]

    def mended(self, strange: Sequence[Operator]) -> tuple[str, bool] | None:
        """Mends one difference; its words, and whether a right file may have it. None if nothing mends it."""
        tried = 0
        for operator in strange:
            for value, words, doubted in self._instead(operator, {*strange}):
                if (tried := tried + 1) > _MOST_TRIED:
                    return None
                before = dict(self._values), dict(self._known)
                self._mend(operator, value)
                if self._better(operator, strange):
                    return words, doubted
                self._values, self._known = before
        return None

    def _better(self, operator: Operator, strange: Sequence[Operator]) -> bool:
        """Whether what reads the mended operator is known now, or leads to what is."""
        left = {*self.strange()}
        if operator in self._ends:
            return operator not in left
        return not any(reader in left for reader in self._readers.get(operator, ())) and len(left) < len(
            strange
        )

    def _instead(self, operator: Operator, strange: set[Operator]) -> Iterator[tuple[Array, str, bool]]:
        """Values that may stand in the place of an operator's result.

        Each has words for the difference, and whether a right file may have it.
        """
        own = np.asarray(self._values[operator][0])
        read = [
            edge.source for edge in operator.inputs if edge is not None and isinstance(edge.source, Operator)
        ]
        for source in read:
            value = np.asarray(self._values[source][0])
            if source not in strange and value.size == own.size and value.dtype == own.dtype:
                added = self._before(operator, strange)
                kinds = ", ".join(dict.fromkeys(each.kind for each in [*added, operator]))
                more = f"; they read {', '.join(self._sources(operator, strange, source))}" if added else ""
                words = f"{_name(operator)} is not of the network, with what it adds ({kinds}){more}"
                alone = not added and operator.kind in _CLIPS
                whole = isinstance(self._values[operator][0], Parts) or own.dtype.kind != "f"
                yield value.reshape(own.shape), words, alone or whole
        taken = {node.node for node in self._known.values()}
        free = [node for node in self._by_size.get(own.size, ()) if node.node not in taken]
        arranged = [(node, each) for node in free if (each := _arranged(node.value, own)) is not None]
        arranged.sort(key=lambda pair: _apart(pair[1], own))
        for node, instead in arranged[:_NEAREST]:
            operators = [*self._before(operator, strange), operator]
            words, some = _changed(operators, node, own, instead)
            yield instead, words, not some or any(each.kind not in LINEAR for each in operators)

    def _before(self, operator: Operator, strange: set[Operator]) -> list[Operator]:
        """The strange operators that an operator depends on."""
        found: dict[Operator, None] = {}
        pending = [operator]
        while pending:
            for edge in pending.pop().inputs:
                source = edge.source if edge is not None else None
                if isinstance(source, Operator) and source in strange and source not in found:
                    found[source] = None
                    pending.append(source)
        return list(reversed(found))

    def _sources(self, operator: Operator, strange: set[Operator], but: Operator) -> list[str]:
        """Names of the known tensors that those read."""
        names = {
            edge.name[-60:]: None
            for each in self._before(operator, strange)
            for edge in each.inputs
            if edge is not None and isinstance(edge.source, Operator) and edge.source not in strange
        }
        return list(names)[:3] or [_name(but)]

    def unexplained(self, strange: Sequence[Operator]) -> str:
        first = strange[0]
        return (
            f"from {first.kind} {_name(first)} on, {len(strange)} operators compute nothing of the network's"
        )


def _name(operator: Operator) -> str:
    return operator.names[0][-60:]


def _changed(operators: Sequence[Operator], node: Node, own: Array, due: Array) -> tuple[str, bool]:
    """Words for operators whose result is not that of a node, and whether some of its channels are."""
    off = np.abs(own.astype(np.float64) - due) > FLOAT.most * node.noise
    edges = [edge for each in operators for edge in each.inputs if edge is not None]
    stored = [edge.name[-60:] for edge in edges if isinstance(edge.source, Constant)]
    weights = f" by {', '.join(stored[:2])}" if stored else ""
    wrong = [
        (
            int(np.count_nonzero(off.any(axis=tuple(other for other in range(off.ndim) if other != axis)))),
            size,
        )
        for axis, size in enumerate(off.shape)
        if size > 1
    ]
    count, of = min(wrong, key=lambda pair: pair[0] / pair[1], default=(0, 0))
    some = count < of
    of_which = f", in {count} of its {of} channels" if some else ""
    operator = operators[0]
    return f"{operator.kind} {_name(operator)}{weights} is not the network's {node.node.name}{of_which}", some


def _apart(one: Array, other: Array) -> float:
    """How many numbers differ much, and by how much; of no weight how far the farthest are."""
    return float(np.mean(np.minimum(np.abs(one - other), 1.0)))


def _arranged(value: Array, like: Array) -> Array | None:
    """The program's values in the file's order, the one in which most of them are the file's."""
    axes = tuple(n for n in value.shape if n != 1)
    wanted = tuple(n for n in like.shape if n != 1)
    if len(axes) > _MOST_AXES:
        return None
    best: tuple[float, Array] | None = None
    for order in permutations(range(len(axes))):
        turned = value.reshape(axes).transpose(order)
        if turned.shape != wanted and len(axes) == len(wanted):
            continue
        shaped = np.ascontiguousarray(turned).reshape(like.shape)
        apart = _apart(shaped, like)
        if best is None or apart < best[0]:
            best = (apart, shaped)
    return None if best is None else best[1].astype(like.dtype)
