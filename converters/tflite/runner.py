"""Runs TFLite files on LiteRT, and loads nothing else: for those who only run files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from modelparity.fixtures.arrays import Shape


class TfliteRunner:
    """Runs a file on the CPU; feeds and outputs are arrays by name.

    `kernels` "xnnpack" are what users run, "reference" the runtime's plain loops, an independent
    implementation of every operator, some 10 to 100 times slower.
    """

    def __init__(self, path: Path, threads: int = 1, kernels: str = "xnnpack") -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolvers = {"xnnpack": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}
        self._options = {
            "num_threads": str(threads),
            "experimental_op_resolver_type": resolvers[kernels].name,
        }
        self._interpreter = Interpreter(
            str(path), num_threads=threads, experimental_op_resolver_type=resolvers[kernels]
        )
        signatures = list(self._interpreter.get_signature_list())
        if len(signatures) != 1:
            raise ValueError(f"expected one signature, found {len(signatures)}")
        self._run = self._interpreter.get_signature_runner(signatures[0])

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        return dict(self._run(**feeds))

    def ports(self) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Shapes of inputs and outputs by name."""
        return _shapes(self._run.get_input_details()), _shapes(self._run.get_output_details())

    def options(self) -> dict[str, str]:
        """The runtime with its version, and the options of the interpreter, which does not tell them."""
        return {"runtime": f"ai-edge-litert {version('ai-edge-litert')}", **self._options}

    def __enter__(self) -> TfliteRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._run, self._interpreter


def _shapes(ports: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: tuple(int(n) for n in port["shape"]) for name, port in ports.items()}
