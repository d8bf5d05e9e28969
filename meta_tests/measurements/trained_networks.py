"""Proves the files of networks that others trained, and plants faults in them.

    python -m meta_tests.measurements.trained_networks FOLDER [--model NAME]... [--no-faults] [--output DIR]

FOLDER holds the weights as their authors publish them, none of which is in this repository: the files that
`meta_tests/measurements/trained/*.py` name. One is Tiny-LaDeDa's checkpoint; the others are wheels, as
`pip download --no-deps facenet-pytorch==2.6.0` gives them. A right file must be green, and every visible
fault red.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from meta_tests.measurements.measured_rows import add, measuring, told
from meta_tests.measurements.trained.networks import TRAINED
from modelparity.commands.judging.mutate import scored
from modelparity.converters.formats import CONVERTERS
from modelparity.parity.cells import Cell, columns
from modelparity.parity.mutation.catalogue import FAULTS
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import FaultRecord
from modelparity.parity.session import Session
from modelparity.reports.failures import outcome_line
from modelparity.reports.markdown import inline, table
from modelparity.reports.other_rules import Verdicts, comparison, verdicts
from modelparity.reports.view import Entry

NAME = "trained-networks.jsonl"


@dataclass(frozen=True)
class Row:
    """One cell: what the judge said of the right file, what it costs, and how many faults were noticed.

    `rules` is what published rules refuse of the same files (`modelparity.reports.other_rules.verdicts`).
    """

    cell: str
    status: str
    claims: int
    headline: str
    visible: int
    killed: int
    survived: str
    said: str
    harness: str
    rules: Verdicts = field(default_factory=dict)


def rows_of(model: str, checkpoint: Path, *, faults: bool) -> list[Row]:
    """Every cell of a network."""
    session = Session(checkpoints={model: checkpoint}, models={model: TRAINED[model].spec}, limitations={})
    rows = []
    with measuring(session):
        planted: dict[str, list[FaultRecord]] = {}
        rules: dict[str, Verdicts] = {}
        for format, quantization in columns():
            cell = Cell(model, format, quantization)
            record = session.prove(cell)
            entry = Entry(cell.id, model, format, quantization, record)
            rows.append(
                Row(
                    cell.id,
                    record.status,
                    len(record.claims),
                    record.headline,
                    0,
                    0,
                    "",
                    outcome_line(entry),
                    harness_digest(),
                )
            )
            print(f"{cell.id}: {record.status} {record.headline} {outcome_line(entry)}", flush=True)
        if faults:
            score = scored(session, [model], formats=list(CONVERTERS), faults=list(FAULTS.values()))
            for fault in score.asked:
                planted.setdefault(f"{model}-{fault.format}-{fault.quantization}", []).append(fault)
            rules = {cell.id: verdicts(cell) for cell in score.cells}
    counted = []
    for row in rows:
        visible = [fault for fault in planted.get(row.cell, []) if fault.visible]
        lost = ", ".join(dict.fromkeys(fault.name for fault in visible if not fault.killed))
        killed = sum(fault.killed for fault in visible)
        said = rules.get(row.cell, {})
        counted.append(replace(row, visible=len(visible), killed=killed, survived=lost, rules=said))
        print(f"{row.cell}: {killed} of {len(visible)} visible faults {lost}", flush=True)
    return counted


def document(rows: Sequence[Row]) -> str:
    right = sum(row.status == "passed" for row in rows)
    visible, killed = sum(row.visible for row in rows), sum(row.killed for row in rows)
    sources = [
        one.source for name, one in TRAINED.items() if any(row.cell.startswith(f"{name}-") for row in rows)
    ]
    header = (
        "cell",
        "right file",
        "claims",
        "error or cost",
        "visible faults noticed",
        "survived",
        "harness",
    )
    body = [
        [
            row.cell,
            row.status,
            str(row.claims),
            row.headline,
            f"{row.killed} of {row.visible}" if row.visible else "not planted",
            row.survived or "none",
            row.harness,
        ]
        for row in rows
    ]
    said = [f"- {inline(row.said)}" for row in rows if row.said]
    return (
        "\n\n".join(
            [
                "# Networks that others trained",
                f"{right} of {len(rows)} right files are green; {killed} of {visible} visible faults in them "
                "are red. The weights are those that the networks' authors publish: "
                f"{'; '.join(sources)}. No bound was chosen for any of them.",
                "To repeat it: `python -m meta_tests.measurements.trained_networks FOLDER`.",
                table(header, [list(map(inline, row)) for row in body]),
                *(["\n".join(said)] if said else []),
                *([compared] if (compared := comparison({row.cell: row.rules for row in rows})) else []),
            ]
        )
        + "\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table; 0 only if all right files are green and all visible faults red."""
    parser = argparse.ArgumentParser(prog="python -m meta_tests.measurements.trained_networks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", choices=TRAINED)
    parser.add_argument("--no-faults", action="store_true", help="prove the right files alone")
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, told():
        found: list[Row] = []
        for model in asked.model or list(TRAINED):
            checkpoint = TRAINED[model].checkpoint(asked.folder, Path(scratch))
            if checkpoint is None:
                parser.error(
                    f"{asked.folder}: has no {TRAINED[model].file}, which has the weights of {model}"
                )
            found += rows_of(model, checkpoint, faults=not asked.no_faults)
            add(asked.output / NAME, found, Row, lambda row: row.cell, document)
    good = all(row.status == "passed" and row.killed == row.visible for row in found)
    return 0 if good and found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
