"""Composes pictures of answers: one on its photograph, with the ground truth if known; or two compared."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelparity.parity.metrics.task import Overlap
from modelparity.pictures import panels
from modelparity.serving.results import Deepfake, Detections, Result, Tampering, Watermark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]
_HALF = 0.5
_NO_BARS = 0.08  # inches
_TITLE_LETTERS = 36  # that fit over one panel
_SHOW_DPI, _REPORT_DPI, _REPORT_QUALITY = 130, 80, 65


def shown(title: str, pixels: Pixels, result: Result, truth: NDArray[np.bool_] | None = None) -> Figure:
    """A picture of one answer; `truth` is the mask of the tampered region, bool [H, W]."""
    match result:
        case Tampering():
            return _tampering(title, pixels, result, truth)
        case Deepfake():
            return _deepfake(title, pixels, result)
        case Detections():
            count = len(result.scores)
            words = (
                f"{count} object{'' if count == 1 else 's'} with a score of {result.threshold:.3g} or more"
            )
            figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=1, width=5.5, bars=_NO_BARS)
            panels.boxes(axes[0], pixels, _found(result), "")
            return figure
        case Watermark():
            said = "marked" if result.marked else "no watermark"
            words = f"confidence {result.confidence:.3f}: {said}\n{_hex(result)}"
            figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=2, bars=_NO_BARS)
            panels.photograph(axes[0], pixels)
            panels.bits(axes[1], result.bits, f"message, {len(result.bits)} bits")
            return figure
    raise TypeError(f"no picture for {type(result).__name__}")


def compared(title: str, pixels: Pixels, results: tuple[Result, Result], names: tuple[str, str]) -> Figure:
    """A picture of two answers to one photograph, and of the second minus the first."""
    match results:
        case (Tampering(), Tampering()) | (Deepfake(), Deepfake()):
            return _maps_compared(title, pixels, results, names)
        case (Detections() as first, Detections() as second):
            return _boxes_compared(title, pixels, (first, second), names)
        case (Watermark() as first, Watermark() as second):
            return _messages_compared(title, pixels, (first, second), names)
    raise TypeError(f"{type(results[0]).__name__} and {type(results[1]).__name__} cannot be compared")


def as_png(figure: Figure) -> bytes:
    """PNG bytes, the same for the same picture."""
    return _saved(figure, _SHOW_DPI)


def as_webp(figure: Figure) -> bytes:
    """WebP bytes of a small picture, for a report."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(_saved(figure, _REPORT_DPI))) as image:
        image.convert("RGB").save(file, "WEBP", quality=_REPORT_QUALITY, method=6)
    return file.getvalue()


def _saved(figure: Figure, dpi: int) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def _tampering(title: str, pixels: Pixels, result: Tampering, truth: NDArray[np.bool_] | None) -> Figure:
    mask, words = result.mask, _verdict(result)
    if mask is None:
        figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=2)
        panels.photograph(axes[0], pixels)
        panels.bars(axes[1], [("tampered", result.probability)], "probability")
        return figure
    words += f"; {result.tampered_share:.1%} of the pixels"
    if truth is None:
        figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=2)
    else:
        figure, axes = panels.canvas(
            title, f"{words}\n{_mask_words(mask, truth)}", shape=pixels.shape, panels=4
        )
        panels.region(axes[1], pixels, mask=truth, title="ground truth")
        both = "ground truth and prediction"
        panels.regions_compared(axes[3], pixels, truth=truth, said=mask >= _HALF, title=both)
    panels.photograph(axes[0], pixels)
    panels.probabilities(axes[1 if truth is None else 2], pixels, values=mask, title="predicted")
    return figure


def _deepfake(title: str, pixels: Pixels, result: Deepfake) -> Figure:
    figure, axes = panels.canvas(title, _verdict(result), shape=pixels.shape, panels=2)
    panels.photograph(axes[0], pixels)
    if result.patches is None:
        panels.bars(axes[1], [("fake", result.probability)], "probability")
    else:
        side = " × ".join(map(str, result.patches.shape))
        panels.probabilities(axes[1], pixels, values=result.patches, title=f"patches ({side}): fake?")
    return figure


