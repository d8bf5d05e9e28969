"""`modelparity predict`: runs a released file on one photograph. Needs no converter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from modelparity import serving, terminal
from modelparity.arrays import written
from modelparity.errors import BadInputError


def predict(
    artifact: Path,
    image: Path,
    *,
    model: str | None,
    threshold: float | None,
    expected: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Prints the answer; writes its map, if it has one, to `output` as a grey PNG."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise BadInputError(f"--threshold {threshold:g}, but should be in 0..1")
    with serving.load(artifact, model=model) as predictor:
        card = predictor.card
        result = predictor.predict(image, threshold)
    data = {**result.as_dict(), "file": {"path": str(artifact), "sha256": card.sha256}}
    if not card.trained:
        data["weights"] = "untrained: the answer means nothing"
    if expected is not None:
        data["accuracy"] = _accuracy(result, expected)
    if output is not None:
        _write(result, output)
    terminal.say(json.dumps(data, indent=1) if as_json else "\n".join(_lines(data)))


def _accuracy(result: serving.Result, expected: str) -> float:
    if not isinstance(result, serving.Watermark):
        raise BadInputError(f"--expected: {result.model} reads no message")
    try:
        return result.accuracy(expected)
    except ValueError as error:
        raise BadInputError(f"--expected: {error}") from error


def _write(result: serving.Result, output: Path) -> None:
    """Black is 0, white is 1, at the photograph's size."""
    values = result.mask if isinstance(result, serving.Tampering) else None
    if isinstance(result, serving.Deepfake):
        values = result.patches
    if values is None:
        raise BadInputError(f"--output: this file of {result.model} gives no map")
    if output.suffix.lower() != ".png":
        raise BadInputError(f"--output {output}: the map is written as .png")
    picture = Image.fromarray(np.round(values * 255).astype(np.uint8))
    with written(output) as file:
        picture.resize(result.size[::-1], Image.Resampling.BILINEAR).save(file, "PNG")


def _lines(data: dict[str, object]) -> list[str]:
    """One `name: value` line for each entry; lists and dictionaries as JSON."""

    def text(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.6g}"
        return json.dumps(value) if isinstance(value, list | dict | bool) else str(value)

    return [f"{name}: {text(value)}" for name, value in data.items() if name not in ("file", "seconds")]
