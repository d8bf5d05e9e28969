"""Runs a worker's child process: answers calls until its parent goes away.

Started as `python -m modelparity.converters.engine.child FD`. A call names a function "module:name"; the
reply carries its value or its error, the seconds it took and the peak resident memory meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """`error` is "Type: message" of what the function raised, or "" if it returned.

    `cpu_seconds` are those of all its threads, which say more than `seconds` on a busy machine.
    """

    value: Any
    seconds: float
    peak_bytes: int
    error: str = ""
    error_type: str = ""
    traceback: str = ""
    cpu_seconds: float = 0.0


def reset_peak() -> None:
    """Forgets the process's peak resident memory, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Peak resident memory of this process since `reset_peak` (since its start, where that can't be)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def answer(call: Call) -> Reply:
    reset_peak()
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        module, _, name = call.function.partition(":")
        value = getattr(importlib.import_module(module), name)(*call.args, **call.kwargs)
    except Exception as error:
        seconds = time.perf_counter() - start
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        kind = type(error).__name__
        text = f"{kind}: {first}" if first else kind
        return Reply(None, seconds, peak_bytes(), text, kind, traceback.format_exc())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return Reply(value, seconds, peak_bytes(), cpu_seconds=cpu)


def _die_with_parent() -> None:
    # A toolchain deep in native code would outlive a killed parent by minutes otherwise.
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


def main() -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            call = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        connection.send(answer(call))


if __name__ == "__main__":
    # Under its importable name, so that what it sends unpickles in the parent.
    importlib.import_module("modelparity.converters.engine.child").main()
