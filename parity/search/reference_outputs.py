"""Runs the network in float64 and in two summation orders of float32, one image after another.

`modelparity.converters.engine.network` keeps one precision in memory and reads the weights again for another,
which would be slow in a search. Everything here runs in the `torch` worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modelparity.fixtures.arrays import Array
from modelparity.fixtures.checkpoints.load import weighted
from modelparity.fixtures.specs import ModelSpec

_NETWORKS: dict[torch.dtype, tuple[tuple[ModelSpec, Path | None], nn.Module]] = {}


def reference_outputs(
    spec: ModelSpec, checkpoint: Path | None, feed: Mapping[str, Array], float32: bool
) -> list[dict[str, Array]]:
    """Outputs by name in float64 and, with `float32`, in float32 with fused kernels and without; one thread.

    The same arrays as `modelparity.converters.engine.network.run` gives for each.
    """
    kinds = [(torch.float64, True)]
    kinds += [(torch.float32, True), (torch.float32, False)] if float32 else []
    names = spec.signature().output_names
    image = torch.from_numpy(np.ascontiguousarray(feed["image"]))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = []
        for dtype, fused in kinds:
            network = _network(spec, checkpoint, dtype)
            with torch.no_grad(), torch.backends.mkldnn.flags(enabled=fused):
                values = network(image.to(dtype))
            runs.append({name: value.numpy().copy() for name, value in zip(names, values, strict=True)})
        return runs
    finally:
        torch.set_num_threads(before)


def _network(spec: ModelSpec, checkpoint: Path | None, dtype: torch.dtype) -> nn.Module:
    if dtype not in _NETWORKS or _NETWORKS[dtype][0] != (spec, checkpoint):
        _NETWORKS.pop(dtype, None)
        _NETWORKS[dtype] = ((spec, checkpoint), weighted(spec, checkpoint).to(dtype))
    return _NETWORKS[dtype][1]
