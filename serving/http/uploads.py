"""Reads uploads into memory, within the limits, and opens the picture in them.

Starlette's form parser is not used, because it writes parts larger than 1 MB to a temporary file.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from modelparity.serving.http.limits import Limits
from modelparity.serving.http.refusals import RefusalError, too_large, unreadable, unsupported

FIELD = "image"
# Its messages quote malformed forms. Set by level, because uvicorn enables all other loggers when it starts.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)
_FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "WEBP": "WebP"}
_HEADER_BYTES = 8 << 10
_PARTS = 8
_SEGMENTS = 10_000  # of a JPEG; a photograph has a few dozen
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


async def read_body(chunks: AsyncIterator[bytes], content_type: str, limits: Limits) -> bytes:
    """The uploaded file: the body itself, or the part `image` of a form.

    Raises:
        RefusalError: the body is too large or too slow, or the form is malformed.
    """
    form = _Form(content_type) if content_type.lower().startswith("multipart/") else None
    whole = bytearray()
    total = 0
    try:
        async with _deadline(limits.body_seconds):
            async for chunk in chunks:
                total += len(chunk)
                if total > limits.body_bytes:
                    raise too_large("bytes", f"at most {limits.body_bytes:,} bytes are read")
                if form:
                    form.feed(chunk)
                else:
                    whole += chunk
    except TimeoutError:
        words = f"the body did not arrive within {limits.body_seconds:g} seconds"
        raise RefusalError(408, "slow", words, {"Connection": "close"}) from None
    return form.finish() if form else bytes(whole)


class _deadline:  # noqa: N801
    """`asyncio.timeout`, which Python 3.10 lacks."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._expired = seconds, False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, task)

    def _expire(self, task: asyncio.Task[Any]) -> None:
        self._expired = True
        task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError:
            raise TimeoutError


def _broken(words: str) -> RefusalError:
    return RefusalError(400, "form", words)


class _Form:
    """A multipart form, parsed piece by piece; keeps only the part named `image`."""

    def __init__(self, content_type: str) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:  # RFC 2046, 5.1.1
            raise _broken("the form has no boundary of 1 to 70 characters")
        self._file: bytearray | None = None
        self._parts = 0
        self._keeps = self._ended = False
        self._name, self._value, self._headers = bytearray(), bytearray(), 0
        callbacks: Any = {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)
        self._options = parse_options_header

    def feed(self, chunk: bytes) -> None:
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _broken("the form is malformed") from None

    def finish(self) -> bytes:
        if not self._ended:
            raise _broken("the form is cut off: its closing boundary is missing")
        if self._file is None:
            raise _broken(f"the form has no part named {FIELD!r}")
        return bytes(self._file)

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise _broken(f"the form has more than {_PARTS} parts")
        self._keeps = False
        self._headers = 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data, start, end)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data, start, end)

    def _counted(self, data: bytes, start: int, end: int) -> bytes:
        self._headers += end - start
        if self._headers > _HEADER_BYTES:
            raise _broken(f"the head of a part has more than {_HEADER_BYTES:,} bytes")
        return data[start:end]

    def _header_end(self) -> None:
        if self._name.strip().lower() == b"content-disposition":
            options = self._options(bytes(self._value))[1]
            if options.get(b"name") == FIELD.encode():
                if self._file is not None:
                    raise _broken(f"the form has two parts named {FIELD!r}: send one image a request")
                self._keeps, self._file = True, bytearray()
        self._name.clear()
        self._value.clear()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._keeps and self._file is not None:
            self._file += data[start:end]

    def _end(self) -> None:
        self._ended = True


@contextmanager
def picture_of(data: bytes, limits: Limits) -> Iterator[tuple[Any, str]]:
    """The opened Pillow image and the name of its format; its header is checked, its pixels are not read yet.

    The format (JPEG, PNG or WebP) is read from the bytes, whatever the upload is called. Bytes after the end
    of the picture are ignored.

    Raises:
        RefusalError: the bytes are no such picture, or it exceeds a limit.
    """
    from PIL import Image

    if not data:
        raise RefusalError(400, "empty", "there is no image in the body")
    if not (data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or _is_webp(data)):
        raise unsupported("not a JPEG, PNG or WebP image")
    if data[:2] == b"\xff\xd8" and not _few_scans(data, limits.jpeg_scans):
        raise unreadable("scans", f"a JPEG of more than {limits.jpeg_scans} scans or {_SEGMENTS:,} segments")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about large images and odd metadata
        with _pillow_errors(), Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as picture:
            _check_head(picture, limits)
            yield picture, _FORMATS[picture.format or ""]


def _few_scans(data: bytes, limit: int) -> bool:
    """Whether a JPEG has at most `limit` scans; a scan of a few bytes costs a pass over all coefficients.

    Follows the markers as in ITU T.81, B.1.1: segments by their length, coded data up to the next marker that
    is neither stuffing nor a restart. Bytes after the end of the image are not counted.
    """
    at, scans = 2, 0
    for _ in range(_SEGMENTS):
        marker = _MARKER.search(data, at)
        if marker is None or marker[0] == b"\xff\xd9":
            return True
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        scans += marker[0] == b"\xff\xda"
        if scans > limit:
            return False
    return False


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Replaces the errors of the decoder, which can be of any type and may quote the upload."""
    from PIL import Image

    try:
        yield
    except RefusalError:
        raise
    except Image.DecompressionBombError:
        raise too_large("pixels", "the image has too many pixels") from None
    except Exception:
        raise unreadable("damaged", "the image is damaged or cut off") from None


def _check_head(picture: Any, limits: Limits) -> None:
    width, height = picture.size
    if max(width, height) > limits.side:
        raise too_large("side", f"an image may be at most {limits.side:,} pixels wide or high")
    # Scaling 16 bits to 8 takes several times the memory of other images.
    pixels = limits.pixels // 4 if picture.mode.startswith("I") else limits.pixels
    if width * height > pixels:
        raise too_large("pixels", f"such an image may have at most {pixels:,} pixels")
    # In an MPO, which phones write, the first picture is the photograph.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise unreadable("animated", "the image is animated: send one picture")
