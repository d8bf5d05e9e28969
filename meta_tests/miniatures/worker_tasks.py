"""What the tests of the workers have a child do."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time


def allocate(count):
    return len(bytearray(os.urandom(1)) * count)


def sleep(seconds):
    time.sleep(seconds)


def fail(message):
    raise ValueError(message)


def _last_words():
    print("last words", file=sys.stderr, flush=True)


def segfault():
    _last_words()
    ctypes.string_at(0)


def abort():
    _last_words()
    os.abort()


def killed():
    _last_words()
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    _last_words()
    os._exit(3)


def unsendable():
    return lambda: None


def loaded_modules() -> list[str]:
    """Names of everything that the child has imported."""
    return sorted(sys.modules)
