"""Compares a quantized file with the float file it was made from: the same graph, number by number.

The formats' readers (`FileFormat.graph`) turn a file into a `Graph` of float operators, in which a
quantized layer is the float layer that it stands for: quantize and dequantize steps become the
`QuantizationParams` of what an operator reads, and scales stay with their constants. Two such graphs are then
walked from the outputs back at once, by structure: names are the float file's and serve messages only.

A stored integer q stands for (q - zero point) * scale (Jacob et al., arXiv:1712.05877, equation 1).
What is found is described here and judged elsewhere.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from math import prod
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.lookup import named
from modelparity.modelfiles.constants import Compared, Constant, measured
from modelparity.modelfiles.description import BrokenModelError, NotAModelError, broken
from modelparity.modelfiles.formats import FILE_FORMATS, format_of
from modelparity.modelfiles.graph import Edge, Graph, Operator, QuantizationParams, Ranges
from modelparity.modelfiles.ports import AS_NETWORK, Ports

# Operators that own weights, of all formats, and the axis of the weight's output channels.
CHANNEL_AXIS: dict[str, int] = {
    kind: traits.channel_axis
    for format in FILE_FORMATS.values()
    for kind, traits in named(format.operators).items()
    if traits.channel_axis is not None
}
_WEIGHT = 1  # the input where they read it
# What readers raise on a damaged file.
_DAMAGE = (DecodeError, struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Rounded:
    """A rounding, and the float file's names of all the activations that it has one scale with."""

    names: tuple[str, ...]
    rounding: QuantizationParams


@dataclass
class Lineage:
    """Where the graphs differ, what became of the constants, and which activations are rounded."""

    differences: list[str] = field(default_factory=list)
    constants: list[Compared] = field(default_factory=list)
    rounded: list[Rounded] = field(default_factory=list)


def lineage(path: Path, source: Path, ports: Ports = AS_NETWORK) -> Lineage:
    """What `path`, whose ports may be called otherwise, made of `source`, a float file of the same format.

    Raises NotAModelError and BrokenModelError.
    """
    with _reading(path):
        return compare(replace(graph_of(path), ports=ports), graph_of(source))


def graph_of(path: Path) -> Graph:
    """Raises NotAModelError and BrokenModelError."""
    format = format_of(path)
    with _reading(path):
        graph: Graph = format.call("graph", path)
        return graph


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (NotAModelError, BrokenModelError):
        raise
    except _DAMAGE as error:
        raise broken(path, f"{error} ({type(error).__name__})") from error


def constants_of(graph: Graph) -> list[Constant]:
    """Every constant that the outputs depend on, once."""
    edges = [edge for operator in graph.operators() for edge in operator.inputs if edge is not None]
    sources = dict.fromkeys(edge.source for edge in [*edges, *(edge for _, edge in graph.outputs)])
    return [source for source in sources if isinstance(source, Constant)]


def layer_share(path: Path) -> float:
    """The share of a float file's weight elements, 0..1, in layers that recipes quantize.

    Not in them: recurrent layers, transposed convolutions, stacks of matrices and tables. A matrix that is a
    table, too, is stored twice when it is quantized: the table stays float.

    Raises NotAModelError and BrokenModelError.
    """
    operators = named(format_of(path).operators)
    graph = graph_of(path)
    total = sum(prod(constant.shape) for constant in constants_of(graph) if constant.dtype == "float32")
    owned: dict[Constant, None] = {}
    others: set[Constant] = set()  # read by what is no layer
    for operator in graph.operators():
        kind = operators.get(operator.kind)
        weight = operator.inputs[_WEIGHT] if kind and kind.layer and len(operator.inputs) > _WEIGHT else None
        if weight is not None and isinstance(weight.source, Constant):
            matrix = kind.channel_axis == -1  # else a kernel: a stack of matrices is no layer
            if not matrix or len(weight.source.shape) == 2:
                owned[weight.source] = None
                continue
        others |= {edge.source for edge in operator.inputs if edge and isinstance(edge.source, Constant)}
    total += sum(prod(weight.shape) for weight in owned if weight in others)
    return sum(prod(weight.shape) for weight in owned) / total if total else 0.0


