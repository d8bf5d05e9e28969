"""The formats that model files come in, and which of them a file is of.

A format is two folders, `modelfiles/<format>/` and `converters/<format>/`, and its name in `NAMES`. Outside of
these nothing names a format: who needs a capability asks the format's value for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelparity.fixtures.lookup import named
from modelparity.modelfiles.description import NotAModelError
from modelparity.modelfiles.file_format import FileFormat
from modelparity.modelfiles.kinds import head_of, kind_of

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
    head, size = head_of(path)
    for format in FILE_FORMATS.values():
        if format.bears(head):
            return format.name
    titles = " nor ".join(format.title for format in FILE_FORMATS.values())
    raise NotAModelError(f"{path} is neither {titles}: it seems to be {kind_of(head, size)}")


def format_of(path: Path) -> FileFormat:
    """The format of a file; raises as `sniff` does."""
    return FILE_FORMATS[sniff(path)]


def expect(path: Path, wanted: str) -> None:
    """Raises `NotAModelError` unless the file is of the wanted format."""
    if (found := sniff(path)) != wanted:
        raise NotAModelError(f"{path} is no {wanted} file: its bytes are {found}")
