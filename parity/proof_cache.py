"""Evidence is proven once: the same file, reference, harness and bounds give the record of last time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Entry, Key
from modelparity.converters.engine.workbench import (
    NETWORKS,
    Calibration,
    ModelUnderTest,
    Workbench,
    versions_text,
)
from modelparity.converters.formats import CONVERTERS, modules_of, packages_of
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.specs import MODELS
from modelparity.parity.cells import Cell
from modelparity.parity.judge import CheckBudget
from modelparity.parity.prove import prove
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import CellRecord, cell_from_json, cell_line
from modelparity.parity.tolerances import Expectation

_FILE = "cell.json"
# What other parts of a proof's key name: the networks, and the bounds of each cell. So another bound or another
# network asks for the proofs of its own cells again, and for no others.
APART = (NETWORKS, "modelparity.parity.expectations")


def harness_digest() -> str:
    """One hash over everything that decides a verdict, apart from the stored inputs."""
    modules = [module for name in CONVERTERS for module in modules_of(name)]
    networks = [
        path.partition(":")[0] for spec in MODELS.values() for path in (spec.deployed, spec.published)
    ]
    return source_digest("modelparity.parity.session", *modules, *networks)


def judge_digest(format: str = "") -> str:
    """One hash over the sources that decide a verdict; of `format` alone, or of all formats."""
    named = [format] if format in CONVERTERS else list(CONVERTERS)
    modules = [module for name in named for module in modules_of(name)]
    others = [package for name in CONVERTERS if name not in named for package in packages_of(name)]
    return source_digest("modelparity.parity.prove", *modules, apart=[*APART, *others])


def evidence_key(
    bench: Workbench,
    subject: ModelUnderTest,
    reference_key: Key,
    cell: Cell,
    expectation: Expectation,
    calibration: Calibration,
    check_budget: CheckBudget,
) -> Key:
    converter = bench.converters[cell.format]
    parts = {
        "artifact": bench.artifact_key(subject, cell.format, cell.quantization, calibration).digest,
        "reference": reference_key.digest,
        "expectation": repr(expectation),
        "check_budget": repr(check_budget),
        "worst inputs": worst_inputs.digest(cell.id),
        "harness": judge_digest(converter.format),
        "toolchain": versions_text((*converter.toolchain, "torchvision", "pillow", "numpy", "hypothesis")),
    }
    return Key(f"{subject.label} {cell.id} evidence", parts)


def cached(bench: Workbench, key: Key, artifact: Key) -> CellRecord | None:
    """The stored record, if its artifact is still in the store, byte for byte."""
    entry = bench.store.find(key)
    if entry is None or bench.store.find(artifact) is None:
        return None
    return replace(_read(entry), cached=True)


def prove_once(
    bench: Workbench,
    subject: ModelUnderTest,
    truth_of: Callable[[], ReferenceData],
    key: Key,
    cell: Cell,
    expectation: Expectation,
    calibration: Calibration,
    check_budget: CheckBudget,
) -> CellRecord:
    """Proves the cell; a green record is kept. A red one is proven anew every time."""
    record = prove(bench, subject, truth_of, cell, expectation, calibration, check_budget)
    if not record.green:
        return record

    def make(folder: Path) -> dict[str, Any]:
        (folder / _FILE).write_text(cell_line(record), encoding="utf-8")
        return {}

    bench.store.get(key, make)
    return record


def _read(entry: Entry) -> CellRecord:
    data = json.loads(entry.path(_FILE).read_text(encoding="utf-8"))
    data.pop("kind")
    return cell_from_json(data)
