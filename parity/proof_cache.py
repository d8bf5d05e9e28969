"""Stores proofs: the same file, reference and harness give the stored record again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Entry, Key
from modelparity.converters.engine.workbench import NETWORKS, Calibration, Workbench, versions_text
from modelparity.converters.formats import CONVERTERS, modules_of, packages_of
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.models import DECLARATIONS, declaration_module
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.prove import prove
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import CellRecord
from modelparity.parity.results_json import cell_from_json, cell_line

_FILE = "cell.json"
# Left out of the harness's hash, because other parts of a proof's key cover them: the networks, their
# declarations and the limitation of each cell. So a changed network invalidates only the proofs of its own
# cells.
APART = (NETWORKS, "modelparity.parity.limitations")


def harness_digest() -> str:
    """One hash over everything that decides a verdict, apart from the stored inputs."""
    modules = [module for name in CONVERTERS for module in modules_of(name)]
    networks = map(declaration_module, DECLARATIONS)  # they name the networks' own modules
    return source_digest("modelparity.parity.session", *modules, *networks)


def judge_digest(format: str = "") -> str:
    """One hash over the sources that decide a verdict; of `format` alone, or of all formats."""
    named = [format] if format in CONVERTERS else list(CONVERTERS)
    modules = [module for name in named for module in modules_of(name)]
    others = [package for name in CONVERTERS if name not in named for package in packages_of(name)]
    # Which images the judge sees beside the evaluation set is no matter of `prove`.
    images = "modelparity.parity.search.opposite"
    return source_digest("modelparity.parity.prove", images, *modules, apart=[*APART, *others])


def evidence_key(
    bench: Workbench,
    subject: ModelUnderTest,
    reference_key: Key,
    cell: Cell,
    *,
    limitation: Limitation | None,
    calibration: Calibration,
    check_budget: CheckBudget,
) -> Key:
    converter = bench.converters[cell.format]
    parts = {
        "artifact": bench.artifact_key(subject, cell.format, cell.quantization, calibration).digest,
        "reference": reference_key.digest,
        "limitation": repr(limitation),
        "check_budget": repr(check_budget),
        "worst inputs": worst_inputs.digest(cell.id),
        "harness": judge_digest(converter.format),
        "toolchain": versions_text((*converter.toolchain, "torchvision", "pillow", "numpy", "hypothesis")),
    }
    return Key(f"{subject.label} {cell.id} evidence", parts)


def cached(bench: Workbench, key: Key, artifact: Key) -> CellRecord | None:
    """The stored record, if its artifact is still in the store; else None."""
    entry = bench.store.find(key)
    if entry is None or bench.store.find(artifact) is None:
        return None
    return replace(_read(entry), cached=True)


def prove_once(
    bench: Workbench,
    subject: ModelUnderTest,
    truth_of: Callable[[], ReferenceData],
    key: Key,
    *,
    cell: Cell,
    limitation: Limitation | None,
    calibration: Calibration,
    check_budget: CheckBudget,
) -> CellRecord:
    """Proves the cell and stores a green record. A red cell is proven again every time."""
    record = prove(
        bench,
        subject,
        truth_of,
        cell,
        limitation=limitation,
        calibration=calibration,
        check_budget=check_budget,
    )
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
