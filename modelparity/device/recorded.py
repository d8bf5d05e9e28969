"""Reads the outputs of a device, and gives them to a judge as if the file ran here."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.child import Reply
from modelparity.converters.engine.workbench import digest_of_arrays
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.device.manifest import MANIFEST, TABLE, Data, table_of
from modelparity.device.runs import Asked
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.arrays import Array, Feeds, Outputs
from modelparity.reports.words import one_line, trim

DEVICE = "device.json"
_ERROR_CHARS = 300


def expect_inputs(folder: Path, data: Data) -> None:
    """Raises `BadInputError` unless the inputs and the table in a folder are those of its manifest."""
    table = table_of(data).encode()
    if _read(folder / TABLE, len(table)) != table:
        raise BadInputError(f"{folder / TABLE}: was edited: its runs are not those of the manifest")
    for entry in (entry for run in data["runs"] for entry in run["inputs"]):
        path = folder / entry["file"]
        content = _read(path, entry["bytes"])
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise BadInputError(f"{path}: damaged: its bytes are not those of the manifest")


def expect_outputs(folder: Path, data: Data, feeds: Path) -> None:
    """Raises `BadInputError` unless a device ran these very feeds, and wrote every output whole."""
    path, theirs = folder / MANIFEST, feeds / MANIFEST
    try:
        if path.read_bytes() != theirs.read_bytes():
            raise BadInputError(f"{path}: the outputs are of other feeds than those of {theirs}")
    except OSError as error:
        words = f"{os_words(error, path)}; a runner copies the manifest that it read beside its outputs"
        raise BadInputError(words) from error
    for run in data["runs"]:
        if not (folder / run["error"]).is_file():
            for entry in run["outputs"]:
                _read(folder / entry["file"], entry["bytes"])


def device_in(folder: Path) -> dict[str, str]:
    """What a runner says of itself beside its outputs, such as device, runtime and delegate; {} if nothing.

    Raises:
        BadInputError: the file is no JSON object of texts and numbers.
    """
    path = folder / DEVICE
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        plain = all(isinstance(value, str | int | float) for value in data.values())
    except (ValueError, AttributeError) as error:
        raise BadInputError(f"{path}: not a JSON object: {error}") from error
    if not plain:
        raise BadInputError(f"{path}: should be an object of texts and numbers")
    return {str(name): str(value) for name, value in data.items()}


def _read(path: Path, size: int) -> bytes:
    """The content of a file of so many bytes."""
    try:
        found = path.stat().st_size
        if found != size:
            what = "truncated" if found < size else "oversized"
            raise BadInputError(f"{path}: {what}: {found:,} bytes, but should be {size:,}")
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error


class RecordedRuns:
    """Runs nothing: looks up what a device gave for a feed.

    A judge asks for the first image again to see whether it gives the same bytes; the n-th time that it asks
    for a feed it gets the n-th run of that feed.
    """

    def __init__(self, folder: Path, data: Data, runs: Sequence[Asked]) -> None:
        self._folder = folder
        self._entries: dict[tuple[str, int], list[Data]] = {}
        for entry, run in zip(data["runs"], runs, strict=True):
            self._entries.setdefault(run.key, []).append(entry)
        self.times: Counter[tuple[str, int]] = Counter()

    def __call__(self, feeds: Sequence[Feeds], fresh: bool = False, threads: int = 1) -> list[Outputs]:
        """Outputs by name, one dictionary a feed.

        Raises:
            WorkerFailedError: the device wrote an error instead of outputs.
            LookupError: the feed is none that a device was asked for, a fault of modelparity.
        """
        del fresh  # the runs of a feed are in the order in which a judge asks
        return [self._one(feed, threads) for feed in feeds]

    def _one(self, feed: Feeds, threads: int) -> Outputs:
        key = digest_of_arrays([feed]), threads
        if key not in self._entries:
            raise LookupError("a judge asks for a feed that no device was asked for")
        entries = self._entries[key]
        entry = entries[min(self.times[key], len(entries) - 1)]
        self.times[key] += 1
        error = self._folder / entry["error"]
        if error.is_file():
            words = trim(one_line(error.read_text(encoding="utf-8", errors="replace")), _ERROR_CHARS)
            raise WorkerFailedError("device:run", Reply(None, 0.0, 0, f"on the device: {words or 'failed'}"))
        return {output["name"]: self._array(output) for output in entry["outputs"]}

    def _array(self, output: dict[str, Any]) -> Array:
        dtype = np.dtype(output["dtype"])
        content = _read(self._folder / output["file"], output["bytes"])
        values = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)
        return np.asarray(values.reshape(output["shape"]))
