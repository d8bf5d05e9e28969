"""Where from an input a file's error grows, as far as the network itself can tell.

`gradient_ascent` climbs a differentiable stand-in for a file's error: f(x) - q(x), where q is the network with its
weights rounded as the recipe rounds them and, where activations are static, its layers' results rounded to
256 steps of their calibrated range, the gradient passing straight through within it and stopping beyond
(Jacob et al., arXiv:1712.05877). That is the file's error but for the order of sums and the fine print of
a toolchain, so the file itself has the last word. Climbing the difference of two networks is how
evasive inputs of quantized ones are found (Hao et al., "A Tale of Two Models", arXiv:2204.10933); the steps
are those of Madry et al., arXiv:1706.06083: the sign of the gradient, then back into 0..255.

What climbs is a small tile laid all over the image, not each pixel: it can be told in 192 numbers.
Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelparity.fixtures.checkpoints.load import weighted
from modelparity.fixtures.inputs.image_recipes import TILE
from modelparity.fixtures.specs import ModelSpec

Array = np.ndarray[Any, Any]
RATES = (64.0, 32.0, 32.0, 16.0, 16.0, 8.0, 8.0, 4.0, 4.0, 2.0)  # levels a step
_KEPT: dict[str, tuple[Any, Any]] = {}  # by kind: what it was made for, and the networks


def gradient_ascent(
    spec: ModelSpec,
    checkpoint: Path | None,
    levels: Array,
    quantization: str,
    calibration: Sequence[Mapping[str, Array]],
    scales: Mapping[str, float],
) -> Array:
    """int64 [3, TILE, TILE]: what to add to `levels`, uint8 [3, N, N], so that the stand-in's error grows.

    `scales` are the errors that each output may have, by name: what they are weighed by.
    """
    network, rounded = _kept(
        "pair", (spec, checkpoint, quantization), lambda: _pair(spec, checkpoint, quantization, calibration)
    )
    image = torch.from_numpy(levels.astype(np.float32))
    mean, std = (torch.tensor(v)[:, None, None] for v in (spec.preprocessing.mean, spec.preprocessing.std))
    times = -(-image.shape[-1] // TILE)
    names = spec.signature().output_names

    def error(tile: Tensor) -> Tensor:
        laid = tile.repeat(1, times, times)[:, : image.shape[1], : image.shape[2]]
        fed = ((torch.clamp(image + laid, 0, 255) / 255 - mean) / std)[None]
        pairs = zip(names, network(fed), rounded(fed), strict=True)
        return torch.stack(
            [
                torch.mean(((truth - other) / scales[name]) ** 2)
                for name, truth, other in pairs
                if name in scales
            ]
        ).max()

    tile = torch.zeros(3, TILE, TILE)
    best, most = tile, -1.0
    for rate in (*RATES, 0.0):
        tile = tile.detach().requires_grad_()
        height = error(tile)
        if float(height.detach()) > most:
            best, most = tile.detach(), float(height.detach())
        if rate:
            (slope,) = torch.autograd.grad(height, tile)
            tile = torch.clamp(tile + rate * torch.sign(slope), -255, 255)
    return np.rint(best.numpy()).astype(np.int64)


def _kept(kind: str, key: Any, make: Any) -> Any:
    if kind not in _KEPT or _KEPT[kind][0] != key:
        _KEPT.pop(kind, None)
        _KEPT[kind] = (key, make())
    return _KEPT[kind][1]


def _pair(
    spec: ModelSpec, checkpoint: Path | None, quantization: str, calibration: Sequence[Mapping[str, Array]]
) -> tuple[nn.Module, nn.Module]:
    """The network and the one that stands in for the file; no gradient of a weight is kept."""
    network = weighted(spec, checkpoint).requires_grad_(False)
    rounded = copy.deepcopy(network)
    if quantization == "int8_static":
        for layer, low, high in _ranges(rounded, calibration):
            layer.register_forward_hook(_stepped(low, high))
    for layer in _layers(rounded):
        layer.weight.copy_(_rounded(layer.weight, quantization))
    return network, rounded


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _rounded(weight: Tensor, quantization: str) -> Tensor:
    """int8 an output channel, or float16."""
    if not quantization.startswith("int8"):
        return weight.half().float()
    step = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / 127
    step = step.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight / step) * step


def _ranges(
    network: nn.Module, calibration: Sequence[Mapping[str, Array]]
) -> list[tuple[nn.Module, float, float]]:
    """The least and greatest value that each layer gives on the calibration images."""
    seen: dict[nn.Module, tuple[float, float]] = {}

    def note(layer: nn.Module, _: Any, value: Tensor) -> None:
        low, high = seen.get(layer, (0.0, 0.0))
        seen[layer] = (min(low, float(value.min())), max(high, float(value.max())))

    hooks = [layer.register_forward_hook(note) for layer in _layers(network)]
    with torch.no_grad():
        for feed in calibration:
            network(torch.from_numpy(feed["image"]))
    for hook in hooks:
        hook.remove()
    return [(layer, low, high) for layer, (low, high) in seen.items() if high > low]


def _stepped(low: float, high: float) -> Any:
    step = (high - low) / 255
    zero = round(-low / step)

    def hook(_: nn.Module, __: Any, value: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(value, step, zero, 0, 255)

    return hook
