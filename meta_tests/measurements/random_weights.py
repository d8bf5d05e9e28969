"""Counts false alarms on random weights: the files of right converters, for weights that nobody looked at.

    python -m meta_tests.measurements.random_weights [--model NAME]... [--draws N] [--first SEED]

A draw has other random numbers of the kind and scale of the golden weights. As with those, the head is moved
so that the decisions on the evaluation set fall to either side (`ModelSpec.centred`): a network that always
decides alike proves nothing. Each draw's files are converted and judged as the gate does, once, in a store
that is deleted; the worker processes stay. A draw of a harness that was measured is not measured again.

Every file is right, so each failed claim is a false alarm, with one exception: `better_than_constant` says of
a right file that its precision is too coarse for these weights. It is counted apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meta_tests.measurements import measured_rows
from meta_tests.measurements.repeated_gates import cells_of, counted, ranges
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, Workers
from modelparity.fixtures.arrays import Array, Feeds
from modelparity.fixtures.goldens.weights import arrays_for
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.metrics.chance import most_likely_share
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import CellRecord, Claim
from modelparity.parity.session import Session
from modelparity.reports.markdown import inline, table

DATA = "random-weights.jsonl"
CHECK_BUDGET = CheckBudget(convert_again=False)  # whether a conversion repeats is no question of weights
LOST = "better_than_constant"


@dataclass(frozen=True)
class Row:
    """One cell of one draw.

    Attributes:
        draw: The number that the weights were drawn from.
        alarms: The claims that failed, with what they say, apart from lost outputs.
        lost: The outputs that are lost to the precision.
        undecided: The claims that are not decided, with their outputs.
        seconds: How long it took to convert and to judge.
    """

    cell: str
    model: str
    draw: int
    harness: str
    status: str
    claims: int
    alarms: tuple[str, ...]
    lost: tuple[str, ...]
    undecided: tuple[str, ...]
    seconds: float


def drawn(spec: ModelSpec, draw: int, feeds: Sequence[Feeds], workers: Workers, *, folder: Path) -> Path:
    """Writes the weights of a draw as a checkpoint, the head centred on the feeds.

    Raises:
        ValueError: all decisions of the head are alike nevertheless.
    """
    import torch

    from modelparity.fixtures.checkpoints.match import published_entries

    shapes = {key: shape for key, (shape, _) in published_entries(spec).items()}
    arrays = arrays_for(shapes, seed=f"draw {draw}")

    def write(name: str) -> Path:
        torch.save({key: torch.from_numpy(np.asarray(array)) for key, array in arrays.items()}, folder / name)
        return folder / name

    for key, index, _ in spec.centred:
        values = heads(spec, write("plain.pth"), feeds, workers)
        arrays[key].reshape(-1)[index] -= np.float32(_middle(values))
    path = write("weights.pth")
    if spec.centred and not 0 < np.count_nonzero(heads(spec, path, feeds, workers) > 0) < len(feeds):
        raise ValueError(f"{spec.name}, draw {draw}: the head decides alike on every image")
    return path


def heads(spec: ModelSpec, path: Path, feeds: Sequence[Feeds], workers: Workers) -> Array:
    """What the head gives for each image, as a logit: the first value of the first output."""
    first = spec.outputs[0]
    reply = workers["torch"].call(
        "modelparity.converters.engine.network:run", spec, path, feeds, threads=2, timeout=CONVERT_TIMEOUT_S
    )
    found = np.array([outputs[first.name].reshape(-1)[0] for outputs in reply.value], np.float64)
    return np.log(found / (1 - found)) if first.decision == "probability" else found


def _middle(values: Array) -> float:
    """Half of the values are above it."""
    ordered = np.sort(values)
    half = len(ordered) // 2
    return float(ordered[half - 1] + ordered[half]) / 2


def rows_of(
    model: str, draw: int, workers: Workers, on_row: Callable[[Row], None] = lambda _: None
) -> list[Row]:
    """Every cell of a model, with the weights of a draw, formats side by side."""
    spec = MODELS[model]
    images = evaluation_set(spec, spec.default_input_size, CHECK_BUDGET.images, CHECK_BUDGET.seed)
    with tempfile.TemporaryDirectory(prefix="modelparity-draw-") as folder:
        path = drawn(spec, draw, images.feeds, workers, folder=Path(folder))
        session = Session(
            Path(folder) / "store",
            {model: path},
            check_budget=CHECK_BUDGET,
            limitations={},
            workers=workers,
        )

        def lane(cells: Sequence[Cell]) -> list[Row]:
            found = []
            for cell in cells:
                started = time.monotonic()
                record = session.prove(cell)
                found.append(row_of(record, draw, time.monotonic() - started))
                on_row(found[-1])
            return found

        cells = cells_of(session, [model])
        lanes = [[cell for cell in cells if cell.format == format] for format in session.bench.converters]
        with ThreadPoolExecutor(max_workers=len(lanes)) as pool:
            futures = [pool.submit(lane, cells) for cells in lanes]
            try:
                return [row for future in futures for row in future.result()]
            except BaseException:
                workers.kill()  # the pool waits for its threads, and they for their children
                raise


def row_of(record: CellRecord, draw: int, seconds: float) -> Row:
    failed = [claim for claim in record.claims if claim.status == "failed"]
    alarms = [_words(claim) for claim in failed if claim.name != LOST]
    if record.status in ("errored", "crashed"):
        alarms.append(str(record.outcome)[:200])
    return Row(
        record.id,
        record.model,
        draw,
        harness_digest(),
        record.status,
        len(record.claims),
        tuple(alarms),
        tuple(str(claim.output) for claim in failed if claim.name == LOST),
        tuple(dict.fromkeys(_named(claim) for claim in record.claims if claim.status == "inconclusive")),
        round(seconds, 1),
    )


def _named(claim: Claim) -> str:
    return f"{claim.name} {claim.output or ''}".strip()


def _words(claim: Claim) -> str:
    return " ".join(f"{_named(claim)} {claim.observed} {claim.sense} {claim.bound} {claim.unit}".split())


def document(every: Sequence[Row]) -> str:
    title = [
        "# False alarms on random weights",
        "The files of right converters, for networks with other random weights of the kind and scale of the "
        "golden ones, the head centred so that decisions fall to either side. Every file is right, so every "
        "failed claim of the conversion is a false alarm. An output that is lost to the precision "
        "(`better_than_constant`) is none: it says that int8 is too coarse for these weights.",
        "To repeat it: `python -m meta_tests.measurements.random_weights --output reports/measurements`",
    ]
    return measured_rows.by_harness(title, every, _section)


def _section(every: Sequence[Row]) -> Iterator[str]:
    """A row for each cell: draws, claims, false alarms and what is not decided."""
    claims, alarms = sum(row.claims for row in every), sum(len(row.alarms) for row in every)
    cells = dict.fromkeys(row.cell for row in every)
    undecided, lost = sum(bool(row.undecided) for row in every), sum(bool(row.lost) for row in every)
    yield (
        f"{counted(alarms)} in {claims:,} claims on {len(every)} files: with 95 % confidence at most "
        f"{1000 * most_likely_share(alarms, claims):.2g} in 1,000. {undecided} of the files have claims that "
        f"are not decided, and {lost} outputs that are lost."
    )
    rows = []
    for cell in cells:
        mine = [row for row in every if row.cell == cell]
        told = [f"draw {row.draw}: {words}" for row in mine for words in row.alarms]
        open_ = dict.fromkeys(f"{name} ({_count(mine, name)})" for row in mine for name in row.undecided)
        lost = dict.fromkeys(name for row in mine for name in row.lost)
        seconds = sum(row.seconds for row in mine) / len(mine)
        numbers = [len(mine), ranges(row.draw for row in mine), sum(row.claims for row in mine)]
        words = [len(told), "; ".join(told), ", ".join(open_), ", ".join(lost), f"{seconds:.0f}"]
        rows.append([cell, *map(str, numbers), *(inline(str(word)) for word in words)])
    header = (
        "cell",
        "draws",
        "which",
        "claims",
        "false alarms",
        "which",
        "not decided (draws)",
        "lost",
        "s a draw",
    )
    yield table(header, rows)


def _count(rows: Sequence[Row], name: str) -> int:
    return sum(name in row.undecided for row in rows)


def _read(alarms: Sequence[str], lost: Sequence[str], undecided: Sequence[str], **data: Any) -> Row:
    return Row(**data, alarms=tuple(alarms), lost=tuple(lost), undecided=tuple(undecided))


def added(folder: Path, found: Sequence[Row]) -> list[Row]:
    """Adds rows to those in the folder, in the place of the same cell and draw, and writes both files."""
    return measured_rows.add(folder / DATA, found, _read, lambda row: (row.cell, row.draw), document)


def main(arguments: Sequence[str]) -> int:
    """Measures, and writes both files after each draw; 0 if no claim of the conversion failed."""
    parser = argparse.ArgumentParser(prog="python -m meta_tests.measurements.random_weights")
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    asked = parser.parse_args(arguments)
    known = {(row.model, row.draw) for row in added(asked.output, []) if row.harness == harness_digest()}
    with Workers() as workers, measured_rows.told():
        for model in asked.model or MODELS:
            for draw in range(asked.first, asked.first + asked.draws):
                if (model, draw) not in known:
                    found = rows_of(model, draw, workers, lambda row: print(_line(row), flush=True))
                    added(asked.output, found)
    rows = [row for row in added(asked.output, []) if row.harness == harness_digest()]
    alarms = sum(len(row.alarms) for row in rows)
    print(f"{counted(alarms)} in {sum(row.claims for row in rows)} claims on {len(rows)} files", flush=True)
    return 1 if alarms else 0


def _line(row: Row) -> str:
    words = [*row.alarms, *(f"{name} is lost" for name in row.lost)]
    words += [f"{name} is not decided" for name in row.undecided]
    return f"draw {row.draw} {row.cell} {row.seconds:.0f} s: {', '.join(words) or row.status}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
