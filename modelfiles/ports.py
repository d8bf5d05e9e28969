"""Maps the ports of a file to those of the network it is judged as: other names, and channels last.

The file itself is left as it is. What runs or describes it goes through its `Ports`, so that everything else
sees the network's names, order and axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from modelparity.fixtures.arrays import Array, Feeds, Outputs, Shape
from modelparity.modelfiles.description import Description, Port

FIRST, LAST = "nchw", "nhwc"
LAYOUTS = (FIRST, LAST)
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_IMAGE_AXES = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Ports:
    """How a file's ports are called and laid out, where that is not as in the network.

    Attributes:
        inputs: Names of inputs, as (the file's, the network's), in the network's order.
        outputs: The same of outputs.
        input_layout: "nhwc" if the file takes [batch, height, width, channels] where the network takes
            [batch, channels, height, width].
        output_layout: The same of the outputs that it gives.
    """

    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    input_layout: str = FIRST
    output_layout: str = FIRST

    def fed(self, feed: Feeds) -> dict[str, Array]:
        """The network's feed, as the file takes it."""
        theirs = {ours: name for name, ours in self.inputs}
        turned = _turned if self.input_layout == LAST else _as_it_is
        return {theirs.get(name, name): turned(value, _TO_LAST) for name, value in feed.items()}

    def given(self, outputs: Outputs) -> Outputs:
        """The file's outputs, as the network gives them."""
        ours = dict(self.outputs)
        turned = _turned if self.output_layout == LAST else _as_it_is
        return {ours.get(name, name): turned(value, _TO_FIRST) for name, value in outputs.items()}

    def seen(self, description: Description) -> Description:
        """The file's description, in the network's terms."""
        return replace(
            description,
            inputs=_ports(description.inputs, self.inputs, self.input_layout),
            outputs=_ports(description.outputs, self.outputs, self.output_layout),
        )

    @property
    def renames(self) -> dict[str, str]:
        """The network's name of each port that the file calls otherwise, by the file's."""
        return {theirs: ours for theirs, ours in (*self.inputs, *self.outputs) if theirs != ours}

    def renamed(self, outputs: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
        """(name, value) pairs of the file's outputs, under the network's names and in its order."""
        return _renamed(outputs, self.outputs)


AS_NETWORK = Ports()


def _turned(value: Array, axes: tuple[int, ...]) -> Array:
    return value.transpose(axes).copy() if value.ndim == _IMAGE_AXES else value


def _as_it_is(value: Array, _: tuple[int, ...]) -> Array:
    return value


def _ports(ports: Sequence[Port], names: Sequence[tuple[str, str]], layout: str) -> tuple[Port, ...]:
    return tuple(
        replace(port, name=name, shape=_first(port.shape) if layout == LAST else port.shape)
        for name, port in _renamed([(port.name, port) for port in ports], names)
    )


def _renamed(values: Iterable[tuple[str, T]], names: Sequence[tuple[str, str]]) -> list[tuple[str, T]]:
    """Who names the ports binds them by name, so that their order in the file does not matter then."""
    ours, order = dict(names), {theirs: place for place, (theirs, _) in enumerate(names)}
    ordered = sorted(values, key=lambda pair: order.get(pair[0], len(order)))
    return [(ours.get(name, name), value) for name, value in ordered]


def _first(shape: Shape) -> Shape:
    return tuple(shape[axis] for axis in _TO_FIRST) if len(shape) == _IMAGE_AXES else shape


def words(ports: Iterable[Port]) -> str:
    """Such as "image float32[batch, 3, 64, 64]"."""
    return ", ".join(f"{port.name} {port.dtype}[{', '.join(map(str, port.shape))}]" for port in ports)
