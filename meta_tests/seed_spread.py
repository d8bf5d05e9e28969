"""How far a right quantized file's SQNR varies from stream to stream: what budgets rest on.

    python -m meta_tests.seed_spread --output reports --seeds 20 32 ladeda

A stream is twelve crops and splices. Where an output is one number an image, its SQNR over a stream is
an estimate from twelve numbers, off by 2 dB; budgets must leave room for that, and no more
(`meta_tests.test_budgets`). Seeds are others than those of the repeated gates, so that these prove something.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fixtures.specs import MODELS
from meta_tests import measured_rows
from modelparity.session import Session
from parity import claims
from parity.cells import Cell
from parity.expectations import EXPECTATIONS, Limitation, QuantizedTolerance
from parity.judge import Effort
from parity.metrics import Array
from parity.reference import Outputs, Reference
from reports.markdown import table

SEEDS = (20, 32)
DATA, DOCUMENT = "seed-spread.jsonl", "seed-spread.md"


@dataclass(frozen=True)
class Reached:
    """What the file of a cell reached on the stream of a seed, in dB, or as a share of detections."""

    cell: str
    seed: int
    claim: str
    output: str
    observed: float


@dataclass(frozen=True)
class Spread:
    """A budget beside what streams reached.

    `deviation` is a stream's, pooled over a model's int8 or float16 cells; `room` is how many of these the
    budget lies below the mean.
    """

    cell: str
    claim: str
    output: str
    count: int
    lowest: float
    mean: float
    deviation: float
    bound: float

    @property
    def room(self) -> float:
        return (self.mean - self.bound) / self.deviation if self.deviation else math.inf


def budget_of(cell: Cell) -> QuantizedTolerance:
    """What a quantized cell must reach, or would have to without its limitation."""
    expectation = EXPECTATIONS[cell]
    tolerance = expectation.tolerance if isinstance(expectation, Limitation) else expectation
    assert isinstance(tolerance, QuantizedTolerance)
    return tolerance


def reached(cell: Cell, seed: int, reference: Reference, outputs: Sequence[Outputs]) -> Iterator[Reached]:
    """The numbers of the claims that hang on a budget, over one stream."""
    tolerance, pairs = budget_of(cell), reference.paired(outputs)
    made = [
        claim
        for error in reference.errors(pairs)
        for claim in claims.quantized_parity(reference, error, tolerance)
    ]
    if reference.task == "detection":
        made.append(claims.detections(reference, pairs, tolerance)[0])
    for claim in made:
        yield Reached(cell.id, seed, claim.name, claim.output or "", float(claim.observed))


def measured(model: str, seed: int) -> list[Reached]:
    """Every quantized cell of a model, on one stream."""
    with Session(effort=Effort(seed=seed)) as session:
        reference = session.truth(model).reference
        found: list[Reached] = []
        for cell in quantized(model):
            path = session.artifact(model, cell.format, cell.quantization).path
            outputs = session.bench.run(cell.format, path, reference.feeds)
            found += reached(cell, seed, reference, outputs)
        return found


def quantized(model: str) -> list[Cell]:
    return [cell for cell in EXPECTATIONS if cell.model == model and cell.quantization != "fp32"]


def spreads(rows: Sequence[Reached]) -> list[Spread]:
    """A row a budget, in the order of the expectations."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        values.setdefault((row.cell, row.claim, row.output), []).append(row.observed)
    found = []
    for cell in EXPECTATIONS:
        for (name, claim, output), own in values.items():
            if name != cell.id:
                continue
            alike = [
                np.array(other)
                for (twin, *rest), other in values.items()
                if rest == [claim, output] and _alike(twin, cell)
            ]
            bound = _bound(budget_of(cell), claim, output)
            found.append(
                Spread(name, claim, output, len(own), min(own), float(np.mean(own)), _pooled(alike), bound)
            )
    return found


def _alike(name: str, cell: Cell) -> bool:
    """Whether a cell is the same model, in float16 both or in int8 both."""
    return name.rsplit("-", 2)[0] == cell.model and ("fp16" in name) == (cell.quantization == "fp16")


def _pooled(samples: Sequence[Array]) -> float:
    squares = sum(float(np.square(sample - sample.mean()).sum()) for sample in samples)
    return math.sqrt(squares / max(sum(len(sample) - 1 for sample in samples), 1))


def _bound(tolerance: QuantizedTolerance, claim: str, output: str) -> float:
    if claim == "detections":
        return tolerance.matched
    return (tolerance.sqnr_db if claim == "sqnr" else tolerance.worst_sqnr_db)[output]


def read(folder: Path) -> list[Reached]:
    return measured_rows.read(folder / DATA, Reached)


def written(folder: Path, found: Sequence[Reached]) -> None:
    """Adds rows to those in the folder, in the place of the same cell and seed, and writes both files."""
    measured_rows.write(
        folder / DATA,
        [*read(folder), *found],
        lambda row: (row.cell, row.seed, row.claim, row.output),
        lambda rows: document(spreads(rows)),
    )


def document(found: Sequence[Spread]) -> str:
    header = ("cell", "claim", "output", "streams", "lowest", "mean", "deviation", "budget", "room")
    rows = [
        [
            s.cell,
            s.claim,
            s.output,
            str(s.count),
            *(f"{x:.3g}" for x in (s.lowest, s.mean, s.deviation, s.bound)),
            f"{s.room:.1f}",
        ]
        for s in found
    ]
    return (
        "\n\n".join(
            (
                "# Budgets beside what streams reach",
                "Right quantized files on streams of other seeds than any gate's: SQNR in dB, detections as "
                "a share. `deviation` is a stream's, pooled over a model's int8 or float16 cells; `room` is "
                "how many of these the budget lies below the mean.",
                "How to repeat it: `python -m meta_tests.seed_spread --output reports MODEL...`",
                table(header, rows),
            )
        )
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what budgets rest on.")
    parser.add_argument("models", nargs="+", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs=2, default=SEEDS, metavar=("FIRST", "END"))
    parser.add_argument("--output", type=Path, default=Path("reports"))
    wanted = parser.parse_args()
    for model in wanted.models:
        for seed in range(*wanted.seeds):
            written(wanted.output, measured(model, seed))
            print(f"{model}, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