def observed_ranges(path: Path, feeds: Sequence[Feeds], names: Sequence[str]) -> Ranges:
    """Least and greatest value that a float file's activations take over the feeds, by its names."""
    ranges: Ranges = format_of(path).call("observed_ranges", path, feeds, names)
    return ranges


def compare(graph: Graph, source: Graph) -> Lineage:
    """Walks both graphs from their outputs back."""
    walk = _Walk()
    made = graph.ports.renamed(graph.outputs)
    names, wanted = [name for name, _ in made], [name for name, _ in source.outputs]
    if names != wanted:
        walk.found.differences.append(f"outputs are {', '.join(names)}, but should be {', '.join(wanted)}")
    pairs = zip(made, source.outputs, strict=False)
    walk.run([(edge, origin, f"output {name}", None) for (_, edge), (name, origin) in pairs], graph.shared)
    return walk.found


_Pair = tuple[Edge | None, Edge | None, str, "int | None"]  # of the files, who reads them, channel axis


class _Walk:
    """The operators paired so far. A pair is one to one, so that a edge to a wrong operator is seen."""

    def __init__(self) -> None:
        self.found = Lineage()
        self._paired: dict[Operator, Operator] = {}  # the float file's -> the other's
        self._origins: dict[Operator, Operator] = {}  # and back
        self._seen: set[tuple[Constant, Constant]] = set()
        self._named: dict[QuantizationParams, str] = {}

    def run(
        self, pairs: list[_Pair], shared: Sequence[tuple[QuantizationParams, QuantizationParams]]
    ) -> None:
        while pairs:
            pairs += self._pair(*pairs.pop())
        group = {rounding: {rounding} for pair in shared for rounding in pair}
        for one, other in shared:
            group[one] |= group[other]
            group.update((member, group[one]) for member in group[one])
        for rounding, name in self._named.items():
            members = {self._named[member] for member in group.get(rounding, ()) if member in self._named}
            self.found.rounded.append(Rounded(tuple(sorted(members | {name})), rounding))

    def _pair(self, edge: Edge | None, origin: Edge | None, reader: str, axis: int | None) -> Iterator[_Pair]:
        """What is to be paired next; notes what differs here."""
        if edge is None or origin is None:
            if edge is not origin:
                self._differ(reader, edge, origin)
            return
        made, due = edge.source, origin.source
        if isinstance(due, Constant) or isinstance(made, Constant):
            if not isinstance(due, Constant) or not isinstance(made, Constant) or edge.roundings:
                self._differ(reader, edge, origin)
            elif (made, due) not in self._seen:
                self._seen.add((made, due))
                self.found.constants.append(measured(made, due, axis))
            return
        if made.kind != due.kind or edge.place != origin.place:
            self._differ(reader, edge, origin)
            return
        for rounding in edge.roundings:
            self._named.setdefault(rounding, origin.name)
        if self._paired.get(due) is made:
            return
        if due in self._paired or made in self._origins:
            known = self._origins.get(made)
            other = f"what is {known.names[edge.place]} there" if known else f"another {made.kind}"
            self.found.differences.append(f"{reader} reads {other}, but should read {origin.name}")
            return
        self._paired[due], self._origins[made] = made, due
        this = f"the {due.kind} that makes {due.names[0]}"
        for key in sorted({*made.attributes, *due.attributes}):
            has, should = (operator.attributes.get(key) for operator in (made, due))
            if has != should:
                self.found.differences.append(f"{this} has {key} {has}, but should have {should}")
        for place, (read, wanted) in enumerate(zip_longest(made.inputs, due.inputs)):
            yield read, wanted, this, CHANNEL_AXIS.get(due.kind) if place == _WEIGHT else None

    def _differ(self, reader: str, edge: Edge | None, origin: Edge | None) -> None:
        self.found.differences.append(f"{reader} reads {_words(edge)}, but should read {_words(origin)}")


def _words(edge: Edge | None) -> str:
    if edge is None:
        return "nothing"
    if isinstance(edge.source, Constant):
        return f"the constant {edge.name}" + (" rounded as it runs" if edge.roundings else "")
    at = f" (output {edge.place})" if edge.place else ""
    return f"{edge.name} made by {edge.source.kind}{at}"
