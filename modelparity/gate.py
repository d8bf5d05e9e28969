"""The gate: proves, measures, records and reports the selected cells."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from modelparity import terminal
from modelparity.benchmarks import costs
from modelparity.converters.engine.machine import cpu
from modelparity.converters.formats import CONVERTERS
from modelparity.evaluate.cells import task_records
from modelparity.fixtures.datasets.labelled import Labelled
from modelparity.fixtures.whole_files import replaced
from modelparity.measure import measure
from modelparity.parity.cells import Cell, columns
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.prove_cells import Listener, prove_all
from modelparity.parity.results import CellRecord, Run, RunHeader
from modelparity.parity.results_json import append, cell_line, end_line, header_line, read_run
from modelparity.parity.session import Session
from modelparity.pictures.worst_sample import with_picture
from modelparity.quality.standard import NOTHING_STATED, Standard
from modelparity.reports import RECORD, render
from modelparity.version import own_version

_VERSIONS = ("torch", *(name for entry in CONVERTERS.values() for name in entry.toolchain), "numpy")


def run_gate(
    session: Session,
    cells: Sequence[Cell],
    output: Path,
    weights: dict[str, str],
    *,
    selection: str = "",
    on_cell: Listener = lambda *_: None,
    on_stage: Callable[[str], None] = lambda _: None,
    labelled: Mapping[str, Labelled] | None = None,
    standard: Standard = NOTHING_STATED,
    require_quality: bool = False,
    judged: Callable[[CellRecord], CellRecord] = lambda record: record,
) -> Run:
    """Proves `cells`, with the toolchains side by side, then measures costs one at a time, then reports.

    Cells of the models in `labelled` are also evaluated on those datasets. `weights` says for each model
    where its weights come from. `judged` may add claims to a record, before `standard` judges the quality of
    quantized cells; with `require_quality`, the
    run fails where nothing does. The record grows under a temporary name in `output` and replaces the last
    one at the end, so a killed run leaves the last report as it was.
    """
    start = time.monotonic()
    with replaced(output / RECORD) as (partial,):
        append(partial, header_line(_header(cells, weights, selection, require_quality)))
        records = prove_all(
            session, cells, partial, on_cell, judged=lambda record: standard.judged(judged(record))
        )
        records = _with_pictures_and_tasks(
            session, cells, records=records, labelled=labelled or {}, on_stage=on_stage
        )
        on_stage("measuring latency and memory")
        for record in _with_costs(session, records):
            append(partial, cell_line(record))
        append(partial, end_line(round(time.monotonic() - start, 1)))
    on_stage("writing the report")
    render(output / RECORD, output)
    return read_run(output / RECORD)


def _with_pictures_and_tasks(
    session: Session,
    cells: Sequence[Cell],
    *,
    records: Sequence[CellRecord],
    labelled: Mapping[str, Labelled],
    on_stage: Callable[[str], None],
) -> list[CellRecord]:
    """The records with pictures of their worst samples, and with metrics on a dataset where there is one."""
    by_id = {cell.id: cell for cell in cells}
    on_stage("drawing the worst sample of each cell")
    drawn = [with_picture(session, by_id[record.id], record) for record in records]
    progress = terminal.Stages(on_stage)
    tasks = task_records(session, by_id, records=drawn, labelled=labelled, progress=progress)
    session.workers.close()  # nothing else runs while costs are measured
    return [replace(record, task=tasks.get(record.id)) for record in drawn]


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
        by_id = measure(session, [cell for group in pending for cell in group])
        for group in pending:
            mine = {cell.id: by_id[cell.id] for cell in group if cell.id in by_id}
            if len(mine) == len(group):
                costs.store(session.bench, group, mine)
            measured += costs.with_ratios(group, mine)
    without = [record for record in records if record.artifact is None]
    return [*measured, *without]


def _header(
    cells: Sequence[Cell], weights: dict[str, str], selection: str, require_quality: bool
) -> RunHeader:
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
        require_quality=require_quality,
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that make, run and judge the files."""
    return {name: importlib.metadata.version(name) for name in _VERSIONS}


def machine() -> dict[str, str]:
    """The machine that the costs are measured on."""
    return {
        **cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
