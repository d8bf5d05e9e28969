"""Runs the int8 ONNX files on another kind of x86 CPU, emulated, and judges what they compute there.

    python -m meta_tests.measurements.other_cpus [--model NAME]... [--cpu Haswell] [--output DIR]

CPUs without VNNI add two products of uint8 and int8 in 16 bits, which saturate, so that one file can compute
different numbers on two machines. qemu's user emulation (`qemu-x86_64`, in Debian's package qemu-user) has
the instructions of such a CPU, for which ONNX Runtime then chooses its kernels. A file passes if its claims
`simulated` hold on both machines.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meta_tests.measurements.measured_rows import add, measuring, told
from modelparity.converters.onnx.format import CONVERTER
from modelparity.converters.onnx.runner import OnnxRunner
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.models import MODELS
from modelparity.parity.cells import Cell
from modelparity.parity.claims import simulated
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.rounded_reference import rounded_reference
from modelparity.parity.session import Session
from modelparity.reports.markdown import inline, table

NAME = "other-cpus.jsonl"
_EMULATOR = "qemu-x86_64"


@dataclass(frozen=True)
class Row:
    """One file: whether it is right on this machine and on the emulated CPU.

    `differs` is the share of values that differ between the two, `here` and `there` are the claims' words.
    `verdict` is "right", "wrong here", "wrong there", or "not decided".
    """

    cell: str
    cpu: str
    images: int
    differs: float
    here: str
    there: str
    verdict: str
    harness: str


def emulated(path: Path, feeds: Sequence[Feeds], cpu: str) -> list[Outputs]:
    """The outputs of a file on an emulated CPU, in the session that users open.

    Raises:
        subprocess.CalledProcessError: the emulated process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "feeds.npz", Path(folder) / "outputs.npz"
        np.savez(given, **_named(feeds))
        command = [_EMULATOR, "-cpu", cpu, sys.executable, "-m", __spec__.name, "--run", path, given, made]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
        with np.load(made) as file:
            return _by_place(file)


def _named(runs: Sequence[Feeds]) -> dict[str, np.ndarray]:
    return {f"{place}/{name}": value for place, run in enumerate(runs) for name, value in run.items()}


def _by_place(file: np.lib.npyio.NpzFile) -> list[dict[str, np.ndarray]]:
    found: dict[int, dict[str, np.ndarray]] = {}
    for key in file.files:
        place, _, name = key.partition("/")
        found.setdefault(int(place), {})[name] = file[key]
    return [found[place] for place in sorted(found)]


def _run(path: Path, given: Path, made: Path) -> None:
    """What runs on the emulated CPU."""
    with np.load(given) as file, OnnxRunner(path) as runner:
        outputs = [runner.run(feed) for feed in _by_place(file)]
    np.savez(made, **_named(outputs))


def row_of(session: Session, cell: Cell, cpu: str, images: int) -> Row:
    artifact = session.artifact(cell.model, cell.format, cell.quantization)
    truth = session.truth(cell.model)
    right = rounded_reference(session.bench, truth, artifact.path, images=images, others={})
    if isinstance(right, str):
        return Row(cell.id, cpu, images, 0.0, right, "", "not decided", harness_digest())
    feeds = right.reference.feeds
    here = session.bench.run(cell.format, artifact.path, feeds, threads=1, fresh=True)
    there = emulated(artifact.path, feeds, cpu)
    claims = [simulated.agree(right.reference, right.reference.paired(runs)) for runs in (here, there)]
    words = ["; ".join(f"{c.output} {c.observed} dB for {c.bound}" for c in found) for found in claims]
    values = [np.concatenate([value.ravel() for value in _named(runs).values()]) for runs in (here, there)]
    differs = float(np.mean(values[0] != values[1]))
    failed = [any(claim.status == "failed" for claim in found) for found in claims]
    undecided = any(claim.status == "inconclusive" for found in claims for claim in found)
    verdict = "not decided" if undecided else "right"
    verdict = "wrong here" if failed[0] else "wrong there" if failed[1] else verdict
    return Row(cell.id, cpu, len(feeds), differs, words[0], words[1], verdict, harness_digest())


def document(rows: Sequence[Row]) -> str:
    right = sum(row.verdict == "right" for row in rows)
    undecided = sum(row.verdict == "not decided" for row in rows)
    header = ("cell", "CPU", "images", "values that differ", "here", "there", "verdict", "harness")
    body = [
        [
            row.cell,
            row.cpu,
            str(row.images),
            f"{row.differs:.2%}",
            row.here,
            row.there,
            row.verdict,
            row.harness,
        ]
        for row in rows
    ]
    return (
        "\n\n".join(
            [
                "# int8 files on another CPU",
                f"{right} of {len(rows)} int8 files of ONNX are right on this machine and on an emulated x86 "
                "CPU without VNNI, where sums of two products of uint8 and int8 saturate in 16 bits; of "
                f"{undecided}, ties move the outputs so far that it is not decided. A number is how near the "
                "outputs are to the simulated rounding, and how near they must be. Values differ between the "
                "two at all because float kernels are other ones there.",
                "To repeat it: `python -m meta_tests.measurements.other_cpus --output reports/measurements`. "
                "It needs `qemu-x86_64` (Debian's package qemu-user).",
                table(header, [list(map(inline, row)) for row in body]),
            ]
        )
        + "\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table; 0 only if no file is wrong on either CPU."""
    if arguments[:1] == ["--run"]:
        _run(*map(Path, arguments[1:]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m meta_tests.measurements.other_cpus")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--cpu", default="Haswell", help="a CPU model of the emulator")
    parser.add_argument("--images", type=int, default=1, help="images of the evaluation set")
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    asked = parser.parse_args(arguments)
    if shutil.which(_EMULATOR) is None:
        parser.error(f"{_EMULATOR} is not installed: it is in Debian's package qemu-user")
    rows: list[Row] = []
    with told(), measuring(Session()) as session:
        for model in asked.model or list(MODELS):
            for name, quantization in QUANTIZATIONS.items():
                if quantization.rounds_activations:
                    row = row_of(session, Cell(model, CONVERTER.format, name), asked.cpu, asked.images)
                    print(f"{row.cell}: {row.verdict}; {row.there}", flush=True)
                    rows.append(row)
                    add(asked.output / NAME, [row], Row, lambda row: (row.cell, row.cpu), document)
    return 0 if not any(row.verdict.startswith("wrong") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
