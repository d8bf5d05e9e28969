"""Compares two routes to one format: `convert --route SOURCE` and `python -m modelparity.routes.compare`.

It runs the float files of both routes, each on the fast kernels that users run and on the runtime's plain
ones, and the file of the second route's source format, and compares their outputs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity import terminal
from modelparity.arrays import written
from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import versions_text
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.formats import CONVERTERS, ROUTES
from modelparity.converters.recipes import FLOAT
from modelparity.errors import BadInputError
from modelparity.fixtures.models import MODELS
from modelparity.parity.claims.kernels import IMAGES, REFERENCE
from modelparity.parity.proof_cache import APART
from modelparity.parity.reference import reference_key
from modelparity.parity.route_agreement import Agreement, agreement
from modelparity.parity.session import Session
from modelparity.routes.document import Finding, document, tables

CONVERTERS_AND_ROUTES = {**CONVERTERS, **ROUTES}
TOOLCHAIN = tuple(dict.fromkeys(name for entry in CONVERTERS_AND_ROUTES.values() for name in entry.toolchain))
_FILE = "agreement.json"


@dataclass(frozen=True)
class _Run:
    """One file on one set of kernels. The converter `maker` makes it, and that of `format` runs it."""

    name: str
    maker: str
    format: str
    kernels: str = ""


def _runs(route: str) -> list[_Run]:
    """Both routes' files on all kernels, and the file that the second route starts from."""
    second = ROUTES[route]
    runs = []
    for maker, converter in ((second.format, CONVERTERS[second.format]), (route, second)):
        fast = f"{converter.title} on {converter.fast_kernels}"
        runs.append(_Run(fast, maker, second.format))
        if converter.plain_kernels:
            plain = f"{converter.title} on {converter.plain_kernels.title}"
            runs.append(_Run(plain, maker, second.format, REFERENCE))
    source = CONVERTERS[second.source]
    return [*runs, _Run(source.runtime, source.format, source.format)]


def require_extra(route: str) -> None:
    """Raises `BadInputError`, which says what to install, unless all is installed."""
    second = ROUTES[route]
    if absent := second.call("missing"):
        raise BadInputError(
            f"--route {second.source} needs {', '.join(absent)}, which are not installed: "
            f"pip install '.[{second.extra}]'"
        )


def compared(
    session: Session, model: str, route: str, stage: Callable[[str], None] = lambda _: None
) -> Agreement:
    """Compares all runs of a model with float64 and with each other; raises what a worker raises.

    An agreement is kept in the store until a file, the reference, a bound or the harness changes.
    """
    subject = session.subject(model)
    runs = _runs(route)
    makers = dict.fromkeys(run.maker for run in runs)
    parts = {name: session.bench.artifact_key(subject, name, FLOAT).digest for name in makers} | {
        "reference": reference_key(subject, session.evaluation_set(model)).digest,
        "harness": source_digest("modelparity.routes.compare", apart=APART),
        "toolchain": versions_text((*TOOLCHAIN, "numpy")),
    }
    key = Key(f"{subject.label} routes", parts)
    if entry := session.bench.store.find(key):
        return _read(entry.path(_FILE))
    # First, so that a toolchain that stops does so before anything slow.
    artifacts = {name: session.bench.artifact(subject, name, FLOAT)[0] for name in makers}
    outputs = {}
    for run in runs:
        stage(f"running {run.name}")
        feeds = session.feeds(model)[: IMAGES if run.kernels else None]
        path = artifacts[run.maker].path
        outputs[run.name] = session.bench.run(run.format, path, feeds, kernels=run.kernels)
    stage("the network itself in float64")
    result = agreement(session.truth(model).reference, outputs)

    def make(folder: Path) -> dict[str, Any]:
        floors = [[*pair, row] for pair, row in result.floors.items()]
        (folder / _FILE).write_text(json.dumps({"bounds": result.bounds, "floors": floors}), encoding="utf-8")
        return {}

    if result.holds:
        session.bench.store.get(key, make)
    return result


def _read(path: Path) -> Agreement:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Agreement(data["bounds"], {(first, second): row for first, second, row in data["floors"]})


def words(result: Agreement) -> str:
    """Tables and verdict, for a terminal."""
    return f"{tables(result, 'simple')}\n\n{result.verdict}"


def _finding(session: Session, model: str, route: str, stage: Callable[[str], None]) -> Finding:
    declared = ROUTES[route].not_carried.get(model, "")
    try:
        result = compared(session, model, route, stage)
    except (WorkerFailedError, WorkerCrashedError) as error:
        stopped = " ".join(str(error).split())
        return Finding(None, declared, stopped, f"carry {declared.partition(':')[0]} " in stopped)
    return Finding(result, declared, "", result.holds and not declared)


def main(arguments: Sequence[str]) -> int:
    """Every network by the second route; writes the document. 0 only if all came out as declared."""
    parser = argparse.ArgumentParser(prog="python -m modelparity.routes.compare", description=main.__doc__)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; all if none is given")
    parser.add_argument("--route", choices=ROUTES, default=next(iter(ROUTES)))
    parser.add_argument("--output", type=Path, default=Path("reports/measurements/second-route.md"))
    asked = parser.parse_args(arguments)
    try:
        require_extra(asked.route)
        if unknown := [name for name in asked.models if name not in MODELS]:
            raise BadInputError(f"no such model: {', '.join(unknown)}; known: {', '.join(MODELS)}")
    except BadInputError as error:
        terminal.fail(str(error))
        return 2
    models = asked.models or list(MODELS)
    findings = {}
    with terminal.progress("second route", total=len(models)) as progress:
        for model in models:  # a session each: what a network's workers hold ends with it
            with Session(
                converters=CONVERTERS_AND_ROUTES,
                on_miss=lambda label, _: progress.stage(f"making {label}"),
            ) as session:
                findings[model] = _finding(session, model, asked.route, progress.stage)
            progress.line(f"{model}: {findings[model].verdict}")
            progress.advance()
    with written(asked.output) as file:
        file.write(document(findings, versions_text(TOOLCHAIN)).encode())
    terminal.say(f"wrote {asked.output}")
    bad = [model for model, finding in findings.items() if not finding.good]
    if bad:
        terminal.say(f"FAIL: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
