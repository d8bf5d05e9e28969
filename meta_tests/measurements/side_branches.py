"""Plants branches in float files that act on one rare pattern, and asks `structure` for them.

    python -m meta_tests.measurements.side_branches FOLDER [--model NAME]... [--output DIR]

FOLDER holds weights as `meta_tests.measurements.trained_networks` wants them. A branch goes from the image to
an output and acts where the greatest pixel is beyond all of the evaluation set's, or equal to one that it has
not. So each planted file gives the very outputs of the right one on the evaluation set. `structure` must be
red for every planted file, and green for every right one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meta_tests.measurements.measured_rows import add, measuring, told
from meta_tests.measurements.trained.networks import TRAINED
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.modelfiles.editor import BRANCHES
from modelparity.modelfiles.mutations.plant import plant
from modelparity.parity.cells import Cell, columns
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.session import Session
from modelparity.parity.structure.claim import compared, structure
from modelparity.reports.markdown import inline, table

NAME = "side-branches.jsonl"
SMALL = ("tiny_ladeda", "pnet", "rnet", "crepe")
_STRENGTHS = (1e-3, 100.0)  # weakest and strongest: what the branch does, in units of the output


@dataclass(frozen=True)
class Row:
    """One file: whether its outputs on the evaluation set are the right file's, and what `structure` says."""

    cell: str
    branch: str
    strength: float
    same_outputs: bool
    status: str
    detail: str
    harness: str


def rows_of(model: str, checkpoint: Path, scratch: Path) -> Iterator[Row]:
    """The right float files of a network, and each with every branch."""
    with (
        Session(
            checkpoints={model: checkpoint}, models={model: TRAINED[model].spec}, limitations={}
        ) as session,
        measuring(session),
    ):
        truth = session.truth(model)
        name = next(iter(truth.reference.floors))
        beyond = 2 + max(
            float(np.abs(each).max()) for feed in truth.reference.feeds for each in feed.values()
        )
        for format, quantization in columns():
            recipe = QUANTIZATIONS[quantization]
            if recipe.rounds_activations:
                continue
            cell = Cell(model, format, quantization)
            right = session.artifact(model, format, quantization).path
            outputs = session.bench.run(format, right, truth.reference.feeds, threads=1)
            for branch, strength in [("", 0.0), *((b, s) for b in BRANCHES for s in _STRENGTHS)]:
                path = right
                if branch:
                    path = scratch / f"{branch}_{strength:g}{right.suffix}"
                    options = {"name": name, "kind": branch, "bound": beyond, "strength": strength}
                    plant(format, right, path, "branch_added", options=options)
                got = session.bench.run(format, path, truth.reference.feeds, threads=1, fresh=True)
                same = all(
                    np.array_equal(one[key], other[key])
                    for one, other in zip(got, outputs, strict=True)
                    for key in one
                )
                found = compared(session.bench, truth, path, is_cast=not recipe.is_float)
                claim, reason = structure(found)
                status, detail = (claim.status, claim.detail) if claim else ("not asked", reason)
                yield Row(cell.id, branch, strength, same, status, detail, harness_digest())


def document(rows: Sequence[Row]) -> str:
    planted, right = [row for row in rows if row.branch], [row for row in rows if not row.branch]
    hidden = [row for row in planted if row.same_outputs]
    red = sum(row.status == "failed" for row in hidden)
    body = [
        [
            row.cell,
            row.branch or "none",
            f"{row.strength:g}",
            "yes" if row.same_outputs else "no",
            row.status,
            row.detail,
        ]
        for row in rows
    ]
    header = ("cell", "branch", "strength", "same outputs", "structure", "detail")
    return (
        "\n\n".join(
            [
                "# Branches that act on one rare pattern",
                f"{len(hidden)} of {len(planted)} planted files give the right file's outputs on the "
                f"evaluation set, bit for bit; `structure` is red for {red} of them. It is green for "
                f"{sum(row.status == 'passed' for row in right)} of {len(right)} right files.",
                "To repeat it: `python -m meta_tests.measurements.side_branches FOLDER`.",
                table(header, [list(map(inline, row)) for row in body]),
            ]
        )
        + "\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table; 0 only if all right files are green and all planted ones red."""
    parser = argparse.ArgumentParser(prog="python -m meta_tests.measurements.side_branches")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", choices=TRAINED)
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    asked = parser.parse_args(arguments)
    good = True
    with tempfile.TemporaryDirectory() as scratch, told():
        for model in asked.model or SMALL:
            checkpoint = TRAINED[model].checkpoint(asked.folder, Path(scratch))
            if checkpoint is None:
                parser.error(f"{asked.folder}: has no {TRAINED[model].file}")
            found = []
            for row in rows_of(model, checkpoint, Path(scratch)):
                print(
                    f"{row.cell} {row.branch or 'right'} {row.strength:g}: {row.status} {row.detail}",
                    flush=True,
                )
                found.append(row)
                good &= row.status == ("failed" if row.branch else "passed")
            add(asked.output / NAME, found, Row, lambda row: (row.cell, row.branch, row.strength), document)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
