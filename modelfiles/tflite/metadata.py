"""A text in a TFLite file: a `metadata` entry of ours, and the buffer that it names.

In a flatbuffer offsets point forward only, so a new root with its new tables goes in front, and the old
file follows unchanged but for the places that count from the file's start. So a file of 3 GB, whose
weights lie behind its tables, is copied once and never held in memory.

Format: https://flatbuffers.dev/internals/ and TensorFlow Lite's schema.fbs.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from modelparity.modelfiles.description import BrokenModelError
from modelparity.modelfiles.kinds import broken
from modelparity.modelfiles.tflite.reader import DAMAGE, TfliteFile

KEY = "modelparity"
_ALIGNMENT = 64  # more than any buffer asks for: what was aligned stays so
_SLOTS = 10  # fields of Model; all but the first, a number, are offsets
_BUFFERS, _METADATA = 4, 6


def read(path: Path) -> str | None:
    """The text, None if there is none. Raises BrokenModelError for a damaged file."""
    try:
        data = TfliteFile(path).metadata(KEY)
        return None if data is None else data.decode()
    except DAMAGE as error:
        raise broken(path, str(error)) from error


def write(path: Path, text: str) -> None:
    """Writes the entry, in place of one of that name. The file is replaced whole or not at all."""
    try:
        file = TfliteFile(path)
        front, patches = _front(file, text.encode())
    except DAMAGE as error:
        raise broken(path, str(error)) from error
    if len(front) + path.stat().st_size >= 1 << 31 and not patches:
        raise BrokenModelError(f"{path}: 2 GiB with weights among its tables: no room for a card")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with path.open("rb") as source, partial.open("wb") as target:
            target.write(front)
            shutil.copyfileobj(source, target, 1 << 24)
            for at, data in patches:
                target.seek(len(front) + at)
                target.write(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _front(file: TfliteFile, text: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """What goes in front, its length a multiple of the alignment, and what changes in the old file."""
    old = _Old(file.data)
    root = old.table(old.offset(0))
    if len(root) > _SLOTS:
        raise ValueError(f"its root has {len(root)} fields, but {_SLOTS} are known")
    root += [0] * (_METADATA + 1 - len(root))
    buffers: list[_Block | int] = list(old.vector(root[_BUFFERS]))
    metadata = old.vector(root[_METADATA]) if root[_METADATA] else []
    place, kept, zeroed = len(buffers), list[_Block | int](), []
    for entry in metadata:
        name, buffer = [*old.table(entry), 0, 0][:2]
        if name and buffer and old.text(name) == KEY.encode():
            place = old.number(buffer)
            zeroed.append(old.blank(int(buffers[place])))  # type: ignore[arg-type]
        else:
            kept.append(entry)
    placed = [field for at in old.vector(root[_BUFFERS]) if (field := [*old.table(at), 0, 0][1])]

    data, name_block = _string(text, 16), _string(KEY.encode(), 4)
    entry_block, buffer_block = _table([name_block, _Number(place)]), _table([data])
    buffers[place : place + 1] = [buffer_block]
    buffers_block, metadata_block = _vector(buffers), _vector([*kept, entry_block])
    fields: list[_Cell | None] = [old.offset(at) if at else None for at in root]
    fields[0] = _Number(old.number(root[0]) if root[0] else 0)
    fields[_BUFFERS], fields[_METADATA] = buffers_block, metadata_block
    order = [_table(fields), buffers_block, metadata_block, entry_block, name_block, buffer_block, data]
    front = _assembled(order)
    # Weights behind the tables are found by their distance from the file's start; 1 is a place holder.
    moved = [(at, struct.pack("<Q", start + len(front))) for at in placed if (start := old.wide(at)) > 1]
    return front, [*zeroed, *moved]


class _Number(int):
    """A cell that holds a number; a plain int is a place in the old file that the cell leads to."""


class _Block:
    """Cells of 4 bytes, or bytes, behind a vtable if there is one. `at` is where the cells begin."""

    def __init__(
        self, cells: Sequence[_Cell], data: bytes = b"", vtable: bytes = b"", align: int = 4
    ) -> None:
        self.cells = cells
        self.data = data
        self.vtable = vtable
        self.align = align  # of what follows the first cell
        self.at = 0


_Cell: TypeAlias = "int | _Number | _Block"


def _string(data: bytes, align: int) -> _Block:
    return _Block([_Number(len(data))], data + b"\0", align=align)


def _vector(places: Sequence[_Cell]) -> _Block:
    return _Block([_Number(len(places)), *places])


def _table(fields: Sequence[_Cell | None]) -> _Block:
    """A table of numbers and offsets."""
    slots, size = [], 4
    for value in fields:
        slots.append(0 if value is None else size)
        size += 0 if value is None else 4
    vtable = struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), size, *slots)
    back = _Number(len(vtable))  # from the table to its vtable
    return _Block([back, *(value for value in fields if value is not None)], vtable=vtable)


def _assembled(blocks: Sequence[_Block]) -> bytes:
    """The blocks one after another, the first one the root; each leads only to what follows it."""
    size = 8
    for block in blocks:
        start = size + len(block.vtable)
        block.at = start + -(start + (4 if block.align > 4 else 0)) % block.align
        size = block.at + 4 * len(block.cells) + len(block.data)
    size += -size % _ALIGNMENT
    front = bytearray(size)
    struct.pack_into("<I4s", front, 0, blocks[0].at, b"TFL3")
    for block in blocks:
        front[block.at - len(block.vtable) : block.at] = block.vtable
        for number, cell in enumerate(block.cells):
            at = block.at + 4 * number
            value = cell if isinstance(cell, _Number) else _target(cell, size) - at
            struct.pack_into("<I", front, at, value)
        after = block.at + 4 * len(block.cells)
        front[after : after + len(block.data)] = block.data
    return bytes(front)


def _target(cell: int | _Block, size: int) -> int:
    return cell.at if isinstance(cell, _Block) else cell + size


class _Old:
    """The old file's bytes, read as tables."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def _unpack(self, format: str, at: int) -> int:
        value: int = struct.unpack_from(format, self._data[at : at + struct.calcsize(format)])[0]
        return value

    def number(self, at: int) -> int:
        return self._unpack("<I", at)

    def wide(self, at: int) -> int:
        return self._unpack("<Q", at)

    def offset(self, at: int) -> int:
        """Where the offset that is stored at `at` leads."""
        return at + self.number(at)

    def table(self, at: int) -> list[int]:
        """Where each field is; 0 for one that is not there."""
        vtable = at - self._unpack("<i", at)
        size = self._unpack("<H", vtable)
        places = [self._unpack("<H", vtable + slot) for slot in range(4, size, 2)]
        return [at + place if place else 0 for place in places]

    def vector(self, field: int) -> list[int]:
        """Where the tables of a vector of offsets are."""
        at = self.offset(field)
        return [self.offset(at + 4 + 4 * i) for i in range(self.number(at))]

    def text(self, field: int) -> bytes:
        at = self.offset(field)
        return bytes(self._data[at + 4 : at + 4 + self.number(at)])

    def blank(self, buffer: int) -> tuple[int, bytes]:
        """Zeros over a buffer's data: a text that nothing leads to any more."""
        at = self.offset(self.table(buffer)[0])
        return at + 4, bytes(self.number(at))
