"""Finds the fields of a protobuf message without parsing what they hold.

A model of 1.6 GB is one message, and the `serve` extra has no `onnx` package to parse one with. Encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

Data: TypeAlias = "bytes | memoryview"

VARINT, LENGTH_DELIMITED = 0, 2  # wire types
_FIXED_BYTES = {1: 8, 5: 4}
_TAG_BYTES, _VARINT_BYTES = 5, 10  # at most


class Field(NamedTuple):
    """Its tag is at `begin`, its content from `start` to `end`."""

    number: int
    wire_type: int
    begin: int
    start: int
    end: int


class _CutError(ValueError):
    """The data end within a number."""


def mapped(path: Path) -> memoryview:
    """The bytes of a file, memory-mapped. Raises ValueError for an empty file."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def fields(data: Data, start: int = 0, end: int | None = None, *, cut: bool = False) -> Iterator[Field]:
    """The fields of the message from `start` to `end`, by default all of `data`.

    With `cut` the data may end within a field: one whose content is cut comes last, with the `end` that it
    should have.

    Raises:
        ValueError: the bytes are no message.
    """
    end = len(data) if end is None else end
    while start < end:
        begin = start
        try:
            tag, start = _varint(data, start, end, _TAG_BYTES)
            wire_type = tag & 7
            if wire_type == LENGTH_DELIMITED:
                length, start = _varint(data, start, end)
            elif wire_type == VARINT:
                length = _varint(data, start, end)[1] - start
            elif wire_type in _FIXED_BYTES:
                length = _FIXED_BYTES[wire_type]
            else:
                raise ValueError(f"wire type {wire_type} at byte {begin}")
        except _CutError:
            if cut:
                return
            raise
        if start + length > end and not cut:
            raise ValueError(f"a field ends at byte {start + length} of {end}")
        yield Field(tag >> 3, wire_type, begin, start, start + length)
        start += length


def _varint(data: Data, start: int, end: int, longest: int = _VARINT_BYTES) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = 0
    for place, byte in enumerate(data[start : min(start + longest, end)]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, start + place + 1
    if start + longest > end:
        raise _CutError(f"the number at byte {start} does not end")
    raise ValueError(f"the number at byte {start} is too long")
