"""Runs a gate of miniatures, for tests to kill.

`python -m meta_tests.miniatures.gate_of_miniatures STORE OUTPUT`
"""

from __future__ import annotations

import sys
from pathlib import Path

from meta_tests.miniatures.miniature import cell, session_of

LANES = [f"honest_{i}" for i in range(3)]


def main() -> None:
    from modelparity.parity.prove_cells import prove_all

    store, output = map(Path, sys.argv[1:])

    def tell(record, done, count):
        print(record.id, record.status, "cached" if record.cached else "proven", flush=True)

    with session_of(LANES, store) as session:
        for lane in LANES:  # one after the other, so that at most one cell is being proven
            prove_all(session, [cell(lane)], output, tell)
    print("done", flush=True)


if __name__ == "__main__":
    main()
