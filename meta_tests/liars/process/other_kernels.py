"""Computes another thing on the runtime's reference kernels than on its fast ones."""

from __future__ import annotations

from modelparity.converters.tflite.convert import TfliteRunner, convert_float, quantize


class _Skewed(TfliteRunner):
    def run(self, feeds):
        return {name: value * 1.001 for name, value in super().run(feeds).items()}


def open_runner(path, threads, kernels="xnnpack"):
    return (_Skewed if kernels == "reference" else TfliteRunner)(path, threads, kernels)
