"""How far a right file's error varies from stream to stream: what bounds and budgets rest on.

    python -m meta_tests.measurements.seed_spread --output reports/measurements --seeds 20 32 ladeda

A stream is twelve crops and splices. Where an output is one number an image, its SQNR over a stream is
an estimate from twelve numbers, off by 2 dB, and a float file's worst error in floors is one number over
another; bounds must leave room for that, and budgets no more (`meta_tests.house.test_budgets`). Seeds are
others than those of the repeated gates, so that these prove something.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meta_tests.measurements import measured_rows
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance, tolerance_of
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.expectations import EXPECTATIONS
from modelparity.parity.judge import CheckBudget
from modelparity.parity.metrics.errors import Array
from modelparity.parity.reference import Outputs, Reference
from modelparity.parity.session import Session
from modelparity.reports.markdown import table

SEEDS = (20, 32)
FLOAT = "float_parity"
DATA, DOCUMENT = "seed-spread.jsonl", "seed-spread.md"


@dataclass(frozen=True)
class Reached:
    """What the file of a cell reached on the stream of a seed: dB, a share of detections, or floors."""

    cell: str
    seed: int
    claim: str
    output: str
    observed: float


@dataclass(frozen=True)
class Spread:
    """A bound beside what streams reached.

    `deviation` is a stream's, pooled over a model's int8 or float16 cells, and a float cell's own; `room` is
    how many of these lie between mean and bound. Of floors, which are ratios, `mean` is the geometric one and
    `deviation` the logarithm's.
    """

    cell: str
    claim: str
    output: str
    count: int
    nearest: float
    mean: float
    deviation: float
    bound: float

    @property
    def room(self) -> float:
        between = math.log(self.bound / self.mean) if self.claim == FLOAT else self.mean - self.bound
        return between / self.deviation if self.deviation else math.inf


def reached(cell: Cell, seed: int, reference: Reference, outputs: Sequence[Outputs]) -> Iterator[Reached]:
    """The numbers of the claims that hang on a bound of the cell, over one stream."""
    tolerance, pairs = tolerance_of(EXPECTATIONS[cell]), reference.paired(outputs)
    made = []
    for error in reference.errors(pairs):
        if isinstance(tolerance, FloatTolerance):
            made.append(basic.float_parity(reference, error, tolerance))
        else:
            made += basic.quantized_parity(reference, error, tolerance)
    if isinstance(tolerance, QuantizedTolerance):
        made += KIND_CLAIMS[reference.task].matches(reference, pairs, tolerance)[:1]
    for claim in made:
        yield Reached(cell.id, seed, claim.name, claim.output or "", float(claim.observed))


def measured(session: Session, model: str, on_stage: Callable[[str], None]) -> list[Reached]:
    """Every cell of a model, on the session's stream."""
    seed = session.check_budget.seed
    on_stage(f"seed {seed} {model}: reference")
    reference = session.truth(model).reference
    found: list[Reached] = []
    for cell in cells_of(model):
        path = session.artifact(model, cell.format, cell.quantization).path
        outputs = session.bench.run(cell.format, path, reference.feeds)
        found += reached(cell, seed, reference, outputs)
        on_stage(f"seed {seed} {cell.id}")
    return found


def cells_of(model: str) -> list[Cell]:
    return [cell for cell in EXPECTATIONS if cell.model == model]


def spreads(rows: Sequence[Reached]) -> list[Spread]:
    """A row a bound, in the order of the expectations."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        value = math.log(row.observed) if row.claim == FLOAT else row.observed
        values.setdefault((row.cell, row.claim, row.output), []).append(value)
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
            bound, mean = _bound(tolerance_of(EXPECTATIONS[cell]), claim, output), float(np.mean(own))
            nearest = min(own)
            if claim == FLOAT:
                nearest, mean = math.exp(max(own)), math.exp(mean)
            found.append(Spread(name, claim, output, len(own), nearest, mean, _pooled(alike), bound))
    return found


def _alike(name: str, cell: Cell) -> bool:
    """Whether a cell is the same model, in float16 both or in int8 both, or the same float cell.

    A float file's error over PyTorch's is a matter of its runtime, as is how much that varies.
    """
    if cell.quantization == "fp32":
        return name == cell.id
    model, _, quantization = name.rsplit("-", 2)
    return model == cell.model and quantization[:4] == cell.quantization[:4]


def _pooled(samples: Sequence[Array]) -> float:
    squares = sum(float(np.square(sample - sample.mean()).sum()) for sample in samples)
    return math.sqrt(squares / max(sum(len(sample) - 1 for sample in samples), 1))


def _bound(tolerance: FloatTolerance | QuantizedTolerance, claim: str, output: str) -> float:
    if isinstance(tolerance, FloatTolerance):
        return tolerance.of(output)
    if claim == "detections":
        return tolerance.matched
    return (tolerance.sqnr_db if claim == "sqnr" else tolerance.worst_sqnr_db)[output]


def read(folder: Path) -> list[Reached]:
    return measured_rows.read(folder / DATA, Reached)


def written(folder: Path, found: Sequence[Reached]) -> None:
    """Adds rows to those in the folder, in the place of the same cell and seed, and writes both files."""
    measured_rows.add(
        folder / DATA,
        found,
        Reached,
        lambda row: (row.cell, row.seed, row.claim, row.output),
        lambda rows: document(spreads(rows)),
    )


def document(found: Sequence[Spread]) -> str:
    header = ("cell", "claim", "output", "streams", "nearest", "mean", "deviation", "bound", "room")
    rows = [
        [
            s.cell,
            s.claim,
            s.output,
            str(s.count),
            *(f"{x:.3g}" for x in (s.nearest, s.mean, s.deviation, s.bound)),
            f"{s.room:.1f}",
        ]
        for s in found
    ]
    return (
        "\n\n".join(
            (
                "# Bounds, and what evaluation sets reach",
                "Right files on evaluation sets with other seeds than any gate's: SQNR in dB, detections "
                "as a share, errors of float files in floors. `streams` is the number of evaluation "
                "sets. `deviation` is the standard deviation between them, pooled over the int8 or the "
                "float16 cells of a model, or that of a float cell alone; `room` is the distance from "
                "the mean to the bound in deviations. For floors, which are ratios, the mean is "
                "geometric and the deviation is that of the logarithm.",
                "To repeat it: "
                "`python -m meta_tests.measurements.seed_spread --output reports/measurements MODEL...`",
                table(header, rows),
            )
        )
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what bounds rest on.")
    parser.add_argument("models", nargs="+", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs=2, default=SEEDS, metavar=("FIRST", "END"))
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    wanted = parser.parse_args()
    for model in wanted.models:
        for seed in range(*wanted.seeds):
            with measured_rows.measuring(Session(check_budget=CheckBudget(seed=seed))) as session:
                found = measured(session, model, functools.partial(print, flush=True))
            written(wanted.output, found)


if __name__ == "__main__":
    with measured_rows.told():
        main()
