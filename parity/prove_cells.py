"""TODO."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.parity.cells import Cell
from modelparity.parity.results import (
    CellRecord,
    append,
    cell_line,
)
from modelparity.parity.session import Session

# Told as cells finish: the record, how many are done, how many there are.
Listener = Callable[[CellRecord, int, int], None]


def prove_all(
    session: Session, cells: Sequence[Cell], record_file: Path, on_cell: Listener
) -> list[CellRecord]:
    """The record of every cell, appended to `record_file` as it is made: a lane a toolchain, side by side."""
    done: list[CellRecord] = []
    lock = threading.Lock()
    stopped = threading.Event()

    def finished(record: CellRecord) -> None:
        with lock:
            done.append(record)
            append(record_file, cell_line(record))
            on_cell(record, len(done), len(cells))

    fresh: dict[str, list[Cell]] = {}
    for cell in cells:
        if (record := session.cached(cell)) is not None:
            finished(record)
        else:
            fresh.setdefault(cell.format, []).append(cell)

    def lane(format: str) -> None:
        """All cells are converted, then judged by a process that has converted none of them."""
        for cell in fresh[format]:
            # What fails here fails again as the cell is proven, and is recorded there.
            with contextlib.suppress(WorkerFailedError, WorkerCrashedError):
                session.convert(cell)
        session.workers.close(format)
        for cell in fresh[format]:
            record = session.prove(cell)
            if stopped.is_set():  # what the record says came of the stop
                return
            finished(record)

    def prepare(models: Sequence[str]) -> None:
        with contextlib.suppress(WorkerFailedError, WorkerCrashedError):
            for model in models:
                session.bench.exported(session.subject(model))
            for model in models:
                session.truth(model)

    # A lane a toolchain; a third prepares what both will ask for.
    models = list(dict.fromkeys(cell.model for of_format in fresh.values() for cell in of_format))
    with ThreadPoolExecutor(max_workers=len(fresh) + 1) as pool:
        futures = [pool.submit(lane, format) for format in fresh]
        if models:
            futures.append(pool.submit(prepare, models))
        try:
            for future in futures:
                future.result()
        except BaseException:
            # An interrupt, say: the pool waits for its threads, and they for their children.
            stopped.set()
            session.workers.kill()
            raise
    session.workers.close()
    return done
