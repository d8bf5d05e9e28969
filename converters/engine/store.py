"""Keeps artifacts by the hash of all that they depend on: what was made once is never made again.

An entry is a folder named by the hash of its key's parts. It is filled under a temporary name,
synced and renamed, so that a kill at any moment leaves either the whole entry or none; a file
lock a key keeps parallel workers from making the same thing twice.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from modelparity.fixtures.whole_files import sync

ENTRY = "entry.json"
_FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Key:
    """`label` says what is stored, `parts` everything that it depends on, by name."""

    label: str
    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        text = json.dumps([self.label, sorted(self.parts.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """`files` maps a file's name to its sha256 and size; `meta` is what its maker measured."""

    folder: Path
    key: str
    files: Mapping[str, tuple[str, int]]
    meta: Mapping[str, Any]

    def path(self, name: str) -> Path:
        return self.folder / name


class Store:
    """Entries under one root folder. `on_miss(label, reason)` hears why something is made anew."""

    def __init__(self, root: Path, on_miss: Callable[[str, str], None] | None = None) -> None:
        self.root = root
        self._on_miss = on_miss or (lambda _label, _reason: None)
        self._checked: dict[str, Entry] = {}
        for name in ("entries", "locks", "partial"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self._sweep()

    def find(self, key: Key) -> Entry | None:
        """The entry, its files checked once against their recorded sha256; None if absent or damaged."""
        if key.digest in self._checked:
            return self._checked[key.digest]
        folder = self.root / "entries" / key.digest
        try:
            data = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return None
        files = {name: (str(sha), int(size)) for name, (sha, size) in data["files"].items()}
        for name, (sha, size) in files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size or sha256_of(path) != sha:
                return None
        self._checked[key.digest] = Entry(folder, key.digest, files, data["meta"])
        return self._checked[key.digest]

    def get(self, key: Key, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """The entry for `key`; if there is none, `make(folder)` fills one and returns its `meta`.

        What `make` raises passes through, and leaves nothing behind.
        """
        if (entry := self.find(key)) is not None:
            return entry
        with FileLock(self.root / "locks" / f"{key.digest}.lock"):
            if (entry := self.find(key)) is not None:
                return entry
            self._on_miss(key.label, self._reason(key))
            partial = self.root / "partial" / key.digest
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                meta = make(partial)
                self._seal(partial, key, meta)
            except BaseException as error:
                # Toolchains abort, or say anything, when a write fails: the disk is asked instead.
                full = shutil.disk_usage(self.root).free < _FULL_BYTES
                shutil.rmtree(partial, ignore_errors=True)
                if full and isinstance(error, Exception):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root)) from error
                raise
        entry = self.find(key)
        if entry is None:
            raise OSError(f"the store at {self.root} did not keep what was written to it")
        return entry

    def _seal(self, partial: Path, key: Key, meta: Mapping[str, Any]) -> None:
        names = sorted(path.name for path in partial.iterdir())
        files = {name: (sha256_of(partial / name), (partial / name).stat().st_size) for name in names}
        data = {"label": key.label, "parts": dict(key.parts), "files": files, "meta": dict(meta)}
        (partial / ENTRY).write_text(json.dumps(data, indent=1, sort_keys=True), encoding="utf-8")
        for path in [*(partial / name for name in names), partial / ENTRY, partial]:
            sync(path)
        folder = self.root / "entries" / key.digest
        shutil.rmtree(folder, ignore_errors=True)  # only a damaged entry can be in the way
        partial.rename(folder)
        sync(folder.parent)

    def _reason(self, key: Key) -> str:
        """Which part of the key differs from the newest entry of the same label."""
        newest: tuple[float, Mapping[str, str]] | None = None
        for path in (self.root / "entries").glob(f"*/{ENTRY}"):
            with contextlib.suppress(OSError, json.JSONDecodeError):
                data = json.loads(path.read_text(encoding="utf-8"))
                if data["label"] == key.label and (newest is None or path.stat().st_mtime > newest[0]):
                    newest = (path.stat().st_mtime, data["parts"])
        if newest is None:
            return "nothing stored yet"
        old = newest[1]
        changed = [name for name in sorted({*old, *key.parts}) if old.get(name) != key.parts.get(name)]
        return f"changed: {', '.join(changed)}" if changed else "the stored files were damaged"

    def _sweep(self) -> None:
        """Removes what killed processes left half-made: their locks are free."""
        for partial in (self.root / "partial").iterdir():
            with (
                contextlib.suppress(Timeout),
                FileLock(self.root / "locks" / f"{partial.name}.lock", timeout=0),
            ):
                shutil.rmtree(partial, ignore_errors=True)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_of_files(paths: list[Path]) -> str:
    """One hash over the names and contents of source files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
