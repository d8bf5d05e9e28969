"""Proves cells in parallel, one lane for each toolchain, and appends each record to a file as it is made."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.parity.cells import Cell
from modelparity.parity.results import CellRecord
from modelparity.parity.results_json import append, cell_line
from modelparity.parity.session import Session

# Called as cells finish, with the record, how many are done, and how many there are.
Listener = Callable[[CellRecord, int, int], None]


def prove_all(
    session: Session,
    cells: Sequence[Cell],
    record_file: Path,
    on_cell: Listener,
    *,
    judged: Callable[[CellRecord], CellRecord] = lambda record: record,
) -> list[CellRecord]:
    """The record of every cell, each appended to `record_file` and passed to `on_cell` when it is made.

    `judged` judges the quality of a proven file.

    Cells with a stored proof come first. The others are converted and judged in one lane for each format,
    while another thread exports the networks and computes their references.
    """
    done: list[CellRecord] = []
    lock = threading.Lock()
    stopped = threading.Event()

    def finished(record: CellRecord) -> None:
        record = judged(record)
        with lock:
            done.append(record)
            append(record_file, cell_line(record))
            on_cell(record, len(done), len(cells))

    unproven: dict[str, list[Cell]] = {}
    for cell in cells:
        if (record := session.cached(cell)) is not None:
            finished(record)
        else:
            unproven.setdefault(cell.format, []).append(cell)

    def lane(format: str) -> None:
        """Converts all cells of a format, then judges them in a new process, which has converted none."""
        for cell in unproven[format]:
            # A failure happens again when the cell is proven, and is recorded then.
            with contextlib.suppress(WorkerFailedError, WorkerCrashedError):
                session.convert(cell)
        session.workers.close(format)
        for cell in unproven[format]:
            record = session.prove(cell)
            if stopped.is_set():  # the record may show the interruption instead of the cell
                return
            finished(record)

    def prepare(models: Sequence[str]) -> None:
        with contextlib.suppress(WorkerFailedError, WorkerCrashedError):
            for model in models:
                session.bench.exported(session.subject(model))
            for model in models:
                session.truth(model)

    models = list(dict.fromkeys(cell.model for of_format in unproven.values() for cell in of_format))
    with ThreadPoolExecutor(max_workers=len(unproven) + 1) as pool:
        futures = [pool.submit(lane, format) for format in unproven]
        if models:
            futures.append(pool.submit(prepare, models))
        try:
            for future in futures:
                future.result()
        except BaseException:
            # For example an interrupt: the pool waits for its threads, and they for their child processes.
            stopped.set()
            session.workers.kill()
            raise
    session.workers.close()
    return done
