"""Reads named arrays from `.npz`, checks them against declared inputs, and writes them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures import whole_files
from modelparity.fixtures.file_kinds import HEAD_BYTES, is_zip, kind_of

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Wanted:
    """A declared input. A text in `shape` is a free axis; `sizes` are those that an axis "N" may have."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    sizes: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """Such as `[batch, 3, N, N] with N one of 224, 288`."""
        among = f" with N one of {', '.join(map(str, self.sizes))}" if "N" in self.shape else ""
        return f"[{', '.join(map(str, self.shape))}]{among}"

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits; a free axis takes anything but 0."""
        if len(shape) != len(self.shape) or 0 in shape:
            return False
        side = {got for got, axis in zip(shape, self.shape, strict=True) if axis == "N"}
        fixed = all(isinstance(axis, str) or got == axis for got, axis in zip(shape, self.shape, strict=True))
        return fixed and (not side or (len(side) == 1 and side <= set(self.sizes)))


def read_arrays(path: Path) -> Arrays:
    """Every array of an `.npz`, by name. Raises `BadInputError`, with the reason, if it cannot be read."""
    try:
        if path.is_dir():
            raise BadInputError(f"{path}: a directory, not an .npz file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error
    kind = kind_of(head)
    if kind == "a NumPy array":
        raise BadInputError(f"{path}: one array without a name; save it by name: np.savez(path, image=array)")
    if not is_zip(head):
        raise BadInputError(f"{path}: not an .npz file, it seems to be {kind}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # arbitrary bytes make a parser raise anything
        objects = "Object arrays" in str(error)
        what = "holds Python objects, which are not loaded" if objects else f"damaged: {error}"
        raise BadInputError(f"{path}: {what}") from error
    if strange := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise BadInputError(f"{path}: not an .npz file, a zip archive of other things, first {strange[0]!r}")
    return arrays


def check_arrays(arrays: Mapping[str, np.ndarray[Any, Any]], wanted: Sequence[Wanted], path: Path) -> None:
    """Raises `BadInputError` unless names, dtypes and shapes are as wanted: nothing is cast or renamed."""
    names = [port.name for port in wanted]
    if sorted(arrays) != sorted(names):
        held = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in arrays.items())
        raise BadInputError(f"{path}: should hold {', '.join(names)}, but holds {held or 'nothing'}")
    for port in wanted:
        array = arrays[port.name]
        if array.dtype != np.dtype(port.dtype):
            raise BadInputError(
                f"{path}: {port.name} is {array.dtype}, but should be {port.dtype}: "
                f"preprocess it, then {port.name}.astype(np.{port.dtype})"
            )
        if not port.takes(array.shape):
            raise BadInputError(
                f"{path}: {port.name} has shape {list(array.shape)}, but should be {port.words}"
            )


def not_finite(arrays: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    """A phrase for each array that holds a NaN or an infinity."""
    phrases = []
    for name, array in arrays.items():
        if array.dtype.kind == "f" and (bad := int((~np.isfinite(array)).sum())):
            phrases.append(f"{name} holds {bad:,} of {array.size:,} values that are not finite")
    return phrases


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes an `.npz`: the same bytes for the same arrays, under any names (`np.savez` refuses "file")."""
    with written(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, always
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Yields a file that takes its name only once it is whole and on the disk; missing folders are made."""
    try:
        with whole_files.written(path) as file:
            yield file
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error
