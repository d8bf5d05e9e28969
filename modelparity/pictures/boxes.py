"""Draws detections on their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TRUTH = (255, 255, 255)
_INK = (0, 0, 0)
# Okabe and Ito's, which people of every colour vision tell apart, but for those too dark for black letters.
_COLOURS = (
    (213, 94, 0),
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
)


def drawn(
    pixels: np.ndarray[Any, Any],
    detections: Sequence[tuple[Sequence[float], str, float, int]],
    truth: Sequence[tuple[Sequence[float], str]],
) -> Image.Image:
    """The image of RGB uint8 pixels [H, W, 3] with boxes, given in pixels as (x1, y1, x2, y2).

    `detections` are box, label, score and category, with a colour for each category. `truth` are box and
    label, drawn thin and white with the label below.
    """
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    size = max(10, min(image.size) // 30)
    font = ImageFont.load_default(size)
    width = max(1, size // 6)
    for box, label in truth:
        draw.rectangle(list(box), outline=_TRUTH, width=1)
        _tag(draw, label, at=(box[0], box[3]), colour=_TRUTH, font=font, size=image.size)
    # The best score last, on top.
    ranked = sorted(detections, key=lambda detection: detection[2])
    for box, _, _, category in ranked:
        draw.rectangle(list(box), outline=_colour(category), width=width)
    for box, label, score, category in ranked:  # no box crosses a label
        words = f"{label} {score:.2f}"
        at = (box[0], box[1] - size - 2)
        _tag(draw, words, at=at, colour=_colour(category), font=font, size=image.size)
    return image


def _tag(
    draw: ImageDraw.ImageDraw,
    text: str,
    *,
    at: tuple[float, float],
    colour: tuple[int, int, int],
    font: Any,
    size: tuple[int, int],
) -> None:
    """A text on its colour, pushed inside the image."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x = min(max(at[0], 0), max(0, size[0] - right))
    y = min(max(at[1], 0), max(0, size[1] - bottom))
    draw.rectangle([x + left, y + top, x + right, y + bottom], fill=colour)
    draw.text((x, y), text, fill=_INK, font=font)


def _colour(category: int) -> tuple[int, int, int]:
    return _COLOURS[category % len(_COLOURS)]
