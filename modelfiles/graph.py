"""Defines the graph of float operators that every format's files are read as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.ports import AS_NETWORK, Ports

OF_INTEGERS = " of integers"  # ends the kind of an operator whose integers a reader does not interpret
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class QuantizationParams:
    """An activation stored as integers `low`..`high` per tensor. `fixed`: scale and zero point that
    the format sets for the operator that made it."""

    scale: float
    zero_point: int
    low: int
    high: int
    fixed: tuple[float, int] | None = None


@dataclass(frozen=True, eq=False)
class Operator:
    """`names` are those of its outputs. A graph's input is an operator, too, of the kind "input"."""

    kind: str
    attributes: Mapping[str, Any]
    inputs: tuple[Edge | None, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Edge:
    """What is read: a constant or one output of an operator, past roundings.

    `ranged`: who reads it rounds it by the range that it has at run time.
    `blocks`: who reads it rounds it to int8, by the peak of each block of so many numbers of its last axis.
    `half`: the file has it in float16.
    """

    source: Constant | Operator
    place: int = 0
    roundings: tuple[QuantizationParams, ...] = ()
    ranged: bool = False
    blocks: int = 0
    half: bool = False

    @property
    def name(self) -> str:
        return self.source.name if isinstance(self.source, Constant) else self.source.names[self.place]


@dataclass(frozen=True)
class Graph:
    """What a file computes. `shared` are roundings that the format wants to be of one scale.

    `ports` maps the file's names and axes, which the graph has, to the network's.
    """

    outputs: tuple[tuple[str, Edge], ...]
    shared: tuple[tuple[QuantizationParams, QuantizationParams], ...] = ()
    ports: Ports = AS_NETWORK

    def operators(self) -> Iterator[Operator]:
        """Those that the outputs depend on, each after those that it reads."""
        done: set[Operator] = set()
        pending: list[tuple[Operator, bool]] = [
            (w.source, False) for _, w in reversed(self.outputs) if isinstance(w.source, Operator)
        ]
        while pending:
            operator, ready = pending.pop()
            if operator in done:
                continue
            if ready:
                done.add(operator)
                yield operator
                continue
            pending.append((operator, True))
            sources = [wire.source for wire in operator.inputs if wire is not None]
            pending += [(s, False) for s in reversed(sources) if isinstance(s, Operator)]
