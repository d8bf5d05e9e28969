"""Converts the outputs of a network to a result, with the meaning that the model card of the file states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelparity.fixtures.specs import TensorSpec
from modelparity.modelfiles.model_card import ModelCard
from modelparity.serving.results import Deepfake, Detections, Result, Tampering, Watermark

Array = NDArray[Any]
Outputs = Mapping[str, Array]
THRESHOLD = 0.5  # the default


def answer(
    card: ModelCard,
    outputs: Outputs,
    size: tuple[int, int],
    index: int = 0,
    *,
    threshold: float | None = None,
) -> Result:
    """The result for photograph `index` of the batch; `size` is its height and width in pixels."""
    own = {name: np.asarray(value)[index] for name, value in outputs.items()}
    return _ANSWERS[card.output_kind](card, own, size, THRESHOLD if threshold is None else threshold)


def _tampering(card: ModelCard, outputs: Outputs, size: tuple[int, int], threshold: float) -> Tampering:
    probability, mask = _probabilities(card, outputs)
    if mask is not None:
        picture = Image.fromarray(mask).resize(size[::-1], Image.Resampling.BILINEAR)
        mask = np.asarray(picture)
    return Tampering(
        model=card.model,
        threshold=threshold,
        size=size,
        probability=probability,
        tampered=probability >= threshold,
        mask=mask,
        tampered_share=None if mask is None else float(np.mean(mask >= threshold)),
    )


def _deepfake(card: ModelCard, outputs: Outputs, size: tuple[int, int], threshold: float) -> Deepfake:
    probability, patches = _probabilities(card, outputs)
    return Deepfake(
        model=card.model,
        threshold=threshold,
        size=size,
        probability=probability,
        fake=probability >= threshold,
        patches=patches,
    )


def _detections(card: ModelCard, outputs: Outputs, size: tuple[int, int], threshold: float) -> Detections:
    height, width = size
    rows = np.flatnonzero(outputs["score"] >= threshold)
    rows = rows[np.argsort(-outputs["score"][rows], kind="stable")]
    categories = outputs["category"][rows].astype(np.int32)
    return Detections(
        model=card.model,
        threshold=threshold,
        size=size,
        boxes=outputs["location"][rows].astype(np.float32) * np.array([width, height] * 2, np.float32),
        scores=outputs["score"][rows].astype(np.float32),
        categories=categories,
        labels=tuple(map(card.label, categories.tolist())),
    )


def _watermark(card: ModelCard, outputs: Outputs, size: tuple[int, int], threshold: float) -> Watermark:
    logits = np.asarray(outputs[card.outputs[0].name], np.float64)
    confidence = float(sigmoid(logits[0]))
    return Watermark(
        model=card.model,
        threshold=threshold,
        size=size,
        confidence=confidence,
        marked=confidence >= threshold,
        bits=(logits[1:] > 0).astype(np.uint8),
    )


_ANSWERS: dict[str, Callable[[ModelCard, Outputs, tuple[int, int], float], Result]] = {
    "tampering": _tampering,
    "deepfake": _deepfake,
    "detections": _detections,
    "watermark": _watermark,
}


def _probabilities(card: ModelCard, outputs: Outputs) -> tuple[float, NDArray[np.float32] | None]:
    """The probability of the image, and of its pixels or patches [h, w]; NaN or None if the file lacks it."""
    image, pixels = float("nan"), None
    for port in card.outputs:
        values = _probability(port, outputs[port.name])
        if values.ndim == 1:
            image = float(values[0])
        elif pixels is None:
            pixels = values[0]
    return image, pixels


def _probability(port: TensorSpec, values: Array) -> NDArray[np.float32]:
    """Probabilities unchanged; an output without a declared range is a logit."""
    return (np.asarray(values) if port.range else sigmoid(values)).astype(np.float32)


def sigmoid(logits: Array) -> Array:
    """Logits to probabilities, without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
