"""Counts false alarms: right files are proven again, on other evaluation sets, draws and threads.

    python -m meta_tests.measurements.repeated_gates --output reports/measurements tiny_ladeda

A proof of seed 0 on one thread is the gate's own. Each further one crops and splices the evaluation
photographs anew, draws other inputs and runs the files on 1 to 4 threads in turn. Files and claims are the
same; bounds follow from the reference of each evaluation set. What was proven is kept in the store, so a
stopped run goes on. This is not a test: 20 proofs of a large network's cells take hours. Runs of other seeds
(`--seeds`) can go side by side, in the same folder.

A false alarm is a claim that failed. A claim that is not decided is no alarm, and is counted apart.

Twenty proofs without an alarm say little of the twenty-first. So the distance of every number from its bound
is kept, too. Divided by the number's own standard deviation, it shows alarms before they are raised.
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
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.models import MODELS
from modelparity.parity.cells import Cell, CheckBudget
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import CellRecord, Claim
from modelparity.parity.session import Session
from modelparity.reports.markdown import table

SEEDS, THREADS = (0, 20), 4
DATA, DOCUMENT = "repeated-gates.jsonl", "repeated-gates.md"
RATIOS = ("floors", "bounds", "errors", "levels", "")  # units of amplitudes; dB, shares and counts are none
ENOUGH, SHOWN = 5, 30


@dataclass(frozen=True)
class Proof:
    """One cell under one seed.

    Attributes:
        alarms: The claims that failed, with what they say.
        undecided: The claims that are not decided, with their outputs.
        room: How far numbers were from their bounds, by claim and output (`room_of`).
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
    undecided: tuple[str, ...] = ()


def efforts(first: int, end: int) -> Iterator[CheckBudget]:
    """The gate's own, and others; converting again and stored inputs are no question of seeds."""
    for seed in range(first, end):
        yield CheckBudget(seed=seed, threads=1 + seed % THREADS, convert_again=False, replay=seed == 0)


def proofs(
    session: Session, models: Sequence[str], on_proof: Callable[[Proof], None] = lambda _: None
) -> list[Proof]:
    """Every cell of the models, once; one after the other, so that all of a model's share its references."""
    found = []
    for cell in cells_of(session, models):
        found.append(_proof(session, cell))
        on_proof(found[-1])
    return found


def cells_of(session: Session, models: Sequence[str]) -> list[Cell]:
    """The cells of the models that the session's converters make."""
    return [
        Cell(model, format, quantization)
        for model in session.models
        if model in models
        for format, converter in session.bench.converters.items()
        for quantization in QUANTIZATIONS
        if converter.makes(quantization)
    ]


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
        tuple(dict.fromkeys(_named(claim) for claim in record.claims if claim.status == "inconclusive")),
    )


def rooms(claims: Sequence[Claim]) -> dict[str, float]:
    """By claim and output; the least where one is asked of several inputs. None of what is not decided."""
    found: dict[str, float] = {}
    for claim in claims:
        room, name = room_of(claim), _named(claim)
        if room is not None and claim.status != "inconclusive":
            found[name] = round(min(room, found.get(name, room)), 4)
    return found


def _named(claim: Claim) -> str:
    return f"{claim.name} {claim.output or ''}".strip()


def room_of(claim: Claim) -> float | None:
    """From what was observed to the bound.

    It is in dB, but for counts and for noise-to-signal ratios. None where a claim has no such numbers, or no
    error at all.
    """
    observed, bound = claim.observed, claim.bound
    if claim.sense == "=" or isinstance(observed, bool | str | None) or isinstance(bound, bool | str | None):
        return None
    sign = 1 if claim.sense == ">=" else -1
    if claim.unit not in RATIOS:
        return float(sign * (observed - bound))
    return sign * 20 * math.log10(observed / bound) if observed > 0 and bound > 0 else None


def _alarms(record: CellRecord) -> tuple[str, ...]:
    """What is said against a cell that is not green; nothing where it is not decided."""
    false = [claim for claim in record.claims if claim.status == "failed"]
    words = [f"{c.name} {c.output or ''} {c.observed} {c.sense} {c.bound} {c.unit}" for c in false]
    if not words and record.status != "inconclusive":
        words = [str(record.outcome)[:200]]
    return tuple(" ".join(text.split()) for text in words)


def written(folder: Path, found: Sequence[Proof]) -> list[Proof]:
    """Adds proofs to those in the folder, in the place of the same cell and seed, and writes both files."""
    return measured_rows.add(folder / DATA, found, _read, lambda proof: (proof.cell, proof.seed), document)


def _read(alarms: Sequence[str], undecided: Sequence[str] = (), **data: Any) -> Proof:
    return Proof(**data, alarms=tuple(alarms), undecided=tuple(undecided))


def document(every: Sequence[Proof]) -> str:
    title = [
        "# False alarms",
        "Right files, proven again with other crops and splices of the photographs, other generated "
        "inputs and other numbers of threads. Files and claims are the same; bounds follow from the "
        "reference of each evaluation set.",
        "To repeat it: "
        "`python -m meta_tests.measurements.repeated_gates --output reports/measurements MODEL...`",
    ]
    return measured_rows.by_harness(title, every, _section)


def _section(every: Sequence[Proof]) -> Iterator[str]:
    """A row for each cell: proofs, threads, and the claims that raised an alarm; then what came near."""
    red = [proof for proof in every if proof.alarms]
    undecided = [proof for proof in every if proof.undecided]
    cells = dict.fromkeys(proof.cell for proof in every)
    rows = []
    for cell in cells:
        mine = [proof for proof in every if proof.cell == cell]
        false = [proof for proof in mine if proof.alarms]
        told = "; ".join(f"seed {p.seed}, {p.threads} threads: {', '.join(p.alarms)}" for p in false)
        open_ = [proof for proof in mine if proof.undecided]
        which = "; ".join(dict.fromkeys(name for proof in open_ for name in proof.undecided))
        seeds = ranges(proof.seed for proof in mine)
        threads = ", ".join(map(str, sorted({proof.threads for proof in mine})))
        claims = str(sum(proof.claims for proof in mine))
        row = [cell, str(len(mine)), seeds, threads, claims, str(len(false)), told.replace("|", "/")]
        rows.append([*row, str(len(open_)), which])
    header = (
        *("cell", "proofs", "seeds", "threads", "claims", "false alarms", "which"),
        *("not decided", "which"),
    )
    apart = f" In {len(undecided)} of the proofs, claims are not decided." if undecided else ""
    yield f"{counted(len(red))} in {len(every)} proofs of {len(cells)} right files.{apart}"
    yield table(header, rows)
    if near := nearest(every):
        yield (
            f"### Nearest to their bounds\n\nThe {len(near)} numbers that came nearest, of those with "
            f"{ENOUGH} proofs or more. `room` is the distance to the bound: in dB, a count where "
            "things are counted, or a noise-to-signal ratio for `better_than_constant`. `deviations` is the "
            "distance of the median room from the bound in standard deviations, computed from the half below "
            "the median. A normally distributed number at 3 raises an alarm in 1 of 740 proofs, at 4 in 1 of "
            "31,000."
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
    print(f"{counted(sum(bool(proof.alarms) for proof in every))} in {len(every)} proofs", flush=True)


def _line(proof: Proof) -> str:
    words = [*proof.alarms, *(f"{name} is not decided" for name in proof.undecided)]
    return f"seed {proof.seed} {proof.cell} {', '.join(words) or 'green'}"


if __name__ == "__main__":
    with measured_rows.told():
        main()
