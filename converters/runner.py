"""Defines what every format's runner offers, whichever runtime is behind it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from modelparity.fixtures.arrays import Feeds, Outputs, Shape


class Runner(Protocol):
    """A loaded file: arrays by name in, arrays by name out. A context manager, which unloads it."""

    def run(self, feeds: Feeds) -> Outputs:
        """Returns the outputs by name."""

    def ports(self) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Returns the shapes of inputs and outputs by name, a text for a dynamic axis."""

    def options(self) -> dict[str, str]:
        """The runtime with its version, and the options of the session, by the runtime's own names."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
