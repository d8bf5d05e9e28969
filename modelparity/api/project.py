"""Reads the models that a project declares in its pyproject.toml.

    [tool.modelparity.models.classifier]
    build = "my_package.model:build"
    formats = ["onnx", "tflite"]
    quantizations = ["fp32", "int8_dynamic"]
    inputs = { image = "float32:batch,3,64,64" }
    dims = { sequence = [4, 128] }
    ranges = { image = [0, 1] }
    example = "my_package.model:examples"
    weights = "weights/best.pt"
    data = "samples.npz"

Only `build` is required. Nothing here imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity.api.model import Model, Tensor, input_of
from modelparity.api.prove import cells_of
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError, nearest
from modelparity.parity.cells import Cell

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEYS = ("build", "formats", "quantizations", "inputs", "dims", "ranges", "example", "weights", "data")


@dataclass(frozen=True)
class Declared:
    """A model of a project, and the cells that its gate proves."""

    model: Model
    cells: tuple[Cell, ...]


def declared_models(folder: Path) -> dict[str, Declared]:
    """The models in `[tool.modelparity.models]` of the folder's pyproject.toml, by name; {} without any.

    Raises:
        BadInputError: the file or a declaration cannot be understood; the message names the place.
    """
    path = folder / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadInputError(f"{path}: {error}") from error
    models = read.get("tool", {}).get("modelparity", {}).get("models", {})
    if not isinstance(models, dict):
        raise BadInputError(f"{path}: [tool.modelparity.models] should hold a table for each model")
    return {name: _declared(f"{path}: models.{name}", name, table, folder) for name, table in models.items()}


def _declared(place: str, name: str, table: Any, folder: Path) -> Declared:
    if not isinstance(table, dict) or not isinstance(table.get("build"), str):
        raise BadInputError(f'{place}: needs build = "package.module:name"')
    for key in table:
        if key not in _KEYS:
            raise BadInputError(f"{place}: no such key: {key!r}{nearest(key, _KEYS)}")
    formats = _texts(place, table, "formats", CONVERTERS)
    quantizations = _texts(place, table, "quantizations", QUANTIZATIONS)
    try:
        inputs = dict(input_of(f"{port}={text}") for port, text in table.get("inputs", {}).items())
        for port, (low, high) in table.get("ranges", {}).items():
            known = inputs.get(port, Tensor(()))
            inputs[port] = Tensor(known.axes, known.dtype, (float(low), float(high)))
        dims = {axis: (int(low), int(high)) for axis, (low, high) in table.get("dims", {}).items()}
    except BadInputError as error:
        raise BadInputError(f"{place}: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInputError(f"{place}: inputs, dims and ranges should be tables: {error}") from error
    model = Model(
        table["build"],
        table.get("example"),
        name=name,
        weights=folder / table["weights"] if "weights" in table else None,
        inputs=inputs,
        dims=dims,
        data=folder / table["data"] if "data" in table else None,
    )
    return Declared(model, cells_of(name, formats, quantizations))


def _texts(place: str, table: Mapping[str, Any], key: str, known: Mapping[str, Any]) -> list[str]:
    """A list of names; the first known one if none is given."""
    texts = table.get(key, list(known)[:1])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadInputError(f"{place}: {key} should be a list of texts")
    for text in texts:
        if text not in known:
            raise BadInputError(f"{place}: {key}: no such one: {text!r}{nearest(text, known)}")
    return texts
