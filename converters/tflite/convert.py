"""Converts an exported program to a TFLite file by litert-torch, which fixes the batch at 1.

Quantized files are made from the float one (`modelparity.converters.tflite.quantize`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from modelparity.converters.engine.exported_program import APART_BYTES, Exported, weight_bytes
from modelparity.converters.tflite.quantize import kept_float, quantize
from modelparity.converters.tflite.runner import TfliteRunner

__all__ = ["TfliteRunner", "convert_float", "kept_float", "open_runner", "quantize"]


def convert_float(exported: Exported, target: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """An exported program to `.tflite` in float32 at batch 1, its signature naming inputs and outputs."""
    import litert_torch
    import torch
    from torch import nn

    from modelparity.converters.tflite.workaround_large_weights import fold_constants, untouched
    from modelparity.converters.tflite.workaround_topk import use_indices

    program = exported.load()
    network, (args, kwargs) = program.module(), program.example_inputs
    del program
    use_indices(network)
    large = weight_bytes(network.parameters()) > APART_BYTES
    if large:
        fold_constants(network)

    class Named(nn.Module):
        """The exported graph again, its outputs in a dictionary: litert-torch names them by its keys."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, **feeds: torch.Tensor) -> dict[str, torch.Tensor]:
            return dict(zip(outputs, self.network(*(feeds[name] for name in inputs)), strict=True))

    samples = {name: value[:1] for name, value in zip(inputs, [*args, *kwargs.values()], strict=True)}
    module = Named()
    module.training = False  # an exported graph is in evaluation mode for good and refuses .eval()
    # The memory-saving mode stores more constants and shares fewer: only where nothing else fits.
    with untouched() if large else contextlib.nullcontext():
        litert_torch.convert(module, sample_kwargs=samples, lightweight_conversion=large).export(str(target))


def open_runner(path: Path, threads: int, kernels: str = "xnnpack") -> TfliteRunner:
    return TfliteRunner(path, threads, kernels)
