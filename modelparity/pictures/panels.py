"""Draws the panels of a picture: a photograph, a map over it, boxes, bits, bars.

Colours are Okabe and Ito's, which people with any colour vision can distinguish ("Color Universal Design",
2008): blue is the ground truth, vermilion the file's answer, green where both agree. A map of probabilities
goes from blue (0) through white (one half, where decisions change) to vermilion (1); a map of differences
from purple to orange.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelparity.pictures.boxes import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Array = NDArray[Any]
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5B6470"
# Inches: a panel's width, between panels, above and below them, a line of words.
_PANEL, _GAP, _ABOVE, _BAR, _LINE = 3.1, 0.14, 0.66, 0.5, 0.19
_TITLE, _TEXT = 10.5, 9
_LETTER = 0.115  # of the title above all, inches
_LEGEND_LETTERS = 44  # that fit under a panel in one line
# Within this distance of one half, probabilities would look all alike on a scale of 0 to 1.
_NARROW = 0.1


def canvas(
    title: str,
    caption: str,
    *,
    shape: tuple[int, ...],
    panels: int,
    width: float = _PANEL,
    bars: float = _BAR,
) -> tuple[Figure, list[Axes]]:
    """A figure with `panels` side by side for pictures of `shape` [H, W, ...], with a title and a caption.

    `width` is that of a panel and `bars` the room below the panels for colour bars and legends, in inches.
    """
    from matplotlib.figure import Figure

    height = width * min(max(shape[0] / shape[1], 0.5), 1.6)
    wide = _GAP + (width + _GAP) * panels
    lines = textwrap.wrap(title, int((wide - 2 * _GAP) / _LETTER))
    above = _ABOVE + _LINE * (len(lines) - 1)
    below = 0.24 + _LINE * (caption.count("\n") + 1)
    whole = (wide, above + height + bars + below)
    figure = Figure(whole)
    left = _GAP / whole[0]
    figure.text(left, 1 - 0.1 / whole[1], "\n".join(lines), va="top", fontsize=12, fontweight="bold")
    low = 0.12 / whole[1]
    figure.text(left, low, caption, va="bottom", fontsize=_TEXT, color="#1B1F24", linespacing=1.4)
    axes = []
    for index in range(panels):
        # In inches, so that all panels have one size whatever is below them.
        at = (_GAP + (width + _GAP) * index, below + bars, width, height)
        one = figure.add_axes((at[0] / whole[0], at[1] / whole[1], at[2] / whole[0], at[3] / whole[1]))
        one.set_anchor("NW")
        one.set_xticks([])
        one.set_yticks([])
        for spine in one.spines.values():
            spine.set_visible(False)
        axes.append(one)
    return figure, axes


def photograph(axes: Axes, pixels: Array, title: str = "photograph") -> None:
    """Draws RGB uint8 pixels [H, W, 3]."""
    axes.set_title(title, fontsize=_TITLE, loc="left")
    axes.imshow(pixels)


def region(axes: Axes, pixels: Array, *, mask: Array, title: str, colour: str = BLUE) -> None:
    """Draws a mask, bool [H, W], over its photograph: filled, with its outline."""
    photograph(axes, _grey(pixels), title)
    _fill(axes, mask, colour, 0.55)
    _outline(axes, mask.astype(float), colour)


def regions_compared(axes: Axes, pixels: Array, *, truth: Array, said: Array, title: str) -> None:
    """Draws where two masks, bool [H, W], agree and where only one of them is set."""
    photograph(axes, _grey(pixels), title)
    parts = (
        ("both", truth & said, GREEN),
        ("missed", truth & ~said, BLUE),
        ("false alarm", said & ~truth, VERMILION),
    )
    for _, mask, colour in parts:
        _fill(axes, mask, colour, 0.65)
    _legend(axes, [(name, colour) for name, _, colour in parts])


def probabilities(
    axes: Axes,
    pixels: Array,
    *,
    values: Array,
    title: str,
    likes: Sequence[Array] = (),
    bar: bool = True,
) -> None:
    """Draws a map of probabilities [h, w] over its photograph, with a line where it crosses one half.

    `likes` are maps that share its colour scale.
    """
    photograph(axes, _grey(pixels), title)
    low, high = _span([values, *likes])
    height, width = pixels.shape[:2]
    shown = axes.imshow(
        values, cmap=probability_colours(), vmin=low, vmax=high, alpha=0.72,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest",
    )  # fmt: skip
    if values.shape == pixels.shape[:2]:
        _outline(axes, values, "#1B1F24", 0.5)
    if bar:
        _bar(axes, shown, "probability" if high - low == 1 else "probability (scale stretched)")


def differences(axes: Axes, pixels: Array, values: Array, title: str) -> None:
    """Draws a map of signed differences [h, w] on a symmetric scale up to the greatest of them."""
    axes.set_title(title, fontsize=_TITLE, loc="left")
    height, width = pixels.shape[:2]
    most = float(np.nanmax(np.abs(values), initial=0)) or 1e-12
    shown = axes.imshow(
        values, cmap="PuOr_r", vmin=-most, vmax=most, extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest",
    )  # fmt: skip
    axes.set_facecolor("#B8BEC7")  # what is not a number
    _bar(axes, shown, "difference")


def boxes(
    axes: Axes, pixels: Array, found: Sequence[tuple[Sequence[float], str, float, int]], title: str
) -> None:
    """Draws detections (box in pixels, label, score, category) on their photograph."""
    axes.set_title(title, fontsize=_TITLE, loc="left")
    # Drawn at the size that is seen, for labels that can be read.
    from PIL import Image

    scale = max(1.0, 640 / max(pixels.shape[:2]))
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    large = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    axes.imshow(np.asarray(drawn(large, [([v * scale for v in box], *rest) for box, *rest in found], [])))  # type: ignore[misc]


def boxes_compared(axes: Axes, pixels: Array, pairs: Sequence[tuple[Array, str]], title: str) -> None:
    """Draws two named sets of boxes [n, 4] in pixels, the second one dashed over the first."""
    from matplotlib.patches import Rectangle

    photograph(axes, _grey(pixels), title)
    colours = (BLUE, VERMILION)
    for (some, _), colour, dash, width in zip(pairs, colours, ("-", (0, (3, 3))), (2.4, 1.6), strict=True):
        for x1, y1, x2, y2 in some:
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, ls=dash, lw=width))
    _legend(axes, [(name, colour) for (_, name), colour in zip(pairs, colours, strict=True)])


def bits(axes: Axes, values: Array, title: str, other: Array | None = None) -> None:
    """Draws bits [n] as squares, row by row, dark for 1; bits that differ from `other` are ringed."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    axes.set_title(title, fontsize=_TITLE, loc="left")
    columns = 8 if len(values) <= 128 else 32
    rows = -(-len(values) // columns)
    grid = np.zeros((max(rows, 1), columns))
    for index, bit in enumerate(values):
        x, y = index % columns, index // columns
        grid[y, x] = bit + 1
        if other is not None and other[index] != bit:
            axes.add_patch(
                Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, fill=False, ec=VERMILION, lw=2.2, zorder=3)
            )
        if columns == 8:
            ink = "white" if bit else "#1B1F24"
            axes.text(x + 0.5, y + 0.52, str(int(bit)), color=ink, ha="center", va="center", fontsize=_TEXT)
    axes.imshow(
        grid, ListedColormap(["#FFFFFF", "#DCE6EE", BLUE]), vmin=0, vmax=2, extent=(0, columns, rows, 0)
    )
    for line in range(columns + 1):
        axes.axvline(line, color="white", lw=3 if columns == 8 else 0.6)
    for line in range(rows + 1):
        axes.axhline(line, color="white", lw=3 if columns == 8 else 0.6)
    axes.set_xlim(0, columns)
    axes.set_ylim(max(rows, 1), 0)
    axes.set_aspect("equal")


