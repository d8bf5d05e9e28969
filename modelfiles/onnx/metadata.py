"""Reads and writes a text in an ONNX file, as an entry of ModelProto's `metadata_props`.

Runtimes show such entries (onnxruntime: `get_modelmeta().custom_metadata_map`). protobuf merges messages that
follow one another, so a ModelProto with the entry alone is appended and the rest is copied as it is. Reading
needs no `onnx` package.
"""

from __future__ import annotations

from pathlib import Path

from modelparity.fixtures.whole_files import written
from modelparity.modelfiles.description import broken
from modelparity.modelfiles.onnx.protobuf import Data, Field, fields, mapped

KEY = "modelparity"
_METADATA, _KEY, _VALUE = 14, 1, 2  # in ModelProto and StringStringEntryProto


def read(path: Path) -> str | None:
    """The text, or None if there is none.

    Raises:
        BrokenModelError: the file is cut or damaged.
    """
    try:
        data = mapped(path)
        texts = [text for field in fields(data) if (text := _text(data, field)) is not None]
    except ValueError as error:
        raise broken(path, str(error)) from error
    return texts[-1] if texts else None


def write(path: Path, text: str) -> None:
    """Writes the text, in place of an earlier one. The file is replaced whole or not at all.

    Raises:
        BrokenModelError: the file is cut or damaged.
    """
    from onnx import ModelProto, StringStringEntryProto

    entry = ModelProto(metadata_props=[StringStringEntryProto(key=KEY, value=text)])
    try:
        data = mapped(path)
        others = [field for field in fields(data) if _text(data, field) is None]
    except ValueError as error:
        raise broken(path, str(error)) from error
    with written(path) as file:
        for field in others:
            file.write(data[field.begin : field.end])
        file.write(entry.SerializeToString())


def _text(data: Data, field: Field) -> str | None:
    """The value of an entry of our key; None for any other field."""
    if field.number != _METADATA:
        return None
    entry = {part.number: data[part.start : part.end] for part in fields(data, field.start, field.end)}
    return bytes(entry.get(_VALUE, b"")).decode() if entry.get(_KEY) == KEY.encode() else None
