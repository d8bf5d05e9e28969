"""The store: whole entries or none, one maker at a time, and a miss that says why."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelparity.converters.engine.store import ENTRY, Key, Store
from modelparity.fixtures.whole_files import replace_with

ROOT = Path(__file__).parents[2]
KEY = Key("thing", {"source": "1", "recipe": "a"})


def write(folder):
    (folder / "file").write_bytes(b"content")
    return {"seconds": 1}


def never(_folder):
    raise AssertionError("made again")


def test_made_once(tmp_path):
    entry = Store(tmp_path).get(KEY, write)
    again = Store(tmp_path).get(KEY, never)
    assert entry == again
    assert entry.path("file").read_bytes() == b"content"
    assert entry.meta == {"seconds": 1}


@pytest.mark.parametrize("damage", [b"c0ntent", b"conten", None])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    """A stale or truncated artifact under the right name is not the artifact."""
    path = Store(tmp_path).get(KEY, write).path("file")
    path.unlink() if damage is None else path.write_bytes(damage)
    misses = []
    entry = Store(tmp_path, lambda *miss: misses.append(miss)).get(KEY, write)
    assert entry.path("file").read_bytes() == b"content"
    assert misses == [("thing", "the stored files were damaged")]


def test_a_miss_names_the_part_that_changed(tmp_path):
    misses = []
    store = Store(tmp_path, lambda *miss: misses.append(miss))
    store.get(KEY, write)
    store.get(Key("thing", {"source": "2", "recipe": "a"}), write)
    assert misses == [("thing", "nothing stored yet"), ("thing", "changed: source")]


def test_what_fails_leaves_nothing(tmp_path):
    def fail(folder):
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Store(tmp_path).get(KEY, fail)
    assert not list((tmp_path / "partial").iterdir())
    assert not list((tmp_path / "entries").iterdir())


def _slow_maker(root, made):
    def make(folder):
        with made.get_lock():
            made.value += 1
        time.sleep(0.2)
        return write(folder)

    Store(root).get(KEY, make)


def test_parallel_workers_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    made = context.Value("i", 0)
    workers = [context.Process(target=_slow_maker, args=(tmp_path, made)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert made.value == 1


def test_a_kill_leaves_no_half_entry(tmp_path):
    """kill -9 at a dozen moments of writing: an entry is whole or absent, and the next maker succeeds."""
    script = (
        "import sys; from pathlib import Path; from modelparity.converters.engine.store import Key, Store\n"
        "def make(folder):\n"
        "    print('making', flush=True)\n"
        "    for i in range(20): (folder / f'{i}').write_bytes(b'x' * 50000)\n"
        "    return {}\n"
        "for n in range(1000): Store(Path(sys.argv[1])).get(Key(f'thing{n}', {}), make)\n"
    )
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(0.03 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store = Store(tmp_path)
    assert not list((tmp_path / "partial").iterdir())
    entries = list((tmp_path / "entries").iterdir())
    assert entries
    for folder in entries:
        assert (folder / ENTRY).is_file()
        assert len(list(folder.iterdir())) == 21
    store.get(KEY, write)


def test_a_copy_is_whole_or_not_there(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"new")
    target = tmp_path / "folder" / "target"
    replace_with(target, source)
    assert target.read_bytes() == b"new"

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modelparity.fixtures.whole_files.shutil.copyfile", full)
    source.write_bytes(b"newer")
    with pytest.raises(OSError, match="No space left"):
        replace_with(target, source)
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["target"]
