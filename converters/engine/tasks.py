"""Does in a worker what a format's module offers, by the module's name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from modelparity.converters.engine.exported_program import Exported
from modelparity.fixtures.arrays import Feeds, Outputs


class Runner(Protocol):
    """An artifact, loaded: arrays by name in, arrays by name out. A context manager."""

    def run(self, feeds: Feeds) -> Outputs: ...

    def options(self) -> dict[str, str]: ...

    def __enter__(self) -> Runner: ...

    def __exit__(self, *_: object) -> None: ...


class FormatModule(Protocol):
    """What a format's module offers."""

    def convert_float(
        self, exported: Exported, target: Path, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None: ...

    def quantize(
        self,
        source: Path,
        target: Path,
        quantization: str,
        *,
        keep_float: Sequence[Any],
        calibration: Sequence[Feeds],
    ) -> None: ...

    def kept_float(self, source: Path, keep_float: Sequence[Any]) -> list[tuple[Any, int]]: ...

    def open_runner(self, path: Path, threads: int, **kernels: str) -> Runner: ...


def load(module: str) -> FormatModule:
    return cast(FormatModule, importlib.import_module(module))


def convert_float(
    module: str, exported: Exported, target: Path, *, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    load(module).convert_float(exported, target, inputs, outputs)


def quantize(
    module: str,
    source: Path,
    target: Path,
    *,
    quantization: str,
    keep_float: Sequence[Any],
    calibration: Sequence[Feeds],
) -> list[int]:
    """Returns how many operators each entry of `keep_float` left in float."""
    load(module).quantize(source, target, quantization, keep_float=keep_float, calibration=calibration)
    return [count for _, count in load(module).kept_float(source, keep_float)] if keep_float else []


# The runner in use: loading 130 MB anew for every image would cost more than running it.
_OPEN: dict[tuple[str, Path, int, int, str], Runner] = {}


def run(
    module: str,
    path: Path,
    feeds: Sequence[Feeds],
    *,
    threads: int = 1,
    fresh: bool = False,
    kernels: str = "",
) -> list[Outputs]:
    """Outputs by name, one dictionary a feed. `fresh` loads the file anew even if it is open.

    `kernels` "" is what users run; another word is the format's own.
    """
    runner = _opened(module, path, threads, fresh=fresh, kernels=kernels)
    return [runner.run(feed) for feed in feeds]


def session_options(module: str, path: Path, *, threads: int = 1) -> dict[str, str]:
    """The runtime with its version, and the options of the session that `run` runs the file in."""
    return _opened(module, path, threads).options()


def _opened(module: str, path: Path, threads: int, *, fresh: bool = False, kernels: str = "") -> Runner:
    key = (module, path, path.stat().st_mtime_ns, threads, kernels)
    if fresh or key not in _OPEN:
        close()
        options = {"kernels": kernels} if kernels else {}
        _OPEN[key] = load(module).open_runner(path, threads, **options).__enter__()
    return _OPEN[key]


def close() -> None:
    """Unloads the open file."""
    while _OPEN:
        _OPEN.popitem()[1].__exit__(None, None, None)
