"""Describes requests and answers for the OpenAPI document; the answers themselves are written without it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from modelparity.serving.http.admission import FORM, IMAGES, OCTETS
from modelparity.serving.http.uploads import FIELD


class Image(BaseModel):
    width: int = Field(description="Pixels, upright by the EXIF orientation.")
    height: int
    format: Literal["JPEG", "PNG", "WebP"] = Field(description="By content, whatever the upload was called.")


class Mask(BaseModel):
    width: int
    height: int
    encoding: Literal["png", "rle"]
    data: str | None = Field(None, description="png: 8-bit grey, 255 is probability 1; in base64.")
    threshold: float | None = Field(None, description="rle: what the mask was cut at.")
    counts: list[int] | None = Field(None, description="rle: COCO's uncompressed run lengths, down columns.")


class Object(BaseModel):
    box: list[float] = Field(description="x1, y1, x2, y2 in pixels.")
    score: float
    category: int
    label: str


class Detection(BaseModel):
    """`tampered_share`, `objects`, `bits` and `hex` are there for the tasks that have them."""

    model: str
    task: str
    score: float | None = Field(description="0 to 1; null for a file that has none.")
    label: str
    mask: Mask | None
    image: Image
    timings_ms: dict[str, float] = Field(
        description="queue, decode, wait (for the network), prepare, inference, answer, total."
    )
    tampered_share: float | None = None
    objects: list[Object] | None = None
    bits: str | None = None
    hex: str | None = None


class Error(BaseModel):
    error: str = Field(description="One line: what is wrong, and what to do.")
    reason: str = Field(description="The same in one word, as in the metrics.")


_WORDS = {
    400: "A malformed form, tensor or header.",
    401: "No API key, or a wrong one.",
    404: "No such model or version.",
    408: "The body was too slow.",
    413: "Too many bytes, pixels or images.",
    415: "Not a JPEG, PNG or WebP image.",
    422: "A damaged or animated image, or a wrong parameter.",
    429: "Too much at once: try again after `Retry-After` seconds.",
    503: "The server is being stopped.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Error, "description": _WORDS[status]} for status in statuses}


_BINARY = {"type": "string", "format": "binary"}
_PICTURES: dict[str, Any] = {kind: {"schema": _BINARY} for kind in (*IMAGES, OCTETS)}
_IN_A_FORM = {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BINARY}}}
UPLOAD = {"requestBody": {"required": True, "content": {FORM: _IN_A_FORM, **_PICTURES}}}

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "enum": ["FP32"]},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}
_INFER = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "parameters": {"type": "object"},
    },
}
INFER = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _INFER}, OCTETS: {"schema": _BINARY}},
    }
}
