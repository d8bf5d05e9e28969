"""Detections drawn on their image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TRUTH = (255, 255, 255)
_INK = (0, 0, 0)


def drawn(
    pixels: np.ndarray[Any, Any],
    detections: Sequence[tuple[Sequence[float], str, float, int]],
    truth: Sequence[tuple[Sequence[float], str]],
) -> Image.Image:
    """RGB uint8 [H, W, 3] with boxes in pixels (x1, y1, x2, y2).

    `detections` are box, label, score and category, a colour a category; `truth` are box and label,
    thin and white, with their labels below.
    """
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    size = max(10, min(image.size) // 30)
    font = ImageFont.load_default(size)
    width = max(1, size // 6)
    for box, label in truth:
        draw.rectangle(list(box), outline=_TRUTH, width=1)
        _tag(draw, (box[0], box[3]), label, _TRUTH, font, image.size)
    # The best score last, on top.
    for box, label, score, category in sorted(detections, key=lambda found: found[2]):
        colour = _colour(category)
        draw.rectangle(list(box), outline=colour, width=width)
        _tag(draw, (box[0], box[1] - size - 2), f"{label} {score:.2f}", colour, font, image.size)
    return image


def _tag(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
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
    """Hues a golden ratio apart: neighbours differ most."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + category * 0.618034) % 1, 0.65, 1.0)
    return int(red * 255), int(green * 255), int(blue * 255)
