"""Makes files with other people's tools, and asks `verify` about them: as they are, and with a planted fault.

    python -m meta_tests.measurements.foreign_files FOLDER [--network NAME]... [--tool NAME]... [--files DIR]
        [--python PATH] [--no-faults] [--output DIR]

FOLDER holds the weights of the trained networks, as for `meta_tests.measurements.trained_networks`. The tools
and the networks stand in `meta_tests/measurements/foreign/recipes.py`. A tool that is not installed makes no
file, and the table says so; `--python` names a Python that has onnx2tf and TensorFlow, which need other
versions of packages than this project. `--files` keeps the files, and takes those that lie there already.

A right file must pass, or say why it is not decided; a fault must be red; and no file that runs is damaged.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from meta_tests.measurements.foreign.faults import planted
from meta_tests.measurements.foreign.recipes import TOOLS, WRONG, Tool
from meta_tests.measurements.foreign.seeded_networks import NETWORKS
from meta_tests.measurements.foreign.sources import Source
from meta_tests.measurements.measured_rows import add, measuring, told
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.modelfiles.formats import sniff
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.results import CellRecord
from modelparity.parity.session import Session
from modelparity.reports.markdown import inline, table
from modelparity.verification.verify import judge_file

NAME = "foreign-files.jsonl"
NOT_MADE = "not made"
_CALIBRATED_ON = 8  # images


@dataclass(frozen=True)
class Row:
    """One file.

    Attributes:
        made: The call that made it, and the versions of its packages.
        said: Of a file that did not pass, the claims that failed or are not decided, or why it was not made.
        saturates: What is said of 16-bit sums, where the recipe does not rule them out.
        damaged: The verdict says of the right file that it is damaged or does not run.
        fault: The planted fault and its place; "" without one.
        faulty: The status of the file with it, and the first claim that failed.
    """

    network: str
    tool: str
    made: str
    quantization: str = ""
    status: str = NOT_MADE
    headline: str = ""
    said: str = ""
    saturates: str = ""
    damaged: bool = False
    fault: str = ""
    faulty: str = ""
    harness: str = ""


def rows_of(
    network: str, tools: Iterable[Tool], folder: Path, files: Path, *, python: str, faults: bool
) -> Iterator[Row]:
    """The files of a network. Its weights lie in `folder`, which may lack them: then there are none."""
    scratch = files / "sources" / network
    scratch.mkdir(parents=True, exist_ok=True)
    trained = NETWORKS[network]
    checkpoint = trained.checkpoint(folder, scratch)
    if checkpoint is None:
        print(f"{network}: {folder} has no {trained.file}")
        return
    spec = trained.spec
    images = evaluation_set(spec, spec.default_input_size, _CALIBRATED_ON, seed=1)
    source = Source(spec, checkpoint, images.feeds, scratch)
    checkpoints, models = {network: checkpoint}, {network: spec}
    with measuring(Session(checkpoints=checkpoints, models=models, limitations={})) as session:
        for tool in tools:
            row = _row(session, source, tool, files, python=python, faults=faults)
            print(
                f"{network}, {tool.name}: {row.status} {row.headline} {row.said} | {row.faulty}", flush=True
            )
            yield row


def _row(session: Session, source: Source, tool: Tool, files: Path, *, python: str, faults: bool) -> Row:
    network = source.spec.name
    row = Row(network, tool.name, f"{tool.words}; {_versions(tool, python)}", harness=harness_digest())
    path = (files / f"{network}--{tool.name}.{tool.suffix}").resolve()
    if not path.is_file():
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                tool(source, path, python)
        except (Exception, SystemExit) as error:  # whatever a tool of others raises
            path.unlink(missing_ok=True)
            lines = str(error).strip().splitlines() or [""]
            return replace(row, said=f"{type(error).__name__}: {lines[-1][:160]}")
    record = _judged(session, network, path)
    row = replace(
        row,
        quantization=record.quantization,
        status=record.status,
        headline=record.headline,
        said=_said(record),
        saturates=record.not_asked.get("saturation", ""),
        damaged=any(claim.name in ("loads", "runs") for claim in record.claims),
    )
    if faults:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / path.name
            description = _described(session, path)
            if where := planted(session, network, description, path, target):
                faulty = _judged(session, network, target)
                row = replace(row, fault=where, faulty=f"{faulty.status}, {_said(faulty)}".rstrip(", "))
    return row


def _described(session: Session, path: Path):  # type: ignore[no-untyped-def]  # a Description
    return session.workers[sniff(path)].call("modelparity.modelfiles.describe:describe", path).value


def _judged(session: Session, network: str, path: Path) -> CellRecord:
    description = _described(session, path)
    spec = session.models[network]
    return judge_file(session, path, spec=spec, description=description, on_stage=lambda _: None).record


def _said(record: CellRecord) -> str:
    """The claims that did not pass, those that failed first."""
    claims = sorted(
        (claim for claim in record.claims if not claim.passed), key=lambda claim: claim.status != "failed"
    )
    words = []
    for claim in claims[:3]:
        name = f"{claim.output or ''} {claim.name}".strip()
        detail = claim.detail if claim.status != "failed" else f"{claim.observed} for {claim.bound}"
        words.append(f"{name}: {str(detail)[:220]}")
    return "; ".join(words)


def _versions(tool: Tool, python: str) -> str:
    if tool.foreign:
        return f"{', '.join(tool.packages)} of the other Python"
    known = []
    for package in tool.packages:
        with contextlib.suppress(PackageNotFoundError):
            known.append(f"{package} {version(package)}")
    return ", ".join(known)


def document(rows: Sequence[Row]) -> str:
    every = [row for row in rows if row.status != NOT_MADE]
    wrong = [row for row in every if (row.network, row.tool) in WRONG]
    made = [row for row in every if row not in wrong]
    planted_in = [row for row in made if row.fault]
    right = sum(row.status == "passed" for row in made)
    open_ = sum(row.status == "inconclusive" for row in made)
    red = sum(not row.faulty.startswith(("passed", "inconclusive")) for row in planted_in)
    undecided = sum(row.faulty.startswith("inconclusive") for row in planted_in)
    tools, networks = ({getattr(row, name) for row in made} for name in ("tool", "network"))
    header = (
        "network",
        "tool",
        "precision",
        "right file",
        "error or cost",
        "planted fault",
        "with the fault",
    )
    body = [
        [
            row.network,
            row.tool,
            row.quantization,
            row.status,
            row.headline,
            row.fault or "none applies",
            row.faulty,
        ]
        for row in made
    ]
    calls = dict.fromkeys((row.tool, row.made) for row in made)
    said = [f"- {row.network}, {row.tool}: {inline(row.said)}" for row in made if row.said]
    saturating = [f"- {row.network}, {row.tool}: {row.saturates}" for row in made if row.saturates]
    missing = [f"- {row.network}, {row.tool}: {inline(row.said)}" for row in rows if row.status == NOT_MADE]
    parts = [
        "# Files that other tools made",
        f"{len(made)} right files, by {len(tools)} tools and options, of {len(networks)} networks: "
        f"{right} pass, {open_} are not decided, {len(made) - right - open_} fail. Of {len(planted_in)} "
        f"copies with a planted fault, {red} are red and {undecided} not decided. "
        f"{sum(row.damaged for row in made)} right files are said not to load or run.",
        "To repeat it: `python -m meta_tests.measurements.foreign_files FOLDER`.",
        table(header, [list(map(inline, row)) for row in body]),
        "## How they were made",
        "\n".join(f"- {tool}: {inline(words)}" for tool, words in calls),
    ]
    told_wrong = [
        f"- {row.network}, {row.tool}: {WRONG[row.network, row.tool]}: {row.status}, {inline(row.said)}"
        for row in wrong
    ]
    for title, lines in (
        ("What tools made wrong", told_wrong),
        ("What did not pass", said),
        ("What may saturate on CPUs without VNNI", saturating),
        ("What the tools did not make", missing),
    ):
        parts += [f"## {title}", "\n".join(lines)] if lines else []
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table; 0 only if no right file fails and every fault is red."""
    parser = argparse.ArgumentParser(prog="python -m meta_tests.measurements.foreign_files")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--tool", action="append", choices=TOOLS)
    parser.add_argument("--files", type=Path, help="keep the files here; those that are there are taken")
    parser.add_argument("--python", default=sys.executable, help="one with onnx2tf and tensorflow")
    parser.add_argument("--no-faults", action="store_true", help="ask about the right files alone")
    parser.add_argument("--output", type=Path, default=Path("reports/measurements"))
    asked = parser.parse_args(arguments)
    good = True
    with tempfile.TemporaryDirectory() as scratch, told():
        for network in asked.network or list(NETWORKS):
            tools = [TOOLS[name] for name in asked.tool or TOOLS if network in TOOLS[name].networks]
            files = asked.files or Path(scratch)
            found = rows_of(
                network, tools, asked.folder, files, python=asked.python, faults=not asked.no_faults
            )
            for row in found:
                add(asked.output / NAME, [row], Row, lambda each: (each.network, each.tool), document)
                wrong = (row.network, row.tool) in WRONG
                good = good and (wrong or row.status in ("passed", "inconclusive", NOT_MADE))
                good = good and not row.faulty.startswith(("passed", "inconclusive"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
