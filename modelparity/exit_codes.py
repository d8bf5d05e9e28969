"""Turns exceptions into one line and an exit code.

Exit codes: 0 pass; 1 the gate, the judged file or a toolchain failed; 2 bad input; 70 a fault of modelparity;
130 stopped by the user.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.formats import CONVERTERS
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.reports.words import one_line, trim

FAILED = 1
BAD_INPUT = 2
INTERNAL = 70
STOPPED = 130
DEBUG = "MODELPARITY_DEBUG"

# Exceptions about the user's input, here or in a worker. By name, because importing them would import torch.
_USERS = (
    "CheckpointError",
    "ImageError",
    "NotAModelError",
    "BrokenModelError",
    "BadInputError",
    "OpsetError",
    "RunDirectoryError",
    "DatasetError",
    "ModelFileError",
    "TargetError",
    "CaptureError",
)


def _module(distribution: str) -> str:
    """The module that a toolchain's distribution installs."""
    return distribution.replace("-", "_")


# Modules by the extra that installs them. Another module that is missing is a fault of modelparity.
_RUNTIMES = tuple(_module(format.runtime) for format in FILE_FORMATS.values())
_TOOLCHAINS = {_module(name): None for converter in CONVERTERS.values() for name in converter.toolchain}
SERVE = (
    *_RUNTIMES,
    "fastapi",
    "starlette",
    "pydantic",
    "uvicorn",
    "python_multipart",
    "prometheus_client",
)
PICTURES = ("matplotlib", "sklearn")
HARNESS = (
    *(name for name in _TOOLCHAINS if name not in _RUNTIMES),
    "torchvision",
    "scipy",
    "safetensors",
    "skimage",
    "hypothesis",
    "pytest",
    "pytest_benchmark",
    "filelock",
    "psutil",
    "yaml",
    "faster_coco_eval",
)
_ERRNO = re.compile(r"\[Errno (\d+)\] ([^:]*)(?:: '([^']*)')?")


class StoppedError(Exception):
    """The user ended the command; the message says what is kept."""


def explained(error: BaseException) -> tuple[str, int]:
    """The line to print for an exception, and the exit code."""
    if type(error).__name__ in _USERS:
        return str(error), BAD_INPUT
    match error:
        case WorkerFailedError():
            return _in_worker(error)
        case WorkerCrashedError():
            return f"{error.function.partition(':')[2]} failed: {error}{_last_words(error.log_tail)}", FAILED
        case ModuleNotFoundError() if extra := _extra_of(error):
            package = (error.name or "").partition(".")[0]
            words = f"{package} is not installed; this needs the {extra} extra: "
            return f"{words}pip install 'modelparity[{extra}]'", BAD_INPUT
        case OSError():
            return os_words(error), BAD_INPUT
        case StoppedError():
            return str(error), STOPPED
    words = (
        f"internal error: {type(error).__name__}: {error}; please report it ({DEBUG}=1 shows the traceback)"
    )
    return words, INTERNAL


def _extra_of(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    extras = {"serve": SERVE, "pictures": PICTURES, "harness": HARNESS}
    return next((extra for extra, packages in extras.items() if package in packages), "")


def _last_words(log: str) -> str:
    """The end of a log, without the list of extension modules that faulthandler adds."""
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith("Extension modules")]
    return f"; its last words: {trim(one_line(lines[-1]), 200)}" if lines else ""


def os_words(error: OSError, path: Path | None = None) -> str:
    """A system error as `place: what is wrong`."""
    place = str(path or error.filename2 or error.filename or "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on {_volume(place) if place else 'the disk'}; nothing was written"
    words = {
        errno.ENOENT: "no such file",
        errno.EACCES: "no permission",
        errno.EISDIR: "a directory, not a file",
    }
    what = words.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return f"{place}: {what}" if place else what


def _volume(place: str) -> str:
    """The nearest folder that exists, whose disk is full."""
    folder = Path(place).absolute()
    while not folder.is_dir():
        folder = folder.parent
    return str(folder)


def _in_worker(error: WorkerFailedError) -> tuple[str, int]:
    text = str(error)
    if error.kind in _USERS:
        return text.removeprefix(f"{error.kind}: "), BAD_INPUT
    if match := _ERRNO.search(text):
        rebuilt = OSError(int(match[1]), os.strerror(int(match[1])), match[3])
        return os_words(rebuilt), BAD_INPUT
    return f"{error.function.partition(':')[2]} failed: {text}", FAILED


def worker_traceback(error: BaseException) -> str:
    """The traceback of the worker process, if the error was raised in one."""
    return error.traceback if isinstance(error, WorkerFailedError) else ""
