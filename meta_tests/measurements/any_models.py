"""Proves networks of other people's packages, unmodified, and tables what became of each.

    python -m meta_tests.measurements.any_models [--model NAME]... [--format F]... [--quantization Q]... \\
        [--output DIR]

It needs torchvision, timm and transformers. Weights are random, from a fixed seed. What was measured by this
state of the harness is not measured again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meta_tests.measurements.any_model.networks import networks
from meta_tests.measurements.measured_rows import add, by_harness, read, told
from modelparity.api.model import Model
from modelparity.api.prove import cells_of, prove
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.errors import BadInputError
from modelparity.exit_codes import explained
from modelparity.parity.cells import CheckBudget
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.session import default_store
from modelparity.reports.failures import outcome_line
from modelparity.reports.markdown import inline, table
from modelparity.reports.view import Entry

NAME = "any-model.jsonl"
_BUDGET = CheckBudget(images=6, draws=3, batches=(3,), convert_again=False)


@dataclass(frozen=True)
class Row:
    """What became of one network in one cell; `said` is why it is not proven."""

    model: str
    package: str
    cell: str
    status: str
    claims: int
    headline: str
    said: str
    seconds: float
    harness: str


def rows_of(
    package: str, model: Model, formats: Sequence[str], quantizations: Sequence[str], store: Path
) -> list[Row]:
    """Every cell of a network; where it cannot be captured, every cell says why."""
    start, harness = time.monotonic(), harness_digest()
    try:
        proof = prove(model, formats, quantizations, store=store, check_budget=_BUDGET)
    except (WorkerFailedError, WorkerCrashedError, BadInputError) as error:
        said, _ = explained(error)
        seconds = round(time.monotonic() - start, 1)
        return [
            Row(model.label, package, cell.id, "refused", 0, "", said, seconds, harness)
            for cell in cells_of(model.label, formats, quantizations)
        ]
    seconds = round(time.monotonic() - start, 1)
    rows = []
    for record in proof.records:
        entry = Entry(record.id, record.model, record.format, record.quantization, record)
        wrong = [claim.detail for claim in proof.program if not claim.passed]
        said = "; ".join(wrong) or ("" if record.green else outcome_line(entry))
        status = "wrong program" if wrong else record.status
        claims = len(record.claims)
        rows.append(
            Row(model.label, package, record.id, status, claims, record.headline, said, seconds, harness)
        )
    return rows


def document(rows: Sequence[Row]) -> str:
    return by_harness(
        [
            "# Networks of other people's packages",
            "Unmodified networks with random weights, each declared in one to three lines "
            "(meta_tests/measurements/any_model/). A cell is `passed` where its file is proven; any other "
            "word has its reason below the table.",
            "To repeat it: `python -m meta_tests.measurements.any_models`.",
        ],
        rows,
        _section,
    )


def _section(rows: Sequence[Row]):  # type: ignore[no-untyped-def]
    columns = list(dict.fromkeys(row.cell.removeprefix(f"{row.model}-") for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    for column in columns:
        mine = [row for row in rows if row.cell.endswith(column)]
        passed = sum(row.status == "passed" for row in mine)
        yield f"{column}: {passed} of {len(mine)} networks proven."
    by_cell = {row.cell: row for row in rows}
    body = []
    for model in models:
        of_model = [by_cell.get(f"{model}-{column}") for column in columns]
        package = next(row.package for row in of_model if row)
        body.append([model, package, *(f"{row.status} {row.headline}" if row else "" for row in of_model)])
    yield table(("network", "package", *columns), [list(map(inline, line)) for line in body])
    said = [f"- {row.cell}: {inline(row.said)}" for row in rows if row.said]
    if said:
        yield "\n".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", default=[], metavar="NAME")
    parser.add_argument("--format", action="append", default=[], metavar="F")
    parser.add_argument("--quantization", action="append", default=[], metavar="Q")
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"), metavar="DIR")
    parser.add_argument("--store", type=Path, default=default_store(), metavar="DIR")
    asked = parser.parse_args()
    formats, quantizations = asked.format or ["onnx"], asked.quantization or ["fp32"]
    path = asked.output / NAME
    known = {row.cell for row in read(path, Row) if row.harness == harness_digest()}
    with told():
        for package, model in networks():
            if asked.model and model.label not in asked.model:
                continue
            if {cell.id for cell in cells_of(model.label, formats, quantizations)} <= known:
                continue
            rows = rows_of(package, model, formats, quantizations, asked.store)
            for row in rows:
                print(
                    f"{row.cell}: {row.status} {row.headline} {row.said[:300]} ({row.seconds} s)", flush=True
                )
            add(path, rows, Row, lambda row: (row.harness, row.package, row.cell), document)


if __name__ == "__main__":
    main()
