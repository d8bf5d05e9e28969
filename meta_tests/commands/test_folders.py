"""A folder is replaced whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelparity.folders import folder_written


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "folder"
    for text in ("first", "second"):
        with folder_written(target, lambda name: name.endswith(".txt")) as made:
            (made / f"{text}.txt").write_text(text)
            (made / "kept").mkdir()
            (made / "kept" / "mine").write_text(text)
        (target / "kept" / "theirs").write_text("untouched")
    assert sorted(path.name for path in target.iterdir()) == ["kept", "second.txt"]
    assert (target / "kept" / "mine").read_text() == "second"
    with pytest.raises(ZeroDivisionError), folder_written(target, lambda _: True) as made:
        (made / "third.txt").write_text(str(1 / 0))
    assert sorted(path.name for path in target.iterdir()) == ["kept", "second.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_run_left_is_put_right(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    target = tmp_path / "folder"
    old = tmp_path / f".folder.{dead.pid}.old"
    old.mkdir()
    (old / "result").write_text("not lost")
    (tmp_path / f".folder.{dead.pid}.partial").mkdir()
    alive = tmp_path / f".folder.{os.getppid()}.partial"
    alive.mkdir()
    with pytest.raises(ZeroDivisionError), folder_written(target, lambda _: True):
        raise ZeroDivisionError
    assert (target / "result").read_text() == "not lost"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, "folder"])
