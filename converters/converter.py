"""Defines what the house asks of a converter, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modelparity.fixtures.lookup import named
from modelparity.fixtures.specs import Signature

if TYPE_CHECKING:
    from modelparity.fixtures.arrays import Feeds


@dataclass(frozen=True)
class PlainKernels:
    """A runtime's second, plain implementation of the operators, against which its fast one is checked.

    `sequential`: they add one number after the other, so that rounding errors line up. `slow`: large networks
    are too slow on them. `lacks`: a regular expression of the error by which the runtime says that it has no
    plain kernel of an operator, whose name is the first group.
    """

    title: str
    sequential: bool
    slow: bool
    lacks: str = ""


@dataclass(frozen=True)
class Converter:
    """A toolchain that makes files of one format.

    `title` is the toolchain's name, `runtime` the title of what runs the files, `fast_kernels` that of the
    kernels that users run. `toolchain` are the distributions whose versions decide what it writes;
    `dynamic_batch` says whether its files take any batch or only 1. `source` is the format whose float file
    it converts, where that is not the exported program.

    `module` has `convert_float(exported, target, inputs, outputs)`, `quantize(source, target, quantization,
    keep_float, calibration)`, `kept_float(source, keep_float)` and `open_runner(path, threads)`.

    The others name functions, "module:function", so that a toolchain is imported where it is needed. Empty
    ones are capabilities that it lacks: `runner(path, threads)` opens a file and imports nothing but the
    runtime; `lower(source, target, opset)` writes a file again at one of the older `opsets`;
    `sensitivities(source, quantization, calibration, feed)` measures each layer quantized alone; `missing()`
    returns the modules that are not installed, which the `extra` brings.

    `quantizations` are those that it makes; all, if empty. `not_carried` are networks that it cannot convert:
    the operator where it stops, a colon, and why.

    `narrows` are types that its files hold as narrower ones, by NumPy's names.

    `operator_runner(path)` runs a file's operators one by one, in float.
    """

    format: str
    module: str
    suffix: str
    dynamic_batch: bool
    toolchain: tuple[str, ...]
    title: str
    runtime: str
    fast_kernels: str
    plain_kernels: PlainKernels | None = None
    source: str = ""
    quantizations: tuple[str, ...] = ()
    runner: str = ""
    opsets: range = range(0)
    lower: str = ""
    sensitivities: str = ""
    operator_runner: str = ""
    missing: str = ""
    extra: str = ""
    not_carried: Mapping[str, str] = field(default_factory=dict, hash=False)
    narrows: Mapping[str, str] = field(default_factory=dict, hash=False)

    def makes(self, quantization: str) -> bool:
        """Whether it makes files of a quantization."""
        return not self.quantizations or quantization in self.quantizations

    def ports(self, signature: Signature) -> Signature:
        """A network's inputs and outputs in the types that its files have."""
        inputs, outputs = (
            tuple(replace(port, dtype=self.narrows.get(port.dtype, port.dtype)) for port in ports)
            for ports in (signature.inputs, signature.outputs)
        )
        return Signature(inputs, outputs)

    def fed(self, feeds: Sequence[Feeds]) -> list[Feeds]:
        """Inputs in the types that its files have."""
        if not any(value.dtype.name in self.narrows for feed in feeds for value in feed.values()):
            return list(feeds)
        return [
            {
                name: value.astype(self.narrows.get(value.dtype.name, value.dtype))
                for name, value in feed.items()
            }
            for feed in feeds
        ]

    def call(self, capability: str, *arguments: Any) -> Any:
        """Calls the function that a capability names."""
        return named(getattr(self, capability))(*arguments)
