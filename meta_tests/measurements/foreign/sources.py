"""A network as other people's tools are given it: a PyTorch module, and what its authors export of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.specs import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

_OPSET = 17  # of torch's older exporter


@dataclass(frozen=True)
class Source:
    """A network with its weights.

    Attributes:
        feeds: Of the images that tools calibrate on, one image each; none is one that files are judged on.
        scratch: A folder for what is made on the way.
    """

    spec: ModelSpec
    checkpoint: Path
    feeds: tuple[Feeds, ...]
    scratch: Path

    @property
    def inputs(self) -> list[str]:
        return [port.name for port in self.spec.signature().inputs]

    @property
    def outputs(self) -> list[str]:
        return list(self.spec.signature().output_names)

    @cached_property
    def module(self) -> nn.Module:
        from modelparity.fixtures.checkpoints.load import weighted

        return weighted(self.spec, self.checkpoint).eval()

    def samples(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Calibration images as arguments of the module, [batch, ...] each."""
        import torch

        feeds = self.feeds[:batch]
        return tuple(torch.from_numpy(np.concatenate([feed[name] for feed in feeds])) for name in self.inputs)

    @cached_property
    def onnx(self) -> Path:
        """The module as `torch.onnx.export` writes it today, with a dynamic batch."""
        import torch

        path = self.scratch / "dynamo.onnx"
        torch.onnx.export(
            self.module,
            self.samples(2),
            path,
            dynamo=True,
            input_names=self.inputs,
            output_names=self.outputs,
            dynamic_shapes=tuple({0: torch.export.Dim("batch", min=1)} for _ in self.inputs),
            external_data=False,
            verbose=False,
        )
        return path

    @cached_property
    def traced(self) -> Path:
        """As its older exporter does, which traces, with a dynamic batch."""
        return self._traced("traced.onnx", 2, {name: {0: "batch"} for name in (*self.inputs, *self.outputs)})

    @cached_property
    def base(self) -> Path:
        """What quantizers and optimizers start from: the older exporter's file, if it carries the network."""
        import torch

        try:
            return self.traced
        except torch.onnx.OnnxExporterError:
            return self.onnx

    @cached_property
    def fixed(self) -> Path:
        """The same with a batch of 1, as converters to formats of fixed shapes read it."""
        return self._traced("fixed.onnx", 1, {})

    def _traced(self, name: str, batch: int, axes: dict[str, Any]) -> Path:
        import torch

        path = self.scratch / name
        torch.onnx.export(
            self.module,
            self.samples(batch),
            path,
            dynamo=False,
            input_names=self.inputs,
            output_names=self.outputs,
            dynamic_axes=axes,
            opset_version=_OPSET,
        )
        return path
