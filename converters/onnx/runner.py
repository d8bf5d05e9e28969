"""Runs ONNX files on ONNX Runtime, and loads nothing else: for those who only run files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from modelparity.fixtures.arrays import Shape

_STOPS_SPINNING = "session.force_spinning_stop"


class OnnxRunner:
    """Runs a file on the CPU; feeds and outputs are arrays by name.

    `kernels` "fused" are what users run. With "reference" the graph runs as it is written, operator by
    operator: quantize and dequantize steps are taken literally, in float32, not as integer kernels.
    """

    def __init__(self, path: Path, threads: int = 1, kernels: str = "fused") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if kernels == "reference":
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        elif kernels != "fused":
            raise ValueError(f"kernels {kernels!r}, but should be 'fused' or 'reference'")
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A thread pool that spins after its last run slows the next file's by a fifth, where two take turns.
        options.add_session_config_entry(_STOPS_SPINNING, "1")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        return dict(zip(self._outputs, self._session.run(None, dict(feeds)), strict=True))

    def ports(self) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Shapes of inputs and outputs by name, a text for a dynamic axis."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        return _shapes(inputs), _shapes(outputs)

    def options(self) -> dict[str, str]:
        """The runtime with its version, and the options of the session, as the session tells them."""
        import onnxruntime

        set_ = self._session.get_session_options()
        return {
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "providers": ", ".join(self._session.get_providers()),
            "graph_optimization_level": set_.graph_optimization_level.name,
            "execution_mode": set_.execution_mode.name,
            "intra_op_num_threads": str(set_.intra_op_num_threads),
            "inter_op_num_threads": str(set_.inter_op_num_threads),
            _STOPS_SPINNING: set_.get_session_config_entry(_STOPS_SPINNING),
        }

    def __enter__(self) -> OnnxRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session


def _shapes(ports: Sequence[Any]) -> dict[str, Shape]:
    return {
        port.name: tuple(axis if isinstance(axis, int) else str(axis) for axis in port.shape)
        for port in ports
    }
