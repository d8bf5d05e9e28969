"""Exports the network once for all formats, and runs it in float32 and float64 as the reference.

Everything here runs in the `torch` worker. Weights come from a checkpoint file or, where the
path is None, from the goldens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modelparity.converters.engine import exported_program as program_file
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.checkpoints.load import read_checkpoint, weighted
from modelparity.fixtures.specs import ModelSpec

# A batch of 2 keeps the traced batch from being taken for a constant 1.
_TRACE_BATCH = 2


_LATEST: dict[tuple[ModelSpec, Path | None, int], dict[str, nn.Module]] = {}
LARGE = 200_000_000  # weights, of which float32 and float64 together are 2.4 GB


def _deployed(spec: ModelSpec, checkpoint: Path | None, precision: str) -> nn.Module:
    """The module, kept in memory until another network is asked for; of a large one, one precision."""
    # The time tells a file from another one that was there before.
    key = (spec, checkpoint, checkpoint.stat().st_mtime_ns if checkpoint else 0)
    if key not in _LATEST:
        _LATEST.clear()
    kept = _LATEST.setdefault(key, {})
    if precision not in kept:
        if any(sum(p.numel() for p in module.parameters()) > LARGE for module in kept.values()):
            kept.clear()
        kept[precision] = weighted(spec, checkpoint).to(getattr(torch, precision))
    return kept[precision]


def fitted(spec: ModelSpec, checkpoint: Path) -> ModelSpec:
    """`spec` with the settings that a checkpoint tells. Raises `CheckpointError`."""
    return read_checkpoint(checkpoint, spec).spec


def export(spec: ModelSpec, checkpoint: Path | None, input_size: int, target: Path) -> dict[str, int]:
    """Writes the deployed module as a `.pt2` exported program with a dynamic batch.

    Returns counts of the module's elements: `weights` of matrices and kernels, which no exporter
    folds away, and `elements` of everything it holds.
    """
    module = _deployed(spec, checkpoint, "float32")
    image = torch.zeros(_TRACE_BATCH, 3, input_size, input_size)
    axes = {0: torch.export.Dim("batch", min=1)}
    if spec.free_size:
        axes |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    with torch.no_grad():
        program = torch.export.export(module, (image,), dynamic_shapes={"image": axes})
    program_file.save(program, target)
    parameters = list(module.parameters())
    everything = [*parameters, *(buffer for buffer in module.buffers() if buffer.is_floating_point())]
    return {
        "weights": sum(p.numel() for p in parameters if p.dim() >= 2),
        "elements": sum(t.numel() for t in everything),
    }


def run(
    spec: ModelSpec,
    checkpoint: Path | None,
    feeds: Sequence[Feeds],
    *,
    precision: str = "float32",
    threads: int = 1,
    fused_kernels: bool = True,
) -> list[Outputs]:
    """The deployed module's outputs by name, one dictionary a feed.

    `precision` is "float32" or "float64"; `threads` and `fused_kernels` (oneDNN) choose among
    summation orders, all of them float32 and none more right than another.
    """
    module = _deployed(spec, checkpoint, precision)
    names = spec.signature().output_names
    dtype = getattr(torch, precision)
    return _run(module, names, feeds, dtype, threads=threads, fused_kernels=fused_kernels)


def run_published(spec: ModelSpec, checkpoint: Path | None, feeds: Feeds) -> Outputs:
    """Every output of the published network, named as in the goldens."""
    module = weighted(spec, checkpoint, published=True)
    names, threads = spec.published_outputs, torch.get_num_threads()
    return _run(module, names, [feeds], torch.float32, threads=threads, fused_kernels=True)[0]


def _run(
    module: nn.Module,
    names: Sequence[str],
    feeds: Sequence[Feeds],
    dtype: torch.dtype,
    *,
    threads: int,
    fused_kernels: bool,
) -> list[Outputs]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    # Without oneDNN a grouped convolution copies what it needs of a transposed input once a group.
    grouped = [each for each in module.modules() if isinstance(each, nn.Conv2d) and each.groups > 1]
    hooks = [each.register_forward_pre_hook(_contiguous) for each in grouped]
    try:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=fused_kernels):
            return [
                {
                    name: value.numpy().copy()
                    for name, value in zip(
                        names,
                        module(torch.from_numpy(np.ascontiguousarray(feed["image"])).to(dtype)),
                        strict=True,
                    )
                }
                for feed in feeds
            ]
    finally:
        for hook in hooks:
            hook.remove()
        torch.set_num_threads(before)


def _contiguous(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.contiguous() for each in inputs)
