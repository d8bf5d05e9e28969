"""Converts an exported program to a TFLite file by litert-torch, which fixes the batch at 1.

Quantized files are made from the float one (`modelparity.converters.tflite.quantize`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelparity.converters.engine.exported_program import APART_BYTES, Exported, weight_bytes
from modelparity.converters.tflite.quantize import kept_float, quantize
from modelparity.converters.tflite.runner import TfliteRunner

if TYPE_CHECKING:
    import torch

__all__ = ["TfliteRunner", "convert_float", "kept_float", "open_runner", "quantize"]


def convert_float(exported: Exported, target: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """An exported program to `.tflite` in float32 at batch 1, its signature naming inputs and outputs."""
    import litert_torch
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

    ports = exported.spec.signature().inputs if exported.spec else ()
    axes = {port.name: port.batch_axis for port in ports}
    examples = zip(inputs, [*args, *kwargs.values()], strict=True)
    samples = {name: _at_batch_one(value, axes.get(name, 0)) for name, value in examples}
    module = Named()
    module.training = False  # an exported graph is in evaluation mode for good and refuses .eval()
    # The memory-saving mode stores more constants and shares fewer: only where nothing else fits.
    with untouched() if large else contextlib.nullcontext():
        litert_torch.convert(module, sample_kwargs=samples, lightweight_conversion=large).export(str(target))


def _at_batch_one(value: torch.Tensor, axis: int | None) -> torch.Tensor:
    return value if axis is None else value.narrow(axis, 0, 1)


def open_runner(path: Path, threads: int, kernels: str = "xnnpack") -> TfliteRunner:
    return TfliteRunner(path, threads, kernels)
