"""Runs toolchains in child processes that stay warm, one a toolchain: a crash of one is a result.

A worker starts its child at the first call and keeps it, imports and all, for the next. A child
that dies or does not answer in time is reported as `WorkerCrashedError` and replaced at the next call.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from modelparity.converters.engine.child import Call, Reply

CONVERT_TIMEOUT_S = 900.0
RUN_TIMEOUT_S = 120.0
_LOG_TAIL_BYTES = 2000


class WorkerCrashedError(RuntimeError):
    """The child died or hung: `signal` is "SIGSEGV", "exit 3" or "timeout"; `log_tail` its last words."""

    def __init__(self, function: str, signal_name: str, message: str, log_tail: str) -> None:
        super().__init__(message)
        self.function = function
        self.signal = signal_name
        self.log_tail = log_tail


class WorkerFailedError(RuntimeError):
    """The function raised in the child; the message is its "Type: first line"."""

    def __init__(self, function: str, reply: Reply) -> None:
        super().__init__(reply.error)
        self.function = function
        self.kind = reply.error_type
        self.traceback = reply.traceback


class Worker:
    """One child process. Calls from several threads queue up."""

    def __init__(self, name: str, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._killed = False

    def call(self, function: str, *args: Any, timeout: float = RUN_TIMEOUT_S, **kwargs: Any) -> Reply:
        """Runs `function` ("module:name") in the child.

        Raises `WorkerFailedError` if it raises, `WorkerCrashedError` if the child dies or takes
        longer than `timeout` seconds; both leave the worker ready for the next call.
        """
        with self._lock:
            connection = self._connected()
            if self._killed:
                raise self._crashed(function, "ended from outside", "SIGKILL")
            try:
                connection.send(Call(function, args, kwargs))
                if not connection.poll(timeout):
                    raise self._crashed(function, f"timeout after {timeout:g} s", "timeout")
                reply = connection.recv()
            except (EOFError, ConnectionError) as error:
                raise self._crashed(function) from error
            except BaseException:
                # An interrupt or a half-read reply: the child is out of step, so it goes.
                self._discard()
                raise
        if reply.error:
            raise WorkerFailedError(function, reply)
        return reply

    def close(self) -> None:
        with self._lock:
            self._discard()

    def kill(self) -> None:
        """Ends the child at once and for good, also under a call, which then reports a crash."""
        self._killed = True  # before the process, or a call in between would start another
        if (process := self._process) is not None:
            process.kill()

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._lock.locked()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def _connected(self) -> Connection:
        if self._process is not None and self._process.poll() is not None:
            self._discard()
        if self._connection is None:
            ours, theirs = socket.socketpair()
            # Kept until the worker goes, so that a crash can quote it.
            self._log = tempfile.TemporaryFile(prefix=f"modelparity-{self.name}-")  # noqa: SIM115
            # Whatever this process can import, its child can, in whichever folder it starts.
            paths = [str(Path(entry).resolve()) for entry in sys.path if Path(entry).is_dir()]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modelparity.converters.engine.child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={
                    # Idle threads of OpenMP sleep. By default they spin, which costs more than the work where
                    # more of them want to run than there are cores, as with toolchains side by side.
                    "OMP_WAIT_POLICY": "PASSIVE",
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(paths),
                    # Nothing else: the current folder may hold a stranger's module of a known name.
                    "PYTHONSAFEPATH": "1",
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    "PYTHONFAULTHANDLER": "1",
                    **self._environment,
                },
            )
            theirs.close()
            self._connection = Connection(ours.detach())
        return self._connection

    def _crashed(self, function: str, message: str = "", name: str = "") -> WorkerCrashedError:
        if not name:
            assert self._process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
            name = exit_name(self._process.returncode)
            message = f"the {self.name} process died of {name}"
            if name == "SIGKILL":
                message += (
                    " (out of memory is the usual cause: close other programs, add memory or swap,"
                    " or give a checkpoint of the network alone: modelparity extract)"
                )
        tail = self._tail()
        self._discard()
        return WorkerCrashedError(function, name, message, tail)

    def _tail(self) -> str:
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        return self._log.read().decode("utf-8", "replace")

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._log is not None:
            self._log.close()
        self._connection = self._process = self._log = None


def exit_name(returncode: int | None) -> str:
    """-11 -> "SIGSEGV", 3 -> "exit 3"."""
    if returncode is None:
        return "no answer"
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-returncode).name
    return f"exit {returncode}"


class Workers:
    """The workers of a run by name, started as they are needed; a context manager that ends them."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()
        self._killed = False

    def __getitem__(self, name: str) -> Worker:
        with self._lock:
            worker = self._workers.setdefault(name, Worker(name))
            if self._killed:
                worker.kill()
            return worker

    def idle(self, name: str, *others: str) -> Worker:
        """The worker `name` or, while it is busy, the first of the `others` that is not; else the last one.

        For work that any of them can do.
        """
        return next((self[one] for one in (name, *others) if not self[one].busy), self[(name, *others)[-1]])

    def close(self, name: str | None = None) -> None:
        for key, worker in list(self._workers.items()):
            if name in (None, key):
                worker.close()

    def kill(self) -> None:
        """Ends every child at once, whoever waits for it; no other can be started."""
        with self._lock:
            self._killed = True
            for worker in self._workers.values():
                worker.kill()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