def bars(axes: Axes, named: Sequence[tuple[str, float]], title: str) -> None:
    """Draws named probabilities as bars from 0 to 1, with one half marked."""
    axes.set_title(title, fontsize=_TITLE, loc="left")
    for row, (name, value) in enumerate(named):
        axes.barh(row, value, height=0.5, color=(BLUE, VERMILION)[row % 2])
        axes.text(0, row - 0.33, f"{name}: {value:.4f}", fontsize=_TEXT, va="bottom")
    axes.axvline(0.5, color=GREY, ls=(0, (4, 3)), lw=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(named) - 0.4, -0.8)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"], fontsize=_TEXT)


def probability_colours() -> Colormap:
    """The colour map of probabilities: blue through white to vermilion."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("probability", (BLUE, "#FFFFFF", VERMILION))


def _span(maps: Sequence[Array]) -> tuple[float, float]:
    away = max(float(np.nanmax(np.abs(values - 0.5), initial=0)) for values in maps)
    half = 0.5 if away > _NARROW else max(away, 1e-6)
    return 0.5 - half, 0.5 + half


def _grey(pixels: Array) -> Array:
    """The photograph in light grey, so that what is drawn over it stands out."""
    light = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat((light * 0.8 + 48).astype(np.uint8)[:, :, None], 3, axis=2)


def _fill(axes: Axes, mask: Array, colour: str, alpha: float) -> None:
    from matplotlib.colors import to_rgb

    layer = np.zeros((*mask.shape, 4), np.float32)
    layer[..., :3] = to_rgb(colour)
    layer[..., 3] = mask * alpha
    axes.imshow(layer, interpolation="nearest")


def _outline(axes: Axes, values: Array, colour: str, level: float = 0.5) -> None:
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() < level < finite.max():
        axes.contour(values, levels=[level], colors=[colour], linewidths=1.1)


def _bar(axes: Axes, shown: Any, words: str) -> None:
    box, tall = axes.get_position(), float(axes.figure.get_figheight())  # type: ignore[union-attr]
    inset = 0.05 * box.width  # the numbers at its ends stay clear of the neighbour's
    width = box.width - 2 * inset
    place = axes.figure.add_axes((box.x0 + inset, box.y0 - 0.15 / tall, width, 0.09 / tall))
    bar = axes.figure.colorbar(shown, cax=place, orientation="horizontal")
    bar.outline.set_visible(False)
    place.tick_params(labelsize=_TEXT - 1.5, length=2)
    place.locator_params(nbins=5)
    place.set_xlabel(words, fontsize=_TEXT - 1, labelpad=1)


def _legend(axes: Axes, named: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for name, colour in named]
    beside = sum(len(name) for name, _ in named) <= _LEGEND_LETTERS
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(named) if beside else 1,
        frameon=False, fontsize=_TEXT - 0.5, handlelength=1, columnspacing=1, handletextpad=0.4,
    )  # fmt: skip
