"""Reads and writes a text in a TFLite file, as a member of a ZIP archive that follows the flatbuffer.

TFLite metadata packs a model's associated files in this way
(https://ai.google.dev/edge/litert/models/metadata), and `unzip` shows them. A flatbuffer is read from its
start and all its offsets stay valid, so runtimes do not see the archive, and a file of any size can have one.
Files of earlier releases hold the text in the flatbuffer itself, as an entry of Model's `metadata`.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from pathlib import Path

from modelparity.fixtures.whole_files import written
from modelparity.modelfiles.description import broken

KEY = "modelparity"
_MEMBER = f"{KEY}.json"
_HEADER = b"PK\x03\x04" + bytes([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0])  # of a member stored here: dated 1980
_TAIL_BYTES = 1 << 20  # the archive is at the file's end, and a card takes some kilobytes


def read(path: Path) -> str | None:
    """The text, or None if there is none.

    Raises:
        BrokenModelError: the file is cut or damaged.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return archive.read(_MEMBER).decode()
        except KeyError:
            pass  # an archive without our member
        except Exception as error:  # arbitrary bytes make a parser raise anything
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            if _HEADER in file.read():
                raise broken(path, f"its archive of metadata cannot be read: {error}") from error
    return _in_flatbuffer(path)


def write(path: Path, text: str) -> None:
    """Writes the text, in place of an earlier one. The file is replaced whole or not at all."""
    end, others = path.stat().st_size, []
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:  # if there is one
        members = archive.infolist()
        others = [(member, archive.read(member)) for member in members if member.filename != _MEMBER]
        end = min([member.header_offset for member in members], default=archive.start_dir)
    member = zipfile.ZipInfo(_MEMBER)  # dated 1980: the same text, the same bytes
    member.external_attr = 0o644 << 16
    with written(path) as file:
        with path.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 24)
        file.truncate(end)
        file.seek(end)
        with zipfile.ZipFile(file, "w") as archive:
            for other, data in others:
                archive.writestr(other, data)
            archive.writestr(member, text)


def _in_flatbuffer(path: Path) -> str | None:
    from modelparity.modelfiles.tflite.reader import DAMAGE, TfliteFile

    try:
        data = TfliteFile(path).metadata(KEY)
        return None if data is None else data.decode()
    except DAMAGE as error:
        raise broken(path, str(error)) from error
