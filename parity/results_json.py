"""Writes and reads the records of `modelparity.parity.results` as JSON lines. Standard library only.

A run is one file. Its first line is the `RunHeader`; one line for each `CellRecord` follows, in the order in
which the cells finished; the last line says how long the run took. A later line for the same cell replaces an
earlier one, because costs are measured after all cells are proven.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelparity.parity.results import (
    OUTCOMES,
    ArtifactRecord,
    CellRecord,
    Claim,
    Cost,
    DecisionRecord,
    FaultRecord,
    KeptFloat,
    Picture,
    QualityRecord,
    Run,
    RunHeader,
    SampleRecord,
    ScoredCell,
    TaskMetric,
    TaskRecord,
    WorstRecord,
)

SCHEMA = 1


def header_line(header: RunHeader) -> str:
    return _line({"kind": "run", "schema": SCHEMA, **asdict(header)})


def cell_line(cell: CellRecord) -> str:
    data = asdict(cell)
    data["outcome"] = {"status": cell.status, **asdict(cell.outcome)}
    return _line({"kind": "cell", **data})


def end_line(duration_s: float) -> str:
    return _line({"kind": "end", "duration_s": duration_s})


def _line(data: Mapping[str, Any]) -> str:
    # allow_nan=False: a NaN that reaches the record is a bug of the harness, not a result.
    # ASCII, because a log tail may have line separators and lone surrogates, which would break the file.
    return json.dumps(data, allow_nan=False, sort_keys=True) + "\n"


def append(path: Path, line: str) -> None:
    """Appends one line and syncs it, so that a kill loses at most the line being written."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_run(path: Path) -> Run:
    """The run in a file. A torn last line is ignored.

    Raises:
        ValueError: The file is not a run; the message names the line.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
    header: RunHeader | None = None
    cells: dict[str, CellRecord] = {}
    duration: float | None = None
    for number, text in enumerate(lines, start=1):
        try:
            data = json.loads(text)
            kind = data.pop("kind")
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}:{number}: not a record of a run") from error
        if kind == "run":
            if data.pop("schema") != SCHEMA:
                raise ValueError(f"{path}: written by another version of modelparity; run the gate again")
            header = _header(data)
        elif kind == "cell":
            cell = cell_from_json(data)
            cells[cell.id] = cell
        elif kind == "end":
            duration = float(data["duration_s"])
    if header is None:
        raise ValueError(f"{path}: no run header; not a run of modelparity")
    order = {name: i for i, name in enumerate(header.expected)}
    ordered = sorted(cells.values(), key=lambda cell: (order.get(cell.id, len(order)), cell.id))
    return Run(header, tuple(ordered), duration)


def _header(data: dict[str, Any]) -> RunHeader:
    columns = tuple((pair[0], pair[1]) for pair in data.pop("columns"))
    models, expected = tuple(data.pop("models")), tuple(data.pop("expected"))
    return RunHeader(models=models, columns=columns, expected=expected, **data)


def cell_from_json(data: Mapping[str, Any]) -> CellRecord:
    """The inverse of `cell_line`, on its parsed JSON without `kind`."""
    data = dict(data)
    outcome = dict(data["outcome"])
    data["outcome"] = OUTCOMES[outcome.pop("status")](**outcome)
    data["claims"] = tuple(Claim(**claim) for claim in data["claims"])
    data["samples"] = tuple(SampleRecord(**sample) for sample in data["samples"])
    if quality := data.get("quality"):
        decisions = tuple(DecisionRecord(**each) for each in quality["decisions"])
        data["quality"] = QualityRecord(**{**quality, "decisions": decisions})
    data["worst"] = tuple(WorstRecord(**worst) for worst in data.get("worst", ()))
    data["cost"] = cost_from_json(data["cost"])
    data["reproduce"] = tuple(data["reproduce"])
    data["remarks"] = tuple(data.get("remarks", ()))
    if data["artifact"] is not None:
        artifact = dict(data["artifact"])
        artifact["kept_float"] = tuple(KeptFloat(**entry) for entry in artifact["kept_float"])
        data["artifact"] = ArtifactRecord(**artifact)
    data["task"] = task_from_json(data["task"]) if data.get("task") else None
    data["picture"] = Picture(**data["picture"]) if data.get("picture") else None
    return CellRecord(**data)


def task_from_json(data: Mapping[str, Any]) -> TaskRecord:
    metrics = []
    for metric in data["metrics"]:
        ends = metric["interval"]
        metrics.append(TaskMetric(**{**metric, "interval": (ends[0], ends[1]) if ends else None}))
    return TaskRecord(**{**data, "metrics": tuple(metrics), "remarks": tuple(data["remarks"])})


def cost_from_json(data: Mapping[str, Any]) -> Cost:
    ends = data.get("latency_interval")
    return Cost(**{**data, "latency_interval": (ends[0], ends[1]) if ends else None})


def fault_from_json(data: Mapping[str, Any]) -> FaultRecord:
    return FaultRecord(**{**data, "names": tuple(data.get("names", ()))})


def scored_line(cell: ScoredCell) -> str:
    """A line of a kill table, without fields that have their defaults."""
    faults = [{k: v for k, v in asdict(fault).items() if v not in (None, "", ())} for fault in cell.faults]
    return _line({"kind": "scored", "schema": SCHEMA, **asdict(cell), "faults": faults})


def read_scored(path: Path) -> tuple[ScoredCell, ...]:
    """The cells of a kill table; a later line replaces an earlier one.

    Raises:
        ValueError: A line is not one of a kill table.
    """
    cells: dict[str, ScoredCell] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            data = json.loads(text)
            if (data.pop("kind"), data.pop("schema")) != ("scored", SCHEMA):
                raise ValueError("another kind of record")
            data["faults"] = tuple(fault_from_json(fault) for fault in data["faults"])
            cells[data["id"]] = ScoredCell(**data)
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number}: not a line of a kill table; run mutate again") from error
    return tuple(cells.values())