def _maps_compared(title: str, pixels: Pixels, results: tuple[Any, Any], names: tuple[str, str]) -> Figure:
    first, second = results
    a, b = (one.mask if isinstance(one, Tampering) else one.patches for one in results)
    change = second.probability - first.probability
    words = f"probability {first.probability:.4f} and {second.probability:.4f}, difference {_signed(change)}"
    if a is None or b is None:
        figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=2)
        panels.photograph(axes[0], pixels)
        pairs = [(name, one.probability) for name, one in zip(names, results, strict=True)]
        panels.bars(axes[1], pairs, "probability")
        return figure
    off = np.abs(b.astype(np.float64) - a)
    flips = int(((a >= _HALF) != (b >= _HALF)).sum())
    what = "pixel" if isinstance(first, Tampering) else "patch"
    words += (
        f"\ngreatest difference of a {what} {float(off.max()):.3g}, mean {float(off.mean()):.3g}; "
        f"{flips:,} of {a.size:,} change sides of one half"
    )
    figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=4)
    panels.photograph(axes[0], pixels)
    for place, values, other, name in ((1, a, b, names[0]), (2, b, a, names[1])):
        panels.probabilities(axes[place], pixels, values=values, title=name, likes=[other])
    less = f"{names[1]} − {names[0]}"
    panels.differences(
        axes[3], pixels, b - a, less if len(less) < _TITLE_LETTERS else "the second − the first"
    )
    return figure


def _boxes_compared(
    title: str, pixels: Pixels, results: tuple[Detections, Detections], names: tuple[str, str]
) -> Figure:
    from modelparity.parity.metrics.coco import Detections as Found
    from modelparity.parity.metrics.coco import compare_detections

    first, second = results
    height, width = pixels.shape[:2]
    unit = np.array([width, height, width, height], np.float32)
    sides = [Found(one.boxes / unit, one.scores, one.categories) for one in results]
    pair = compare_detections(*sides)
    corner = pair.box_difference * max(height, width)
    words = (
        f"{pair.network} and {pair.converted} objects with a score of {first.threshold:.3g} or more, "
        f"{pair.matched} the same"
    )
    if pair.matched:
        words += (
            f"\ngreatest difference {corner:.3g} pixels in a corner, {pair.score_difference:.3g} in a score"
        )
    figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=3, bars=0.45)
    panels.boxes(axes[0], pixels, _found(first), names[0])
    panels.boxes(axes[1], pixels, _found(second), names[1])
    panels.boxes_compared(axes[2], pixels, [(first.boxes, names[0]), (second.boxes, names[1])], "both")
    return figure


def _messages_compared(
    title: str, pixels: Pixels, results: tuple[Watermark, Watermark], names: tuple[str, str]
) -> Figure:
    first, second = results
    flips = int((first.bits != second.bits).sum())
    change = second.confidence - first.confidence
    words = (
        f"confidence {first.confidence:.4f} and {second.confidence:.4f}, difference {_signed(change)}\n"
        f"{flips} of {len(first.bits)} bits differ{' (ringed)' if flips else ''}"
    )
    figure, axes = panels.canvas(title, words, shape=pixels.shape, panels=3, bars=_NO_BARS)
    panels.photograph(axes[0], pixels)
    panels.bits(axes[1], first.bits, names[0])
    panels.bits(axes[2], second.bits, names[1], first.bits)
    return figure


def _found(result: Detections) -> list[tuple[list[float], str, float, int]]:
    rows = zip(
        result.boxes.tolist(), result.labels, result.scores.tolist(), result.categories.tolist(), strict=True
    )
    return [(box, label, score, category) for box, label, score, category in rows]


def _verdict(result: Tampering | Deepfake) -> str:
    if isinstance(result, Tampering):
        said = "tampered with" if result.tampered else "not tampered with"
    else:
        said = "fake" if result.fake else "real"
    return f"probability {result.probability:.3f}: {said}"


def _mask_words(mask: NDArray[Any], truth: NDArray[np.bool_]) -> str:
    """Metrics of one image at one half, and its area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    said = mask >= _HALF
    one = Overlap(int((said & truth).sum()), int((said & ~truth).sum()), int((~said & truth).sum()))
    words = f"pixel accuracy {float((said == truth).mean()):.3f}"
    if truth.any():
        words += f", F1 {one.f1:.3f}, IoU {one.iou:.3f}"
    if truth.any() and not truth.all():
        words += f", AUC {float(roc_auc_score(truth.ravel(), mask.ravel())):.3f}"
    return words + ("" if truth.any() else " (nothing was tampered with)")


def _hex(result: Watermark) -> str:
    digits = result.hex
    return digits if len(digits) <= 64 else f"{digits[:60]}… ({len(digits)} hex digits)"


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value else "0"
