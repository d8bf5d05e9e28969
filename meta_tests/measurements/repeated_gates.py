"""False alarms, counted: right files proven again and again on other streams, other draws, other threads.

    python -m meta_tests.measurements.repeated_gates --output reports/measurements tiny_ladeda

A proof of seed 0 on one thread is the gate's own. Each further one crops and splices the evaluation
photographs anew, draws other inputs and runs the files on 1 to 4 threads in turn; files, bounds and claims
are the same. What was proven is kept in the store, so a stopped run goes on. Not a test: 20 proofs of a
large network's cells are hours. Runs of other seeds (`--seeds`) can go side by side, in the same folder.

Twenty times no alarm says little of the twenty-first. So the distance of every number from its bound is kept,
too: how many of its own standard deviations lie between tells of alarms before they are raised.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meta_tests.measurements import measured_rows
from modelparity.fixtures.models import MODELS
from modelparity.parity.cells import Cell
from modelparity.parity.judge import CheckBudget
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import CellRecord, Claim
from modelparity.parity.session import Session
from modelparity.reports.markdown import table

SEEDS, THREADS = (0, 20), 4
DATA, DOCUMENT = "repeated-gates.jsonl", "repeated-gates.md"
COUNTS = ("objects", "detections")
ENOUGH, SHOWN = 5, 30


@dataclass(frozen=True)
class Proof:
    """One cell under one seed. `alarms` are the claims that did not hold, with what they say.

    `room` is how far numbers were from their bounds, by claim and output (`room_of`).
    """

    cell: str
    sha256: str
    harness: str
    seed: int
    threads: int
    status: str
    green: bool
    claims: int
    alarms: tuple[str, ...] = ()
    room: Mapping[str, float] = field(default_factory=dict)


def efforts(first: int, end: int) -> Iterator[CheckBudget]:
    """The gate's own, and others; converting again and stored inputs are no question of seeds."""
    for seed in range(first, end):
        yield CheckBudget(seed=seed, threads=1 + seed % THREADS, convert_again=False, replay=seed == 0)


def proofs(
    session: Session, models: Sequence[str], on_proof: Callable[[Proof], None] = lambda _: None
) -> list[Proof]:
    """Every cell of the models, once; one after the other, so that all of a model's share its references."""
    found = []
    for cell in session.expectations:
        if cell.model in models:
            found.append(_proof(session, cell))
            on_proof(found[-1])
    return found


def _proof(session: Session, cell: Cell) -> Proof:
    record = session.prove(cell)
    check_budget = session.check_budget
    sha256 = record.artifact.sha256 if record.artifact else ""
    alarms = () if record.green else _alarms(record)
    return Proof(
        record.id,
        sha256,
        harness_digest(),
        check_budget.seed,
        check_budget.threads,
        record.status,
        record.green,
        len(record.claims),
        alarms,
        rooms(record.claims),
    )


def rooms(claims: Sequence[Claim]) -> dict[str, float]:
    """By claim and output; the least where one is asked of several inputs."""
    known = ((f"{c.name} {c.output or ''}".strip(), room_of(c)) for c in claims)
    found: dict[str, float] = {}
    for name, room in known:
        if room is not None:
            found[name] = round(min(room, found.get(name, room)), 4)
    return found


def room_of(claim: Claim) -> float | None:
    """From what was observed to the bound: in dB, whatever the unit; counts in what they count.

    None where a claim has no such numbers, or no error at all.
    """
    observed, bound = claim.observed, claim.bound
    if claim.sense == "=" or isinstance(observed, bool | str | None) or isinstance(bound, bool | str | None):
        return None
    sign = 1 if claim.sense == ">=" else -1
    if claim.unit == "dB" or claim.unit in COUNTS:
        return float(sign * (observed - bound))
    return sign * 20 * math.log10(observed / bound) if observed > 0 and bound > 0 else None


def _alarms(record: CellRecord) -> tuple[str, ...]:
    """What is said against a cell that is not green."""
    false = [claim for claim in record.claims if not claim.passed]
    words = [f"{c.name} {c.output or ''} {c.observed} {c.sense} {c.bound} {c.unit}" for c in false]
    return tuple(" ".join(text.split()) for text in words) or (str(record.outcome)[:200],)


def written(folder: Path, found: Sequence[Proof]) -> list[Proof]:
    """Adds proofs to those in the folder, in the place of the same cell and seed, and writes both files."""
    return measured_rows.add(folder / DATA, found, _read, lambda proof: (proof.cell, proof.seed), document)


