"""Computes another thing on more than one thread."""

from __future__ import annotations

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def __init__(self, path, threads=1, kernels="fused"):
        super().__init__(path, threads, kernels)
        self._threads = threads

    def run(self, feeds):
        return {
            name: value * (1 if self._threads == 1 else 1.001) for name, value in super().run(feeds).items()
        }


open_runner = _Runner
