"""Measures the time and peak memory of a command, including its child processes.

    python -m modelparity.benchmarks.peak COMMAND...

Memory is the proportional set size (pages that processes share count once), summed over the process tree
every 0.3 s; the resident set size if the system does not report it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import psutil

INTERVAL_S = 0.3


def tree_bytes(root: psutil.Process) -> int:
    """The memory of a process and all its descendants now, in bytes."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
    return total


def main() -> None:
    start = time.monotonic()
    process = subprocess.Popen(sys.argv[1:])
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, tree_bytes(root))
        time.sleep(INTERVAL_S)
    print(f"{time.monotonic() - start:.0f} s, peak {peak / 1e9:.2f} GB", file=sys.stderr)
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
