"""Registers the formats of model files, and tells which of them a file is of.

A format is two folders, `modelfiles/<format>/` and `converters/<format>/`, and its name in `NAMES`. No other
code names a format: code that needs a capability asks the format's value for it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from modelparity.fixtures.file_kinds import HEAD_BYTES, kind_of
from modelparity.fixtures.lookup import named
from modelparity.modelfiles.description import NotAModelError
from modelparity.modelfiles.file_format import FileFormat

NAMES = ("onnx", "tflite")

FILE_FORMATS: Mapping[str, FileFormat] = {
    name: named(f"modelparity.modelfiles.{name}.format:FORMAT") for name in NAMES
}


def sniff(path: Path) -> str:
    """The name of a file's format, from its first bytes.

    Raises:
        NotAModelError: the file is of no format known here.
        OSError: the file cannot be read.
    """
    head = _head(path)
    for format in FILE_FORMATS.values():
        if format.bears(head):
            return format.name
    titles = " nor ".join(format.title for format in FILE_FORMATS.values())
    raise NotAModelError(f"{path} is neither {titles}: it seems to be {kind_of(head)}")


def format_of(path: Path) -> FileFormat:
    """The format of a file; raises as `sniff` does."""
    return FILE_FORMATS[sniff(path)]


def expect(path: Path, wanted: str) -> None:
    """Raises `NotAModelError` unless the file is of the wanted format."""
    if (format := sniff(path)) != wanted:
        raise NotAModelError(f"{path} is no {wanted} file: its bytes are {format}")


def _head(path: Path) -> bytes:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise NotAModelError(f"{path} is no model file: it is a directory")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise NotAModelError(f"{path} is no model file: it is no regular file")
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
