"""Turns an explanation into lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelparity.parity.explain.error_by_stage import Stage
from modelparity.parity.explain.explain import LEAST_DB
from modelparity.parity.explain.layers import BAND, Explanation, Layer
from modelparity.parity.explain.mixed_precision import GAIN_DB, Mixed

_RANKED = 10


def name(layer: Layer) -> str:
    """The path of the layer's module; an operator outside of any belongs to the deployed module."""
    return layer.module or "the deployed module"


def floors(ratio: float) -> str:
    """Such as 0.4, 57 or 108,485."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def _kind(layer: Layer) -> str:
    """Such as `Conv`, or `add: Add` for an operator without weights."""
    kind = layer.kind or "no tensor of the file"
    return kind if layer.elements else f"{layer.operator}: {kind}"


def verdict_line(explanation: Explanation, quantized: bool) -> str:
    """The first line."""
    if not explanation.diverging:
        if not quantized:
            worst = max((layer.ratio for layer in explanation.layers), default=0.0)
            return f"no layer leaves the band ({floors(worst)} floors at most, of {BAND:g})"
        least = min(explanation.layers, key=lambda layer: layer.sqnr_db)
        return (
            f"no layer leaves the band; most is lost at {name(least)} "
            f"({_kind(least)}, {least.sqnr_db:.1f} dB of its own)"
        )
    layer = explanation.diverging[0]
    if quantized:
        return f"first diverging layer: {name(layer)} ({_kind(layer)}, {layer.sqnr_db:.1f} dB of its own)"
    if math.isnan(layer.ratio):
        return (
            f"first diverging layer: {name(layer)} ({layer.operator}, of which the file has nothing alike; "
            f"its inputs are inside {floors(layer.inputs)})"
        )
    return (
        f"first diverging layer: {name(layer)} ({_kind(layer)}, {floors(layer.ratio)} floors; "
        f"its inputs are inside {floors(max(1.0, layer.inputs))})"
    )


def layer_lines(explanation: Explanation, again: str, quantized: bool) -> list[str]:
    """What was observed, what the bound is, where, what would pass, and how to reproduce it."""
    layer = explanation.diverging[0]
    lines = []
    if layer.index >= 0:
        bound = f"SQNR >= {LEAST_DB:g} dB" if quantized else f"<= {BAND:g} floors"
        should = layer.rms * 10 ** (-LEAST_DB / 20) if quantized else BAND * layer.floor
        lines.append(
            f"rms error {layer.error:.3g} on a result of size {layer.rms:.3g}, but should be <= {should:.3g} "
            f"[{bound}; a floor is what float32 costs this layer from the same inputs, {layer.floor:.3g}]"
        )
        place = ", ".join(map(str, layer.at))
        lines.append(f"greatest |error| {layer.greatest:.3g} at ({place}), in the network's own axes")
        lines.append(f"in the file: {layer.kind} tensor {layer.tensor!r}{_reads(layer)}")
    if layer.left_out:
        lines.append("the file has this layer's input in the place of its result: it is left out")
    if layer.folded:
        lines.append(f"in one with it: {', '.join(layer.folded)}")
    others = explanation.diverging[1:]
    if others:
        lines.append(f"and {len(others)} further: {', '.join(name(other) for other in others[:5])}")
    elif not quantized and explanation.explained:
        rest = [
            other.ratio for other in explanation.layers if other is not layer and other.index != layer.index
        ]
        lines.append(
            f"with this layer's result taken from the file, all others are inside "
            f"{floors(max(rest, default=0))} floors: it is this layer alone"
        )
    elif not explanation.explained:
        lines.append("behind it nothing could be compared")
    if layer.index >= 0:
        passes = f"SQNR >= {layer.sqnr_db:.1f} dB" if quantized else f"{floors(layer.ratio)} floors"
        lines.append(f"would pass at {passes}")
    lines.append(f"reproduce: {again} --output reproduction/")
    return lines


def _reads(layer: Layer) -> str:
    return f", with the constants {', '.join(map(repr, layer.constants[:4]))}" if layer.constants else ""


def ranking_lines(explanation: Explanation) -> list[str]:
    """The layers that lose most, each computed from the file's own inputs."""
    layers = sorted((x for x in explanation.layers if x.sqnr_db < 100), key=lambda x: x.sqnr_db)
    lines = [
        "what each layer loses itself (SQNR of its result against float64 from the same inputs), worst first"
    ]
    for layer in layers[:_RANKED]:
        folded = f" with {', '.join(layer.folded)}" if layer.folded else ""
        lines.append(f"  {layer.sqnr_db:6.1f} dB  {name(layer)} ({_kind(layer)}){folded}")
    if len(layers) > _RANKED:
        lines.append(f"  and {len(layers) - _RANKED} that lose less")
    return lines


def waterfall_lines(stages: Sequence[Stage]) -> list[str]:
    """A block for each output: how far each stage is from float64, and what it added to the one before."""
    run = [stage for stage in stages if stage.distances]
    width = max((len(stage.name) for stage in stages), default=0)
    lines: list[str] = []
    for position, first in enumerate(run[0].distances if run else ()):
        lines.append(
            f"{first.output}: rms from float64, SQNR, rms from the stage before, its share of the squares"
        )
        for stage in run:
            own = stage.distances[position]
            lines.append(
                f"  {stage.name:{width}}  {own.total:9.3g}  {own.sqnr_db:6.1f} dB  {own.added:9.3g}  "
                f"{own.share:5.1%}"
            )
    lines += [f"  {stage.name:{width}}  not run: {stage.skipped}" for stage in stages if stage.skipped]
    return lines


def mixed_lines(mixed: Mixed) -> list[str]:
    """The layers to keep in float, and the error that each adds in int8."""
    count = len(mixed.ranked)
    halved = f"halve the error of each output ({GAIN_DB:g} dB)"
    found = (
        f"{mixed.layers} of {count} layers in float {halved}"
        if mixed.meets
        else f"all but one of {count} layers in float do not {halved}"
    )
    lines = [
        f"{found}; {mixed.tried} files were made to know. What each adds to the outputs, quantized alone:"
    ]
    for position, (layer, share) in enumerate(mixed.ranked[:_RANKED]):
        kept = "float" if position < mixed.layers else "int8"
        lines.append(f"  {share:6.1%}  {layer.scope or layer.tensor} ({layer.operator}): {kept}")
    return lines
