"""`modelparity list`: prints the models, their inputs and outputs, and the cells that are made."""

from __future__ import annotations

import json
from typing import Any

from modelparity import terminal
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec, TensorSpec, Value
from modelparity.parity.cells import Cell, columns
from modelparity.parity.limitations import LIMITATIONS


def list_models(as_json: bool) -> None:
    """Prints every model; nothing heavy is imported."""
    if as_json:
        terminal.say(json.dumps({"models": [_as_data(spec) for spec in MODELS.values()]}, indent=1))
        return
    for spec in MODELS.values():
        _print(spec)


def limitation_words(cell: Cell) -> str:
    """The known limitation of a cell; "" if it has none."""
    limitation = LIMITATIONS.get(cell)
    return f"limitation in {limitation.stage}: {limitation.reason}" if limitation else ""


def _cells(spec: ModelSpec) -> list[Cell]:
    return [Cell(spec.name, *column) for column in columns()]


def _as_data(spec: ModelSpec) -> dict[str, Any]:
    signature = spec.signature()
    return {
        "model": spec.name,
        "title": spec.title,
        "sizes": spec.sizes,
        "input_sizes": spec.input_sizes,
        "default_input_size": spec.default_input_size,
        "free_size": spec.free_size,
        "settings": [
            {"name": s.name, "default": s.default, "choices": s.choices, "meaning": s.meaning}
            for s in spec.settings
        ],
        "inputs": [_port(port) for port in signature.inputs],
        "outputs": [_port(port) for port in signature.outputs],
        "published_outputs": spec.published_outputs,
        "cells": [
            {
                "id": cell.id,
                "format": cell.format,
                "quantization": cell.quantization,
                "limitation": limitation_words(cell),
            }
            for cell in _cells(spec)
        ],
    }


def _text(value: Value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _port(port: TensorSpec) -> dict[str, Any]:
    return {"name": port.name, "shape": port.shape, "dtype": port.dtype, "meaning": port.meaning}


def _print(spec: ModelSpec) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    terminal.show(Text(f"{spec.name}: {spec.title}", style="bold"))
    sizes = ", ".join(f"{n} (default)" if n == spec.default_input_size else str(n) for n in spec.input_sizes)
    free = " (ONNX: any)" if spec.free_size else ""
    terminal.say(f"  input sizes {sizes}{free}; definitions {', '.join(spec.sizes)}")
    signature = spec.signature()
    for way, ports in (("in ", signature.inputs), ("out", signature.outputs)):
        for port in ports:
            axes = ", ".join(map(str, port.shape))
            terminal.say(f"  {way} {port.name} {port.dtype} [{axes}]: {port.meaning}")
    for setting in spec.settings:
        choices = f", of {', '.join(map(str, setting.choices))}" if setting.choices else ""
        terminal.say(f"  --set {setting.name}={_text(setting.default)}: {setting.meaning}{choices}")
    table = Table("quantization", *CONVERTERS, box=None, pad_edge=False, padding=(0, 3, 0, 0))
    made = columns()
    for name in QUANTIZATIONS:
        cells = (Cell(spec.name, format, name) for format in CONVERTERS)
        words = (
            (limitation_words(cell) or "made") if (cell.format, cell.quantization) in made else "not made"
            for cell in cells
        )
        table.add_row(name, *map(Text, words))
    terminal.show(Padding(table, (0, 0, 1, 2)))
