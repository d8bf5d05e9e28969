"""Keeps the costs of the cells of one model and format, which are timed together so that ratios are fair."""

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
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.parity.results import CellRecord, Cost
from modelparity.parity.results_json import cost_from_json

THREADS = 2
_FILE = "costs.json"
BASE = FLOAT
# What opens a session and names its cells changes no timing; the files are in the key by their sha256.
_APART = ("modelparity.parity", "modelparity.fixtures", "modelparity.converters", "modelparity.modelfiles")


def groups(records: Iterable[CellRecord]) -> list[list[CellRecord]]:
    """The cells that have an artifact, grouped by model and format."""
    by_format: dict[tuple[str, str], list[CellRecord]] = {}
    for record in records:
        if record.artifact is not None:
            by_format.setdefault((record.model, record.format), []).append(record)
    return list(by_format.values())


def key_of(group: Sequence[CellRecord]) -> Key:
    """The store key of timings: they depend on the files, the code that measures, and the machine."""
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
    """The costs of a group by cell id, if the store has them."""
    entry = bench.store.find(key_of(group))
    if entry is None:
        return None
    data = json.loads(entry.path(_FILE).read_text(encoding="utf-8"))
    return {name: cost_from_json(cost) for name, cost in data.items()}


def store(bench: Workbench, group: Sequence[CellRecord], costs: Mapping[str, Cost]) -> None:
    """Writes the costs of a group into the store."""

    def make(folder: Path) -> dict[str, Any]:
        text = json.dumps({name: asdict(cost) for name, cost in costs.items()}, sort_keys=True)
        (folder / _FILE).write_text(text, encoding="utf-8")
        return {}

    bench.store.get(key_of(group), make)


def read_benchmark(path: Path) -> dict[str, Cost]:
    """Reads the JSON of pytest-benchmark; returns costs by cell id."""
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
    """The median of paired ratios and its interval; 1 for the float file itself."""
    if not ratios:
        return {"latency_ratio": 1.0}
    return {
        "latency_ratio": round(float(np.median(ratios)), 3),
        "latency_interval": interval_of_median([round(ratio, 3) for ratio in ratios]),
    }


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """A 95 % confidence interval of the median, for any distribution; None for fewer than 6 values.

    Its ends are the order statistics j and n+1-j, since a value is below the median with probability one half
    (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ordered = sorted(values)
    j = int(binom.ppf(0.025, len(ordered), 0.5))
    return (ordered[j - 1], ordered[-j]) if j else None


def with_ratios(group: Sequence[CellRecord], measured: Mapping[str, Cost]) -> list[CellRecord]:
    """The records with their costs; sizes are relative to the float cell of the group."""
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
                    slower_than_float=QUANTIZATIONS[cell.quantization].rounds_activations and low > 1,
                ),
            )
        )
    return merged


def rounds_for(seconds: float) -> int:
    """The number of rounds for about 0.6 seconds of inference, from 7 to 200."""
    return int(min(200, max(7, 0.6 / max(seconds, 1e-6))))
