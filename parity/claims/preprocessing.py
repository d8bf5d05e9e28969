"""Makes the claims `model_card`, `preprocessing` and `published_preprocessing`, on a file's input
preparation.

A file's model card says how photographs are prepared for it. The same JPEGs are prepared as the card says and
as in training; a comparison of the networks alone would not detect a difference.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np
from PIL import Image

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.workbench import Workbench
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.images import decode, preprocess
from modelparity.fixtures.inputs.evaluation_sets import photograph
from modelparity.modelfiles.model_card import ModelCard
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.results import Claim

# A photograph that every network shrinks, and a cut of it that every network enlarges.
_PHOTOGRAPH, _SMALL = "coffee.png", 200
_COMPARED = (
    "model",
    "task",
    "output_kind",
    "quantization",
    "input_size",
    "inputs",
    "outputs",
    "preprocessing",
)
# Pillow rounds to whole levels after each of its two passes, half a level each; the rest is float32's error.
_PILLOW_LEVELS = 1.01
_PUBLISHED = {
    "tensor": "the published code resizes floating-point pixels; Pillow rounds to whole levels after each of "
    "two passes, half a level each",
    "opencv": "the published code resizes with OpenCV; when enlarging, both weigh the same four pixels, and "
    "Pillow rounds after each of two passes, half a level each",
}


def model_card(card: ModelCard | None, expected: ModelCard) -> Claim:
    """Whether the file's model card describes the file; `card` is None where it has none."""
    observed, detail = "agrees", ""
    if card is None:
        observed = "no card"
    else:
        said, wanted = asdict(card), asdict(expected)
        wrong = [name for name in _COMPARED if said[name] != wanted[name]]
        if wrong:
            observed = f"another {', '.join(wrong)}"
            detail = f"{wrong[0]} is {said[wrong[0]]}, but should be {wanted[wrong[0]]}"
    because = "users of the file alone prepare photographs and read its outputs by its model card"
    return Claim("model_card", verdict(observed == "agrees"), observed, "agrees", because, detail=detail)


def preprocessing(bench: Workbench, subject: ModelUnderTest, card: ModelCard) -> list[Claim]:
    """The card's preparation against training's, in levels: 1/255 of white, before normalisation."""
    pictures = jpegs()
    served = [preprocess(decode(data), card.preprocessing, card.input_size) for data in pictures]
    size = subject.photographs.prepared_size or (subject.input_size, subject.input_size)
    trained = bench.training_feeds(subject, pictures, size, "picture")
    scale = 255 * np.array(subject.photographs.preprocessing.std, np.float64)[:, None, None]
    greatest = max(_levels(a, b, scale) for a, b in zip(served, trained, strict=True))
    claims = [
        Claim(
            "preprocessing",
            verdict(greatest == 0),
            number(greatest),
            0,
            "the same arithmetic as Resize of a picture, ToTensor and Normalize in torchvision, bit for bit",
            unit="levels",
            detail=f"two JPEGs, one shrunk and one enlarged to {size[0]} x {size[1]}",
            sense="<=",
        )
    ]
    if because := _PUBLISHED.get(subject.photographs.resize_backend):
        published = bench.training_feeds(subject, pictures, size, subject.photographs.resize_backend)
        claims.append(
            _published(
                served,
                published,
                scale,
                because=because,
                aliases=subject.photographs.resize_backend == "opencv",
            )
        )
    return claims


def _published(
    served: Sequence[Array], published: Sequence[Array], scale: Array, *, because: str, aliases: bool
) -> Claim:
    pairs = list(zip(served, published, strict=True))
    judged, detail = pairs, "two JPEGs, one shrunk and one enlarged"
    if aliases:
        (shrunk, theirs), *judged = pairs
        worst = _levels(shrunk, theirs, scale)
        rms = float(np.sqrt(np.mean(((shrunk.astype(np.float64) - theirs) * scale) ** 2)))
        detail = (
            f"enlarged; when shrinking, OpenCV samples four pixels where Pillow averages all: rms {rms:.2g} "
            f"levels, at most {worst:.3g}, which is not judged"
        )
    greatest = max(_levels(a, b, scale) for a, b in judged)
    return Claim(
        "published_preprocessing",
        verdict(greatest <= _PILLOW_LEVELS),
        number(greatest),
        _PILLOW_LEVELS,
        because,
        unit="levels",
        detail=detail,
        sense="<=",
    )


def _levels(a: Array, b: Array, scale: Array) -> float:
    """The greatest difference; infinite where shapes differ or values are not finite."""
    if a.shape != b.shape:
        return float("inf")
    greatest = float(np.abs((a.astype(np.float64) - b) * scale).max())
    return greatest if np.isfinite(greatest) else float("inf")


@lru_cache(maxsize=1)
def jpegs() -> tuple[bytes, ...]:
    """A photograph of 400 x 600 pixels, and its corner of 200 x 200, as JPEG files."""
    pixels = photograph(_PHOTOGRAPH)
    return tuple(_jpeg(part) for part in (pixels, pixels[:_SMALL, :_SMALL]))


def _jpeg(pixels: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
