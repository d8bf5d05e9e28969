"""Selects the fewest layers to keep in float so that a quantized cell loses half as much.

Layers are ranked by the error that each, quantized alone, adds to the outputs
(`modelparity.converters.onnx.sensitivity`), relative to each output's spread. The first k of them stay float;
the least k whose file gains `GAIN_DB` in each output over the whole evaluation set is found by bisection.
Every file tried is a real one, made as `convert` makes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelparity.converters.engine.workbench import Calibration, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.modelfiles.activations import Sensitivity
from modelparity.parity.cells import RUN_THREADS, Cell
from modelparity.parity.reference import ReferenceData


@dataclass(frozen=True)
class Mixed:
    """The selected layers.

    Attributes:
        ranked: All layers with their shares of the noise, greatest first.
        entries: The recipe that keeps the selected layers float.
        layers: How many layers stay float.
        tried: How many files were made.
        least_db: By output, the SQNR that the file must reach.
        meets: False if it is missed even with all layers in float.
    """

    ranked: tuple[tuple[Sensitivity, float], ...]
    entries: tuple[KeepFloat, ...]
    layers: int
    tried: int
    least_db: dict[str, float]
    meets: bool


GAIN_DB = 6.0  # half the error


def smallest(
    bench: Workbench,
    truth: ReferenceData,
    cell: Cell,
    *,
    calibration: Calibration,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Mixed:
    """The recipe for a cell whose format can quantize one layer alone (`Converter.sensitivities`)."""
    subject, reference = truth.subject, truth.reference
    source = bench.artifact(subject, cell.format, FLOAT)[0].path
    calibrated = QUANTIZATIONS[cell.quantization].needs_calibration
    on_stage("quantizing each layer alone")
    reply = bench.workers[cell.format].call(
        bench.converters[cell.format].sensitivities,
        source,
        cell.quantization,
        calibration.feeds if calibrated else (),
        reference.feeds[0],
        timeout=CONVERT_TIMEOUT_S,
    )
    ranked = _ranked(reply.value, {name: reference.spread(name) for name in reference.floors})
    tried = 0

    def recipe(count: int) -> tuple[KeepFloat, ...]:
        selected = [(layer.operator, layer.tensor) for layer, _ in ranked[:count]]
        because = f"one of the {count} layers with the greatest error in {cell.id}, each quantized alone"
        return keep_float_entries(selected, because)

    def reached(count: int | None) -> dict[str, float]:
        used = calibration if calibrated else None
        mixed = None if count is None else recipe(count)
        path = bench.artifact(subject, cell.format, cell.quantization, used, mixed=mixed)[0].path
        outputs = bench.run(cell.format, path, reference.feeds, threads=RUN_THREADS)
        return {error.output: error.sqnr_db for error in reference.errors(reference.paired(outputs))}

    on_stage("measuring the file as it is")
    least = {name: db + GAIN_DB for name, db in reached(None).items()}

    def meets(count: int) -> bool:
        nonlocal tried
        tried += 1
        on_stage(f"trying {count} of {len(ranked)} layers in float")
        found = reached(count)
        return all(found.get(name, -math.inf) >= db for name, db in least.items())

    low, high = 0, len(ranked)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle + 1, high)
    return Mixed(tuple(ranked), recipe(low), low, tried, least, low < len(ranked) or meets(low))


def keep_float_entries(layers: Sequence[tuple[str, str]], because: str) -> tuple[KeepFloat, ...]:
    """Recipe entries that keep the given (operator, output name) pairs in float, and no others."""
    return tuple(KeepFloat(kind, because, names=f"^{re.escape(name)}$") for kind, name in layers)


def _ranked(layers: Sequence[Sensitivity], spread: dict[str, float]) -> list[tuple[Sensitivity, float]]:
    """Sorted by noise relative to the spread of the output where it is greatest."""
    noise = {
        layer.tensor: max(layer.noise[name] / (spread[name] ** 2 or 1.0) for name in spread)
        for layer in layers
    }
    total = sum(noise.values()) or 1.0
    return sorted(((layer, noise[layer.tensor] / total) for layer in layers), key=lambda item: -item[1])
