"""Costs of the cells of one model and format, timed together so that their ratios mean something."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import Workbench
from modelparity.parity.results import CellRecord, Cost, cost_from_json

THREADS = 2
_FILE = "costs.json"
BASE = "fp32"
# What opens a session and names its cells decides no timing; files are named by their sha256.
_APART = ("modelparity.parity", "modelparity.fixtures", "modelparity.converters", "modelparity.modelfiles")


def groups(records: Iterable[CellRecord]) -> list[list[CellRecord]]:
    """Cells with an artifact, by model and format."""
    found: dict[tuple[str, str], list[CellRecord]] = {}
    for record in records:
        if record.artifact is not None:
            found.setdefault((record.model, record.format), []).append(record)
    return list(found.values())


def key_of(group: Sequence[CellRecord]) -> Key:
    """What timings depend on: the files, this room's sources and the machine."""
    first = group[0]
    parts = {
        "artifacts": json.dumps(sorted((cell.id, cell.artifact.sha256) for cell in group if cell.artifact)),
        "harness": source_digest(
            "modelparity.benchmarks.child", "modelparity.benchmarks.test_latency", apart=_APART
        ),
        "machine": f"{platform.machine()} {platform.processor()} {platform.node()}",
    }
    return Key(f"{first.model} {first.format} costs", parts)


def stored(bench: Workbench, group: Sequence[CellRecord]) -> dict[str, Cost] | None:
    entry = bench.store.find(key_of(group))
    if entry is None:
        return None
    data = json.loads(entry.path(_FILE).read_text(encoding="utf-8"))
    return {name: cost_from_json(cost) for name, cost in data.items()}


def store(bench: Workbench, group: Sequence[CellRecord], costs: Mapping[str, Cost]) -> None:
    def make(folder: Path) -> dict[str, Any]:
        text = json.dumps({name: asdict(cost) for name, cost in costs.items()}, sort_keys=True)
        (folder / _FILE).write_text(text, encoding="utf-8")
        return {}

    bench.store.get(key_of(group), make)


def read_benchmark(path: Path) -> dict[str, Cost]:
    """pytest-benchmark's JSON to a cost a cell id."""
    data = json.loads(path.read_text(encoding="utf-8"))
    costs = {}
    for entry in data["benchmarks"]:
        extra, stats = entry["extra_info"], entry["stats"]
        costs[extra["cell"]] = Cost(
            latency_median_s=stats["median"],
            latency_iqr_s=stats["iqr"],
            rounds=stats["rounds"],
            threads=extra["threads"],
            run_peak_bytes=extra["run_peak_bytes"],
            **_ratio(extra["ratios"]),
        )
    return costs


def _ratio(ratios: Sequence[float]) -> dict[str, Any]:
    """The median of paired ratios and its interval; nothing for the float file itself."""
    if not ratios:
        return {"latency_ratio": 1.0}
    return {
        "latency_ratio": round(float(np.median(ratios)), 3),
        "latency_interval": interval_of_median([round(ratio, 3) for ratio in ratios]),
    }


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Two of the values between which the median lies with at least 95 %, whatever the distribution.

    Order statistics j and n+1-j, for a value lies below the median with one half (Conover, Practical
    Nonparametric Statistics, 3.2). Fewer than 6 values have no such pair.
    """
    ordered = sorted(values)
    place = int(binom.ppf(0.025, len(ordered), 0.5))
    return (ordered[place - 1], ordered[-place]) if place else None


def with_ratios(group: Sequence[CellRecord], measured: Mapping[str, Cost]) -> list[CellRecord]:
    """The records with their costs; size as a ratio to the float cell of the group."""
    base = next((cell for cell in group if cell.quantization == BASE), None)
    merged = []
    for cell in group:
        cost = measured.get(cell.id, Cost())
        size = None
        if base and base.artifact and cell.artifact:
            size = round(cell.artifact.bytes / base.artifact.bytes, 4)
        low = cost.latency_interval[0] if cost.latency_interval else 0.0
        merged.append(
            replace(
                cell,
                cost=replace(
                    cost,
                    convert_s=cell.cost.convert_s,
                    convert_peak_bytes=cell.cost.convert_peak_bytes,
                    size_ratio=size,
                    slower_than_float=cell.quantization.startswith("int8") and low > 1,
                ),
            )
        )
    return merged


def rounds_for(seconds: float) -> int:
    """About 0.6 seconds of inference, at least 7 rounds and at most 200."""
    return int(min(200, max(7, 0.6 / max(seconds, 1e-6))))
