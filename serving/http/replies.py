"""Converts results to JSON: a score and a label for every task, and the fields of the task."""

from __future__ import annotations

import base64
import math
from typing import Any, Literal

import numpy as np

from modelparity.fixtures.png import grey_map
from modelparity.serving import Deepfake, Detections, Tampering, Watermark

MaskForm = Literal["png", "rle", "none"]


def reply(result: Any, card: Any, mask: str) -> dict[str, Any]:
    """The JSON object for a result: `score` (0..1), `label`, `mask` in the form asked for, and more by task.

    If the file has no score, `score` is null and `label` is "unknown". The mask of a deepfake detector has
    one pixel per patch; detectors of objects and watermarks have none.
    """
    body: dict[str, Any] = {"model": card.model, "task": card.task}
    match result:
        case Tampering():
            body |= _scored(result.probability, "tampered" if result.tampered else "authentic")
            body |= {
                "mask": encoded(result.mask, mask, result.threshold),
                "tampered_share": result.tampered_share,
            }
        case Deepfake():
            body |= _scored(result.probability, "fake" if result.fake else "real")
            body |= {"mask": encoded(result.patches, mask, result.threshold)}
        case Detections():
            best = max(map(float, result.scores), default=0.0)
            body |= _scored(best, "objects" if len(result.scores) else "nothing")
            body |= {"mask": None, "objects": _objects(result)}
        case Watermark():
            body |= _scored(result.confidence, "marked" if result.marked else "unmarked")
            body |= {"mask": None, "bits": "".join("01"[bool(bit)] for bit in result.bits), "hex": result.hex}
        case _:
            raise TypeError(f"no reply is written for {type(result).__name__}")
    return body


def _scored(score: float, label: str) -> dict[str, Any]:
    known = math.isfinite(score)
    return {"score": float(score) if known else None, "label": label if known else "unknown"}


def _objects(result: Detections) -> list[dict[str, Any]]:
    """The objects, with boxes x1, y1, x2, y2 in pixels of the image."""
    rows = zip(result.boxes, result.scores, result.categories, result.labels, strict=True)
    return [
        {
            "box": [round(float(edge), 2) for edge in box],
            "score": float(score),
            "category": int(category),
            "label": str(label),
        }
        for box, score, category, label in rows
    ]


def encoded(mask: np.ndarray[Any, Any] | None, form: str, threshold: float) -> dict[str, Any] | None:
    """A map of probabilities [H, W] as an 8-bit PNG in base64, or as run lengths of values >= `threshold`."""
    if mask is None or form == "none":
        return None
    height, width = mask.shape
    head = {"width": width, "height": height, "encoding": form}
    if form == "rle":
        return {**head, "threshold": threshold, "counts": run_lengths(mask >= threshold)}
    return {**head, "data": base64.b64encode(png(mask)).decode()}


def png(mask: np.ndarray[Any, Any]) -> bytes:
    return grey_map((np.clip(mask, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8))


def run_lengths(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> list[int]:
    """COCO's uncompressed run lengths: alternately of zeros and ones, by columns, zeros first."""
    flat = np.concatenate(([False], mask.ravel(order="F"), [not mask[-1, -1]]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(edges, prepend=0).tolist()
