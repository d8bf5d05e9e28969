"""Evidence is proven once: the same file, reference, harness and bounds give the record of last time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.store import Entry, Key, digest_of_files
from converters.workbench import Calibration, Subject, Workbench, network_files, versions_text
from fixtures import worst_inputs
from fixtures.specs import MODELS
from parity.cells import Cell
from parity.judge import Effort, Truth
from parity.prove import prove
from parity.results import CellRecord, cell_from_json, cell_line
from parity.tolerances import Expectation

_FILE = "cell.json"
_ROOM = Path(__file__).parent


def harness_digest() -> str:
    """One hash over everything that decides a verdict, apart from the stored inputs."""
    return digest_of_files(_sources())


def judge_digest() -> str:
    """The harness without what other parts of a key name: the bounds of cells, and the networks.

    So another bound, or another network, asks for the proofs of its own cells again and for no others.
    """
    return digest_of_files(sorted(set(_sources()) - named_apart()))


def named_apart() -> set[Path]:
    """The table of bounds and the networks' modules."""
    networks = {path for spec in MODELS.values() for path in network_files(spec)}
    return {_ROOM / "expectations.py", *networks}


def _sources() -> list[Path]:
    rooms = [_ROOM, _ROOM.parent / "fixtures", _ROOM.parent / "converters"]
    return [path for room in rooms for path in room.glob("*.py")]


def evidence_key(
    bench: Workbench,
    subject: Subject,
    reference_key: Key,
    cell: Cell,
    expectation: Expectation,
    calibration: Calibration,
    effort: Effort,
) -> Key:
    converter = bench.converters[cell.format]
    parts = {
        "artifact": bench.artifact_key(subject, cell.format, cell.quantization, calibration).digest,
        "reference": reference_key.digest,
        "expectation": repr(expectation),
        "effort": repr(effort),
        "worst inputs": worst_inputs.digest(cell.id),
        "harness": judge_digest(),
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
    subject: Subject,
    truth_of: Callable[[], Truth],
    key: Key,
    cell: Cell,
    expectation: Expectation,
    calibration: Calibration,
    effort: Effort,
) -> CellRecord:
    """Proves the cell; a green record is kept. A red one is proven anew every time."""
    record = prove(bench, subject, truth_of, cell, expectation, calibration, effort)
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
