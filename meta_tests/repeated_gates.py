"""False alarms, counted: right files proven again and again on other streams, other draws, other threads.

    python -m meta_tests.repeated_gates --output reports tiny_ladeda

A proof of seed 0 on one thread is the gate's own. Each further one crops and splices the evaluation
photographs anew, draws other inputs and runs the files on 1 to 4 threads in turn; files, bounds and claims
are the same. What was proven is kept in the store, so a stopped run goes on. Not a test: 20 proofs of a
large network's cells are hours. Runs of other seeds (`--seeds`) can go side by side, in the same folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from fixtures.specs import MODELS
from meta_tests import measured_rows
from modelparity.session import Session
from parity.cells import Cell
from parity.evidence import harness_digest
from parity.judge import Effort
from parity.results import CellRecord
from reports.markdown import table

SEEDS, THREADS = (0, 20), 4
DATA, DOCUMENT = "repeated-gates.jsonl", "repeated-gates.md"


@dataclass(frozen=True)
class Proof:
    """One cell under one seed. `alarms` are the claims that did not hold, with what they say."""

    cell: str
    sha256: str
    harness: str
    seed: int
    threads: int
    status: str
    green: bool
    claims: int
    alarms: tuple[str, ...] = ()


def efforts(first: int, end: int) -> Iterator[Effort]:
    """The gate's own, and others; converting again and stored inputs are no question of seeds."""
    for seed in range(first, end):
        yield Effort(seed=seed, threads=1 + seed % THREADS, convert_again=False, replay=seed == 0)


def proofs(session: Session, models: Sequence[str]) -> list[Proof]:
    """Every cell of the models, once; one after the other, so that all of a model's share its references."""
    try:
        return [_proof(session, cell) for cell in session.expectations if cell.model in models]
    except BaseException:
        session.workers.kill()  # closing waits for what they are at
        raise


def _proof(session: Session, cell: Cell) -> Proof:
    record = session.prove(cell)
    effort = session.effort
    sha256 = record.artifact.sha256 if record.artifact else ""
    alarms = () if record.green else _alarms(record)
    return Proof(
        record.id,
        sha256,
        harness_digest(),
        effort.seed,
        effort.threads,
        record.status,
        record.green,
        len(record.claims),
        alarms,
    )


def _alarms(record: CellRecord) -> tuple[str, ...]:
    """What is said against a cell that is not green."""
    false = [claim for claim in record.claims if not claim.passed]
    words = [f"{c.name} {c.output or ''} {c.observed} {c.sense} {c.bound} {c.unit}" for c in false]
    return tuple(" ".join(text.split()) for text in words) or (str(record.outcome)[:200],)


def written(folder: Path, found: Sequence[Proof]) -> list[Proof]:
    """Adds proofs to those in the folder, in the place of the same cell and seed, and writes both files."""
    path = folder / DATA
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        return measured_rows.write(
            path, [*measured_rows.read(path, _read), *found], lambda proof: (proof.cell, proof.seed), document
        )


def _read(alarms: Sequence[str], **data: Any) -> Proof:
    return Proof(**data, alarms=tuple(alarms))


def document(every: Sequence[Proof]) -> str:
    """A row a cell: how many proofs, on which threads, and which claims raised an alarm."""
    red = [proof for proof in every if not proof.green]
    cells = dict.fromkeys(proof.cell for proof in every)
    rows = []
    for cell in cells:
        mine = [proof for proof in every if proof.cell == cell]
        false = [proof for proof in mine if not proof.green]
        told = "; ".join(f"seed {p.seed}, {p.threads} threads: {', '.join(p.alarms)}" for p in false)
        seeds = f"{mine[0].seed} to {mine[-1].seed}"
        threads = ", ".join(map(str, sorted({proof.threads for proof in mine})))
        claims = str(sum(proof.claims for proof in mine))
        rows.append([cell, str(len(mine)), seeds, threads, claims, str(len(false)), told.replace("|", "/")])
    header = ("cell", "proofs", "seeds", "threads", "claims", "false alarms", "which")
    harnesses = ", ".join(sorted({proof.harness for proof in every}))
    return (
        "\n\n".join(
            (
                "# False alarms",
                f"{len(red)} false alarms in {len(every)} proofs of {len(cells)} right files (harness "
                f"{harnesses}): other crops and splices of the photographs, other drawn inputs, other "
                "numbers of threads; the same files, claims and bounds.",
                "How to repeat it: `python -m meta_tests.repeated_gates --output reports MODEL...`",
                table(header, rows),
            )
        )
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts false alarms over repeated proofs.")
    parser.add_argument("models", nargs="+", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs=2, default=SEEDS, metavar=("FIRST", "END"))
    parser.add_argument("--output", type=Path, default=Path("reports"))
    wanted = parser.parse_args()
    for effort in efforts(*wanted.seeds):
        with Session(effort=effort) as session:
            found = proofs(session, wanted.models)
        every = written(wanted.output, found)
        red = [proof for proof in found if not proof.green]
        print(
            f"seed {effort.seed}, {effort.threads} threads: {len(found) - len(red)} of {len(found)} green",
            flush=True,
        )
        for proof in red:
            print(f"  {proof.cell}: {', '.join(proof.alarms)}", flush=True)
    print(f"{sum(not proof.green for proof in every)} false alarms in {len(every)} proofs", flush=True)


if __name__ == "__main__":
    main()
