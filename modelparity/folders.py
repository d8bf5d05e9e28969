"""Writes folders whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.whole_files import partial_of, sync


@contextmanager
def folder_written(target: Path, replaces: Callable[[str], bool]) -> Iterator[Path]:
    """Yields an empty folder, which takes `target`'s place at the end; if the body raises, nothing changes.

    `replaces` says whether a file of the old folder, given by its path within the folder, is dropped. Other
    files of the old folder are copied to the new one unless it has a file of that name.
    """
    _recovered(target)
    partial = partial_of(target)
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            _carried(target, partial, replaces)
        for path in [*partial.rglob("*"), partial]:
            if not path.is_symlink():
                sync(path)
        _swapped(partial, target)
    except OSError as error:
        raise BadInputError(os_words(error, target)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _carried(old: Path, new: Path, replaces: Callable[[str], bool]) -> None:
    for path in old.rglob("*"):
        name = path.relative_to(old)
        if path.is_dir() and not path.is_symlink():
            continue
        if replaces(name.as_posix()) or os.path.lexists(new / name):
            continue
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, new / name, follow_symlinks=False)


def _swapped(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _recovered(target: Path) -> None:
    """Removes what a killed run left beside `target`; an old folder without a successor is put back."""
    if not target.parent.is_dir():
        return
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.(partial|old)")
    for path in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or psutil.pid_exists(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            with suppress(OSError):
                path.rename(target)
        shutil.rmtree(path, ignore_errors=True)
