"""The gate: every selected cell proven, measured, recorded and reported."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks import costs
from converters import CONVERTERS
from converters.workers import WorkerCrashedError, WorkerFailedError
from fixtures.labelled import Labelled
from modelparity import terminal
from modelparity.measure import measure
from modelparity.session import Session
from modelparity.task_records import task_records
from modelparity.version import own_version
from modelparity.worst_pictures import with_picture
from parity.cells import Cell, columns
from parity.evidence import harness_digest
from parity.results import (
    CellRecord,
    Run,
    RunHeader,
    append,
    cell_line,
    end_line,
    header_line,
    read_run,
)
from reports import RECORD, render

_VERSIONS = ("torch", *(name for entry in CONVERTERS.values() for name in entry.toolchain), "numpy")

# Told as cells finish: the record, how many are done, how many there are.
Listener = Callable[[CellRecord, int, int], None]


def run_gate(
    session: Session,
    cells: Sequence[Cell],
    output: Path,
    weights: dict[str, str],
    selection: str = "",
    on_cell: Listener = lambda *_: None,
    on_stage: Callable[[str], None] = lambda _: None,
    labelled: Mapping[str, Labelled] | None = None,
) -> Run:
    """Proves `cells`, toolchains side by side, measures their costs alone, and writes the report.

    Cells of the models in `labelled` are evaluated on those datasets as well.

    The record grows under a temporary name in `output` and replaces the last one at the end,
    so a killed run leaves the last report as it was.
    """
    start = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    partial = output / f".{RECORD}.{os.getpid()}.partial"
    try:
        partial.write_text("", encoding="utf-8")
        append(partial, header_line(_header(cells, weights, selection)))
        records = prove_all(session, cells, partial, on_cell)
        records = _looked_at(session, cells, records, on_stage, labelled or {})
        on_stage("measuring latency and memory")
        for record in _with_costs(session, records):
            append(partial, cell_line(record))
        append(partial, end_line(round(time.monotonic() - start, 1)))
        partial.replace(output / RECORD)
    finally:
        partial.unlink(missing_ok=True)
    on_stage("writing the report")
    render(output / RECORD, output)
    return read_run(output / RECORD)


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


def _looked_at(
    session: Session,
    cells: Sequence[Cell],
    records: Sequence[CellRecord],
    on_stage: Callable[[str], None],
    labelled: Mapping[str, Labelled],
) -> list[CellRecord]:
    """The records with a picture of their worst sample, and with metrics of a dataset where there is one."""
    by_id = {cell.id: cell for cell in cells}
    on_stage("drawing the worst sample of each cell")
    seen = [with_picture(session, by_id[record.id], record) for record in records]
    found = task_records(session, by_id, seen, labelled, terminal.Stages(on_stage))
    session.workers.close()  # what is measured next is measured alone
    return [replace(record, task=found.get(record.id)) for record in seen]


def _with_costs(session: Session, records: Sequence[CellRecord]) -> list[CellRecord]:
    """The records with their costs; groups measured before on this machine are not measured again."""
    measured = []
    pending = []
    for group in costs.groups(records):
        known = costs.stored(session.bench, group)
        if known is None:
            pending.append(group)
        else:
            measured += costs.with_ratios(group, known)
    if pending:
        found = measure(session, [cell for group in pending for cell in group])
        for group in pending:
            mine = {cell.id: found[cell.id] for cell in group if cell.id in found}
            if len(mine) == len(group):
                costs.store(session.bench, group, mine)
            measured += costs.with_ratios(group, mine)
    without = [record for record in records if record.artifact is None]
    return [*measured, *without]


def _header(cells: Sequence[Cell], weights: dict[str, str], selection: str) -> RunHeader:
    models = tuple(dict.fromkeys(cell.model for cell in cells))
    present = {(cell.format, cell.quantization) for cell in cells}
    return RunHeader(
        models=models,
        columns=tuple(column for column in columns() if column in present),
        weights={model: weights[model] for model in models},
        selection=selection,
        machine=machine(),
        versions={"modelparity": own_version(), "harness": harness_digest(), **versions()},
        started=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        expected=tuple(cell.id for cell in cells),
    )


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _VERSIONS}


def machine() -> dict[str, str]:
    """What the timings were taken on."""
    return {
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
