"""kill -9 in the middle of a gate: no half artifact, and the next run repeats at most one cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meta_tests.miniatures.gate_of_miniatures import LANES
from modelparity.converters.engine.store import ENTRY, sha256_of

ROOT = Path(__file__).parents[2]


def start(tmp_path):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "meta_tests.miniatures.gate_of_miniatures",
            str(tmp_path / "store"),
            str(tmp_path / "run.jsonl"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("finished", [0, 1])
def test_a_kill_costs_at_most_the_cell_it_hit(tmp_path, finished):
    process = start(tmp_path)
    lines = [process.stdout.readline() for _ in range(finished)]
    assert all(line.split()[1:] == ["passed", "proven"] for line in lines)
    partial = tmp_path / "store" / "partial"
    while not (partial.is_dir() and any(partial.iterdir())):  # until something is half made
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    known = lines + process.stdout.read().splitlines()
    process.stdout.close()

    for folder in (tmp_path / "store" / "entries").iterdir():
        entry = json.loads((folder / ENTRY).read_text())
        for name, (sha256, size) in entry["files"].items():
            assert (folder / name).stat().st_size == size
            assert sha256_of(folder / name) == sha256

    again = start(tmp_path)
    out, _ = again.communicate(timeout=300)
    told = [line.split() for line in out.splitlines()]
    assert told[-1] == ["done"]
    assert [line[0] for line in told[:-1]] == [f"miniature-{lane}-fp32" for lane in LANES]
    assert {line[1] for line in told[:-1]} == {"passed"}
    repeated = [line for line in told[: len(known)] if line[2] == "proven"]
    assert len(repeated) <= 1
    assert not list(partial.iterdir())
