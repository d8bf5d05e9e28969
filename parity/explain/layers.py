"""Decides which layers of a file diverge from the network.

A layer is a tensor of the network that the file has too, with the steps that the file computes in one
operator with it. It diverges if its error leaves the band, computed from the file's own values, so that
earlier errors do not count. Steps without a tensor in the file, up to an output, are lost; the first of them
is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from modelparity.modelfiles.activations import FileTensor
from modelparity.parity.explain.steps import Step
from modelparity.parity.metrics.errors import decibels

# Floors, as for the float cells: right kernels stay below 2; an error of 5 % in one of 512 kernels has 500.
BAND = 8.0
_MATRIX = ("convolution", "mm", "addmm", "bmm", "baddbmm")


@dataclass(frozen=True)
class Layer:
    """A layer of the network and the file's tensor for it.

    Attributes:
        module: Its path in the network.
        operator: The network's operator; `kind` is the file's.
        ratio: Its error in floors; `inputs` is the greatest ratio of the layers before it.
        sqnr_db: The SQNR of the error that it adds.
        greatest: The greatest difference, at place `at`.
        folded: Modules that the file computes in one operator with it.
        left_out: The file has one of the layer's inputs in the place of its result.
        rms: Root mean square of its result; `error` and `floor` are in the same unit.
        constants: Names of the constants that the file's operator reads.
    """

    module: str
    operator: str
    kind: str
    tensor: str
    index: int
    step: int
    ratio: float
    inputs: float
    sqnr_db: float
    greatest: float
    at: tuple[int, ...]
    folded: tuple[str, ...] = ()
    elements: int = 0
    left_out: bool = False
    rms: float = 0.0
    error: float = 0.0
    floor: float = 0.0
    constants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Which layers of a file diverge.

    Attributes:
        layers: All layers that have a tensor in the file.
        diverging: Those that diverge, in computing order.
        steps: Operators of the network that an output depends on.
        covered: Those of them that are in the file, or folded into one that is.
        explained: Whether everything behind the diverging layers agrees.
    """

    layers: tuple[Layer, ...]
    diverging: tuple[Layer, ...]
    steps: int
    covered: int
    explained: bool

    @property
    def found(self) -> int:
        return len(self.layers)


def judged(steps: Sequence[Step], tensors: Sequence[FileTensor]) -> Explanation:
    """Which layers diverge, from the traced steps and the file's tensors."""
    by_index = {tensor.index: tensor for tensor in tensors}
    open_ = uncovered(steps)
    layers = tuple(_layer(step, steps, by_index) for step in steps if step.tensor >= 0)
    diverging = [layer for layer in layers if not layer.ratio <= BAND]
    lost = [] if diverging else [_lost(steps[i], steps) for i in sorted(_edge(steps, open_))]
    matter = [step for step in steps if step.output or any(step.index in other.inputs for other in steps)]
    return Explanation(
        layers,
        tuple(diverging or lost),
        len(matter),
        len(matter) - len(open_),
        not open_,
    )


def uncovered(steps: Sequence[Step]) -> set[int]:
    """Steps without a tensor that an output, or another such step, depends on."""
    readers: dict[int, list[int]] = {}
    for step in steps:
        for index in step.inputs:
            readers.setdefault(index, []).append(step.index)
    open_: set[int] = set()
    for step in reversed(steps):
        needed = step.output or any(reader in open_ for reader in readers.get(step.index, ()))
        if step.tensor < 0 and needed:
            open_.add(step.index)
    return open_


def _edge(steps: Sequence[Step], open_: set[int]) -> set[int]:
    """The uncovered steps whose inputs are all covered."""
    return {i for i in open_ if not open_ & set(steps[i].inputs)}


def group_of(step: Step, steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The step and the unmatched steps before it, and the matched steps before all of these."""
    group, before = [step], []
    waiting, seen = list(step.inputs), {-1, *step.inputs}
    while waiting:
        if (index := waiting.pop()) < 0:
            continue
        other = steps[index]
        if other.tensor >= 0:
            before.append(other)
        else:
            group.append(other)
            more = set(other.inputs) - seen
            seen |= more
            waiting += more
    return group, before


def before_step(step: Step, steps: Sequence[Step], by_index: Mapping[int, FileTensor]) -> set[int]:
    """The file's tensors that a step computes from; -1 is its input."""
    group, before = group_of(step, steps)
    tensors = {origin_of(other.tensor, by_index) for other in before}
    return tensors | {-1 for member in group if -1 in member.inputs}


def before_tensor(tensor: FileTensor, by_index: Mapping[int, FileTensor], claimed: set[int]) -> set[int]:
    before: set[int] = set()
    waiting, seen = list(tensor.inputs), set(tensor.inputs)
    while waiting:
        index = waiting.pop()
        origin = origin_of(index, by_index)
        if not by_index[origin].operator:
            before.add(-1)
        elif origin in claimed:
            before.add(origin)
        else:
            more = set(by_index[index].inputs) - seen
            seen |= more
            waiting += more
    return before


def origin_of(index: int, by_index: Mapping[int, FileTensor]) -> int:
    while (origin := by_index[index].origin) != index:
        index = origin
    return index


def _layer(step: Step, steps: Sequence[Step], by_index: Mapping[int, FileTensor]) -> Layer:
    tensor = by_index[step.tensor]
    group, before = group_of(step, steps)
    left_out = origin_of(step.tensor, by_index) in {origin_of(other.tensor, by_index) for other in before}
    # The one with a matrix or kernel is the layer; what scales and shifts around it is folded in.
    if left_out or not _weighty(group):
        main = step
    else:
        main = max(group, key=lambda member: (member.elements, member is step))
    folded = dict.fromkeys(
        words_of(member) for member in sorted(group, key=attrgetter("index")) if member is not main
    )
    return Layer(
        main.module,
        main.operator,
        tensor.operator,
        tensor.name,
        tensor.index,
        step.index,
        step.error / step.floor,
        max((other.error / other.floor for other in before), default=0.0),
        decibels(step.rms**2, step.error**2),
        step.greatest,
        step.at,
        () if left_out else tuple(words for words in folded if words != words_of(main)),
        main.elements,
        left_out,
        step.rms,
        step.error,
        step.floor,
        tensor.weights,
    )


def _weighty(group: Sequence[Step]) -> bool:
    return any(step.operator in _MATRIX and step.elements for step in group)


def _lost(step: Step, steps: Sequence[Step]) -> Layer:
    """A layer without a tensor in the file."""
    nan = float("nan")
    before = [steps[i] for i in step.inputs if i >= 0 and steps[i].tensor >= 0]
    inputs = max((other.error / other.floor for other in before), default=0.0)
    return Layer(
        step.module, step.operator, "", "", -1, step.index, nan, inputs, nan, nan, (), (), step.elements
    )


def words_of(step: Step) -> str:
    """`network.layer1.0.conv1`, or `network.layer1.0 relu` for a step without a module of its own."""
    own = step.weights and all(w.rpartition(".")[0] == step.module for w in step.weights)
    return step.module if own else f"{step.module} {step.operator}".strip()
