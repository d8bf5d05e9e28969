"""A text in an ONNX file: an entry of ModelProto's `metadata_props`, where runtimes look for such.

The file is not parsed: protobuf reads messages set end to end as one, repeated fields joined, so an entry
is written by appending it. A file of any size costs the same, and weights beside it are not touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from modelparity.modelfiles.description import BrokenModelError

KEY = "modelparity"
_METADATA, _KEY, _VALUE = 14, 1, 2  # in ModelProto and StringStringEntryProto
_LARGEST = 1 << 24  # bytes of an entry that may be ours


class _Field(NamedTuple):
    """`start` and `end` of what it holds; `begin` is where its tag is."""

    number: int
    begin: int
    start: int
    end: int


def write(path: Path, text: str) -> None:
    """Appends the entry, and drops one of that key. The file must be this process's own, not yet in use."""
    entry = _tagged(_KEY, KEY.encode()) + _tagged(_VALUE, text.encode())
    with path.open("r+b") as file:
        fields = list(_fields(file, path))
        old = [field for field in fields if _text(file, field) is not None]
        size = os.fstat(file.fileno()).st_size
        if old:  # what follows moves up; entries stand near the end, behind the graph
            place = old[0].begin
            gone = {field.begin for field in old}
            behind = [field for field in fields if field.begin > place and field.begin not in gone]
            for field in behind:
                file.seek(field.begin)
                data = file.read(field.end - field.begin)
                file.seek(place)
                file.write(data)
                place += len(data)
            size = place
            file.truncate(size)
        file.seek(size)
        file.write(_tagged(_METADATA, entry))


def read(path: Path) -> str | None:
    """The text, None if there is none. Raises BrokenModelError for a file that ends too early."""
    with path.open("rb") as file:
        found = [text for field in _fields(file, path) if (text := _text(file, field)) is not None]
    return found[-1] if found else None


def _text(file: IO[bytes], field: _Field) -> str | None:
    """The value of an entry of our key; None for anything else."""
    if field.number != _METADATA or field.end - field.start > _LARGEST:
        return None
    file.seek(field.start)
    data, at, texts = file.read(field.end - field.start), 0, {}
    try:
        while at < len(data):
            tag, at = _number(data, at)
            length, at = _number(data, at)
            texts[tag >> 3] = data[at : at + length].decode()
            at += length
    except (IndexError, UnicodeDecodeError):
        return None
    return texts.get(_VALUE, "") if texts.get(_KEY) == KEY else None


def _fields(file: IO[bytes], path: Path) -> Iterator[_Field]:
    """The model's own fields (protobuf's encoding: a tag, number << 3 | wire type, and what it holds)."""
    size, at = os.fstat(file.fileno()).st_size, 0
    while at < size:
        file.seek(at)
        head, begin = file.read(20), at
        try:
            tag, step = _number(head, 0)
            wire = tag & 7
            if wire == 2:
                length, step = _number(head, step)
            elif wire == 0:
                length = _number(head, step)[1] - step
            else:
                length = {1: 8, 5: 4}[wire]
        except (IndexError, KeyError):
            raise BrokenModelError(f"{path} is damaged: no field at byte {begin}") from None
        at = begin + step + length
        if at > size:
            raise BrokenModelError(f"{path} is damaged: a field ends at byte {at} of {size}")
        yield _Field(tag >> 3, begin, begin + step, at)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends. Raises IndexError where it does not."""
    value = 0
    for step in range(10):
        byte = data[at + step]
        value |= (byte & 0x7F) << 7 * step
        if byte < 0x80:
            return value, at + step + 1
    raise IndexError


def _tagged(number: int, content: bytes) -> bytes:
    length, encoded = len(content), bytearray([number << 3 | 2])
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length]) + content
