"""What a file seems to be, from its first bytes; the errors for files that cannot be read as a model.

A file's name decides nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from modelparity.modelfiles.description import BrokenModelError, NotAModelError

_HEAD = 4096  # bytes; a ModelProto names its producer well before that


# Leading bytes -> what such a file is. The first match speaks, so the longer mark stands first.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a RIFF file (WebP, WAV or AVI)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights?)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF model"),
    (b"\x7fELF", "an ELF executable"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for"),
)


# Names that an archive's first entries bear -> who wrote the archive.
_ZIPS: tuple[tuple[bytes, str], ...] = (
    (b"archive_format", "an exported PyTorch program (ZIP)"),
    (b"data.pkl", "a PyTorch checkpoint (ZIP)"),
    (b".npy", "a NumPy archive (ZIP)"),
)


def recipe(int8_operators: Mapping[str, int], weights: Mapping[str, int]) -> str:
    """The quantization that a file bears, for both formats.

    `int8_operators` counts the operators that multiply by int8 numbers by the recipe each one shows:
    int8_static, int8_dynamic or int8_weight_only. The commonest names the file, and static goes before
    dynamic where they are even. A file without such operators is named by what most of its weight
    elements are.
    """
    order = ("int8_static", "int8_dynamic", "int8_weight_only")
    if any(int8_operators.get(name) for name in order):
        return max(order, key=lambda name: int8_operators.get(name, 0))  # max keeps the first of equals
    half = sum(weights.values()) / 2
    if sum(n for dtype, n in weights.items() if dtype.endswith(("int8", "int4", "int2"))) > half:
        return "int8_weight_only"  # tables that are looked up, or operators whose kernels are not known here
    return "fp16" if weights.get("float16", 0) > half else "fp32"


def broken(path: Path, what: str) -> BrokenModelError:
    """The error for a damaged file, its cause cut to one line."""
    return BrokenModelError(f"{path} is damaged: {' '.join(what.split())[:300]}")


def head_of(path: Path) -> tuple[bytes, int]:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise NotAModelError(f"{path} is no model file: it is a directory")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise NotAModelError(f"{path} is no model file: it is no regular file")
    with path.open("rb") as file:
        return file.read(_HEAD), os.fstat(file.fileno()).st_size


def is_text(data: bytes, *, cut: bool) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if not cut or error.end < len(data) or len(data) - error.start > 3:
            return False
        text = data[: error.start].decode()  # the cut fell within a character
    return all(letter.isprintable() or letter in "\n\r\t\f" for letter in text)


def kind_of(head: bytes, size: int) -> str:
    """What a file is that is no model, in a few words."""
    if not head:
        return "empty"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"PK"):
        return next((kind for mark, kind in _ZIPS if mark in head), "a ZIP archive")
    if int.from_bytes(head[:8], "little") < size and head[8:9] == b"{":
        return "a safetensors checkpoint"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a pickle (a PyTorch checkpoint of the old kind?)"
    if head[4:8] == b"ORTM":
        return "a model in ONNX Runtime's own .ort format"
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return "another protobuf (TensorFlow SavedModel or Core ML?)"
    if is_text(head, cut=size > len(head)):
        markup = head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))
        return "an HTML page (a failed download?)" if markup else "text"
    return f"unknown bytes that begin {head[:8].hex(' ')}"
