"""Workers: whatever happens in a child is a result, and the next call has a child again."""

from __future__ import annotations

import os
import sys
import time

import pytest

from modelparity.converters.engine.workers import Worker, WorkerCrashedError, WorkerFailedError

HERE = "meta_tests.miniatures.worker_tasks"


@pytest.fixture
def worker():
    worker = Worker("test")
    yield worker
    worker.close()


def test_a_value_comes_back_with_what_it_cost(worker):
    reply = worker.call(f"{HERE}:allocate", 200_000_000)
    assert reply.value == 200_000_000
    assert reply.peak_bytes > 200_000_000
    assert worker.call("os:getpid").peak_bytes < 200_000_000  # the peak is each call's own
    assert worker.call(f"{HERE}:sleep", 0.05).seconds >= 0.05


def test_the_child_stays_warm(worker):
    assert worker.call("os:getpid").value == worker.call("os:getpid").value != os.getpid()


def test_idle_threads_sleep_unless_the_user_says_otherwise(worker, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert worker.call("os:getenv", "OMP_WAIT_POLICY").value == "PASSIVE"
    worker.close()
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert worker.call("os:getenv", "OMP_WAIT_POLICY").value == "ACTIVE"


def test_an_exception_is_one_line_and_a_traceback(worker):
    with pytest.raises(WorkerFailedError, match=r"^ValueError: first line$") as caught:
        worker.call(f"{HERE}:fail", "first line\nsecond line")
    assert caught.value.kind == "ValueError"
    assert "second line" in caught.value.traceback
    assert worker.call("os:getpid").value


@pytest.mark.parametrize(
    ("task", "signal"),
    [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("killed", "SIGKILL"), ("leave", "exit 3")],
)
def test_a_death_is_named_and_the_child_replaced(worker, task, signal):
    with pytest.raises(WorkerCrashedError) as caught:
        worker.call(f"{HERE}:{task}")
    assert caught.value.signal == signal
    assert "last words" in caught.value.log_tail
    assert worker.call("os:getpid").value


def test_a_hang_ends_at_its_timeout(worker):
    worker.call("os:getpid")
    start = time.monotonic()
    with pytest.raises(WorkerCrashedError) as caught:
        worker.call(f"{HERE}:sleep", 60, timeout=0.3)
    assert caught.value.signal == "timeout"
    assert time.monotonic() - start < 10
    assert worker.call("os:getpid").value


def test_a_reply_that_cannot_be_sent_is_an_error(worker):
    with pytest.raises((WorkerFailedError, WorkerCrashedError)):
        worker.call(f"{HERE}:unsendable")
    assert worker.call("os:getpid").value


def test_no_child_outlives_its_worker(worker):
    worker.call("os:getpid")
    pid = worker.pid
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 imports from the current folder")
def test_a_child_imports_nothing_from_the_current_folder(worker, tmp_path, monkeypatch):
    (tmp_path / "colorsys.py").write_text("rgb_to_hsv = lambda *_: 'a stranger'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert worker.call("colorsys:rgb_to_hsv", 0, 0, 0).value == (0, 0, 0)
