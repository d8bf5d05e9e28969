"""Changes an input so that the error of a quantized file grows, by gradient ascent on the network.

The ascent maximises a differentiable estimate of the file's error: f(x) - q(x), where q is the network with
its weights rounded as the recipe rounds them. If activations are static, the layers' results are rounded to
256 steps of their calibrated range, too: the gradient passes unchanged within the range and is zero beyond it
(Jacob et al., arXiv:1712.05877). The estimate lacks the order of sums and details of the toolchain, so the
file itself is run on the result. Inputs on which a quantized network differs are found in this way (Hao et
al., "A Tale of Two Models", arXiv:2204.10933); the steps are those of Madry et al., arXiv:1706.06083: the
sign of the gradient, then clipping to 0..255.

A small tile, repeated over the whole image, is changed instead of each pixel, so that 192 numbers describe
it. Everything here runs in the `torch` worker.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.checkpoints.load import weighted
from modelparity.fixtures.inputs.image_recipes import TILE
from modelparity.fixtures.specs import ModelSpec

RATES = (64.0, 32.0, 32.0, 16.0, 16.0, 8.0, 8.0, 4.0, 4.0, 2.0)  # levels a step
_CACHE: dict[str, tuple[Any, Any]] = {}  # by kind: the key, and the networks made for it


def gradient_ascent(
    spec: ModelSpec,
    checkpoint: Path | None,
    levels: Array,
    *,
    quantization: str,
    calibration: Sequence[Mapping[str, Array]],
    scales: Mapping[str, float],
) -> Array:
    """int64 [3, TILE, TILE]: a tile to add to `levels`, uint8 [3, N, N], so that the estimated error grows.

    `scales` weigh the outputs against each other: the error that each may have, by name.
    """
    network, rounded = _cached(
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
        value = error(tile)
        if float(value.detach()) > most:
            best, most = tile.detach(), float(value.detach())
        if rate:
            (slope,) = torch.autograd.grad(value, tile)
            tile = torch.clamp(tile + rate * torch.sign(slope), -255, 255)
    return np.rint(best.numpy()).astype(np.int64)


def _cached(kind: str, key: Any, make: Any) -> Any:
    if kind not in _CACHE or _CACHE[kind][0] != key:
        _CACHE.pop(kind, None)
        _CACHE[kind] = (key, make())
    return _CACHE[kind][1]


def _pair(
    spec: ModelSpec, checkpoint: Path | None, quantization: str, calibration: Sequence[Mapping[str, Array]]
) -> tuple[nn.Module, nn.Module]:
    """The network, and its rounded estimate of the file; without gradients of weights."""
    network = weighted(spec, checkpoint).requires_grad_(False)
    rounded = copy.deepcopy(network)
    if QUANTIZATIONS[quantization].needs_calibration:
        for layer, low, high in _ranges(rounded, calibration):
            layer.register_forward_hook(_stepped(low, high))
    for layer in _layers(rounded):
        layer.weight.copy_(_rounded(layer.weight, quantization))
    return network, rounded


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _rounded(weight: Tensor, quantization: str) -> Tensor:
    """Rounded to int8 with one scale for each output channel, or to float16."""
    if QUANTIZATIONS[quantization].weights != "int8":
        return weight.half().float()
    step = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / 127
    step = step.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight / step) * step


def _ranges(
    network: nn.Module, calibration: Sequence[Mapping[str, Array]]
) -> list[tuple[nn.Module, float, float]]:
    """The least and greatest result of each layer on the calibration images."""
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
