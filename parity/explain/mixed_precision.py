"""Which layers to keep in float so that a quantized cell meets its budget: as few as will do.

Layers are ranked by what each, quantized alone, adds to the outputs (`modelparity.converters.onnx.sensitivity`), against
each output's own spread. The first k of them stay float; the least k whose file meets the cell's budget over
the whole stream is found by halving, and every file tried is a real one, made as `convert` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelparity.converters.engine.workbench import Calibration, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.converters.recipes import KeepFloat
from modelparity.modelfiles.activations import Sensitivity
from modelparity.parity.cells import Cell
from modelparity.parity.claims.basic import quantized_parity
from modelparity.parity.judge import RUN_THREADS
from modelparity.parity.reference import ReferenceData
from modelparity.parity.tolerances import QuantizedTolerance


@dataclass(frozen=True)
class Mixed:
    """`ranked` with each layer's share of the noise, worst first; `entries` is the recipe.

    `layers` of them stay float, `tried` files were made; `meets` is False if even all in float is not enough.
    """

    ranked: tuple[tuple[Sensitivity, float], ...]
    entries: tuple[KeepFloat, ...]
    layers: int
    tried: int
    meets: bool


def smallest(
    bench: Workbench,
    truth: ReferenceData,
    cell: Cell,
    tolerance: QuantizedTolerance,
    calibration: Calibration,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Mixed:
    """The recipe for an ONNX cell."""
    subject, reference = truth.subject, truth.reference
    source = bench.artifact(subject, cell.format, "fp32")[0].path
    on_stage("quantizing each layer alone")
    reply = bench.workers[cell.format].call(
        "modelparity.converters.onnx.sensitivity:sensitivities",
        source,
        cell.quantization,
        calibration.feeds if cell.quantization == "int8_static" else (),
        reference.feeds[0],
        timeout=CONVERT_TIMEOUT_S,
    )
    ranked = _ranked(reply.value, {name: reference.spread(name) for name in reference.floors})
    tried = 0

    def recipe(count: int) -> tuple[KeepFloat, ...]:
        chosen = [(layer.operator, layer.tensor) for layer, _ in ranked[:count]]
        because = f"one of the {count} layers that cost {cell.id} most, each quantized alone"
        return kept(chosen, because)

    def meets(count: int) -> bool:
        nonlocal tried
        tried += 1
        on_stage(f"trying {count} of {len(ranked)} layers in float")
        given = calibration if cell.quantization == "int8_static" else None
        path = bench.artifact(subject, cell.format, cell.quantization, given, mixed=recipe(count))[0].path
        outputs = bench.run(cell.format, path, reference.feeds, threads=RUN_THREADS)
        errors = reference.errors(reference.paired(outputs))
        return all(claim.passed for e in errors for claim in quantized_parity(reference, e, tolerance))

    low, high = 0, len(ranked)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle + 1, high)
    return Mixed(tuple(ranked), recipe(low), low, tried, low < len(ranked))


def kept(layers: Sequence[tuple[str, str]], because: str) -> tuple[KeepFloat, ...]:
    """Recipe entries that keep (operator, output's name) pairs in float, and no others."""
    return tuple(KeepFloat(kind, because, names=f"^{re.escape(name)}$") for kind, name in layers)


def _ranked(layers: Sequence[Sensitivity], spread: dict[str, float]) -> list[tuple[Sensitivity, float]]:
    """By noise against each output's spread, the output where it counts most."""
    noise = {
        layer.tensor: max(layer.noise[name] / (spread[name] ** 2 or 1.0) for name in spread)
        for layer in layers
    }
    total = sum(noise.values()) or 1.0
    return sorted(((layer, noise[layer.tensor] / total) for layer in layers), key=lambda item: -item[1])
