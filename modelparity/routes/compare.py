"""Two routes to one TFLite file, and who left: `convert --route onnx` and `python -m modelparity.routes.compare`.

Witnesses are the float files of both routes, each on the fast kernels that users run and on the runtime's
plain reference kernels, and the ONNX file between them.
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
from modelparity.converters.onnx2tf.convert import NOT_CARRIED, missing
from modelparity.errors import BadInputError
from modelparity.fixtures.specs import MODELS
from modelparity.parity.cells import Cell
from modelparity.parity.claims.kernels import IMAGES, REFERENCE
from modelparity.parity.expectations import expectation_of
from modelparity.parity.proof_cache import APART
from modelparity.parity.reference import reference_key
from modelparity.parity.route_agreement import Agreement, agreement
from modelparity.parity.session import Session
from modelparity.parity.tolerances import FloatTolerance, Limitation
from modelparity.routes.document import Finding, document, tables

ONNX2TF = "onnx2tf"
CONVERTERS_AND_ROUTES = {**CONVERTERS, **ROUTES}
TOOLCHAIN = tuple(dict.fromkeys(name for entry in CONVERTERS_AND_ROUTES.values() for name in entry.toolchain))
_FILE = "agreement.json"


@dataclass(frozen=True)
class _Witness:
    """`maker` is the converter that makes its file, `format` the one that runs it."""

    name: str
    maker: str
    format: str
    kernels: str = ""


_WITNESSES = (
    _Witness("litert-torch on XNNPACK", "tflite", "tflite"),
    _Witness("litert-torch on reference kernels", "tflite", "tflite", REFERENCE),
    _Witness("onnx2tf on XNNPACK", ONNX2TF, "tflite"),
    _Witness("onnx2tf on reference kernels", ONNX2TF, "tflite", REFERENCE),
    _Witness("ONNX Runtime", "onnx", "onnx"),
)


def require_extra() -> None:
    """Raises `BadInputError` with what to install."""
    if absent := missing():
        raise BadInputError(
            f"--route onnx needs {', '.join(absent)}, which are not installed: pip install '.[tensorflow]'"
        )


def compared(session: Session, model: str, stage: Callable[[str], None] = lambda _: None) -> Agreement:
    """The witnesses of a model against each other; raises what a worker raises.

    Those that agreed are kept in the store, and not asked again until one of them, the reference, a bound
    or the harness changes.
    """
    subject = session.subject(model)
    declared = expectation_of(Cell(model, "tflite", "fp32"), session.expectations)
    tolerance = declared.tolerance if isinstance(declared, Limitation) else declared
    assert isinstance(tolerance, FloatTolerance)
    makers = dict.fromkeys(witness.maker for witness in _WITNESSES)
    parts = {name: session.bench.artifact_key(subject, name, "fp32").digest for name in makers} | {
        "reference": reference_key(subject, session.stream(model)).digest,
        "tolerance": repr(tolerance),
        "harness": source_digest("modelparity.routes.compare", apart=APART),
        "toolchain": versions_text((*TOOLCHAIN, "numpy")),
    }
    key = Key(f"{subject.label} witnesses", parts)
    if entry := session.bench.store.find(key):
        return _read(entry.path(_FILE))
    # A toolchain that stops does so before anything slow is run.
    artifacts = {name: session.bench.artifact(subject, name, "fp32")[0] for name in makers}
    outputs = {}
    for witness in _WITNESSES:
        stage(f"running {witness.name}")
        feeds = session.feeds(model)[: IMAGES if witness.kernels else None]
        path = artifacts[witness.maker].path
        outputs[witness.name] = session.bench.run(witness.format, path, feeds, kernels=witness.kernels)
    stage("the network itself in float64")
    found = agreement(session.truth(model).reference, outputs, tolerance)

    def make(folder: Path) -> dict[str, Any]:
        floors = [[*pair, row] for pair, row in found.floors.items()]
        (folder / _FILE).write_text(json.dumps({"bounds": found.bounds, "floors": floors}), encoding="utf-8")
        return {}

    if found.holds:
        session.bench.store.get(key, make)
    return found


def _read(path: Path) -> Agreement:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Agreement(data["bounds"], {(first, second): row for first, second, row in data["floors"]})


def words(found: Agreement) -> str:
    """Tables and verdict, for a terminal."""
    return f"{tables(found, 'simple')}\n\n{found.verdict}"


def _finding(session: Session, model: str, stage: Callable[[str], None]) -> Finding:
    declared = NOT_CARRIED.get(model, "")
    try:
        found = compared(session, model, stage)
    except (WorkerFailedError, WorkerCrashedError) as error:
        stopped = " ".join(str(error).split())
        return Finding(None, declared, stopped, f"carry {declared.partition(':')[0]} " in stopped)
    return Finding(found, declared, "", found.holds and not declared)


def main(arguments: Sequence[str]) -> int:
    """Every network by the second route; writes the document. 0 only if all came out as declared."""
    parser = argparse.ArgumentParser(prog="python -m modelparity.routes.compare", description=main.__doc__)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; all if none is given")
    parser.add_argument("--output", type=Path, default=Path("reports/second-route.md"))
    asked = parser.parse_args(arguments)
    try:
        require_extra()
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
                findings[model] = _finding(session, model, progress.stage)
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