def _read(alarms: Sequence[str], **data: Any) -> Proof:
    return Proof(**data, alarms=tuple(alarms))


def document(every: Sequence[Proof]) -> str:
    """A section a state of the harness, that of this source first."""
    states = sorted({proof.harness for proof in every}, key=lambda state: (state != harness_digest(), state))
    parts = [
        "# False alarms",
        "Right files, proven again with other crops and splices of the photographs, other generated "
        "inputs and other numbers of threads. Files, claims and bounds are the same.",
        "To repeat it: "
        "`python -m meta_tests.measurements.repeated_gates --output reports/measurements MODEL...`",
    ]
    for state in states:
        mine = [proof for proof in every if proof.harness == state]
        parts += [f"## Harness {state}", *_section(mine)]
    return "\n\n".join(parts) + "\n"


def _section(every: Sequence[Proof]) -> Iterator[str]:
    """A row a cell: how many proofs, on which threads, which claims raised an alarm; then what came near."""
    red = [proof for proof in every if not proof.green]
    cells = dict.fromkeys(proof.cell for proof in every)
    rows = []
    for cell in cells:
        mine = [proof for proof in every if proof.cell == cell]
        false = [proof for proof in mine if not proof.green]
        told = "; ".join(f"seed {p.seed}, {p.threads} threads: {', '.join(p.alarms)}" for p in false)
        seeds = ranges(proof.seed for proof in mine)
        threads = ", ".join(map(str, sorted({proof.threads for proof in mine})))
        claims = str(sum(proof.claims for proof in mine))
        rows.append([cell, str(len(mine)), seeds, threads, claims, str(len(false)), told.replace("|", "/")])
    header = ("cell", "proofs", "seeds", "threads", "claims", "false alarms", "which")
    yield f"{counted(len(red))} in {len(every)} proofs of {len(cells)} right files."
    yield table(header, rows)
    if near := nearest(every):
        yield (
            f"### Nearest to their bounds\n\nThe {len(near)} numbers that came nearest, of those with "
            f"{ENOUGH} proofs or more. `room` is the distance to the bound: in dB, or a count for objects "
            "and detections. `deviations` is the distance of the median room from the bound in standard "
            "deviations, computed from the half below the median. A normally distributed number at 3 "
            "raises an alarm in 1 of 740 proofs, at 4 in 1 of 31,000."
        )
        header = ("cell", "number", "proofs", "least room", "median room", "deviations")
        yield table(header, [[*row[:2], str(row[2]), *(f"{x:.3g}" for x in row[3:])] for row in near])


def ranges(numbers: Iterable[int]) -> str:
    """1, 2, 3, 7 -> "1 to 3, 7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def counted(alarms: int) -> str:
    return "1 false alarm" if alarms == 1 else f"{alarms} false alarms"


def nearest(every: Sequence[Proof]) -> list[tuple[str, str, int, float, float, float]]:
    """Cell, number, proofs, least and median room, deviations from the bound; nearest first.

    Rooms are skewed, without end where a file happens to round as its reference does. So a deviation is
    that of the half below the median, about it.
    """
    every_room: dict[tuple[str, str], list[float]] = {}
    for proof in every:
        for number, room in proof.room.items():
            every_room.setdefault((proof.cell, number), []).append(room)
    found = []
    for (cell, number), values in every_room.items():
        median = statistics.median(values)
        below = [value - median for value in values if value <= median]
        deviation = math.sqrt(statistics.fmean(value**2 for value in below))
        if len(values) >= ENOUGH and deviation:
            found.append((cell, number, len(values), min(values), median, median / deviation))
    return sorted((row for row in found if row[-1] > 0), key=lambda row: row[-1])[:SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts false alarms over repeated proofs.")
    parser.add_argument("models", nargs="+", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs=2, default=SEEDS, metavar=("FIRST", "END"))
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    wanted = parser.parse_args()
    for check_budget in efforts(*wanted.seeds):
        with measured_rows.measuring(Session(check_budget=check_budget)) as session:
            found = proofs(session, wanted.models, lambda proof: print(_line(proof), flush=True))
        every = written(wanted.output, found)
        green = sum(proof.green for proof in found)
        print(
            f"seed {check_budget.seed}, {check_budget.threads} threads: {green} of {len(found)} green",
            flush=True,
        )
    print(f"{counted(sum(not proof.green for proof in every))} in {len(every)} proofs", flush=True)


def _line(proof: Proof) -> str:
    return f"seed {proof.seed} {proof.cell} {'green' if proof.green else ', '.join(proof.alarms)}"


if __name__ == "__main__":
    with measured_rows.told():
        main()
