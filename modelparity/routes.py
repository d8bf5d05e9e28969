"""Two routes to one TFLite file, and who left: `convert --route onnx` and `python -m modelparity.routes`.

Witnesses are the float files of both routes and the ONNX file between them, on the evaluation stream.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from converters import CONVERTERS, ROUTES
from converters.second_route import NOT_CARRIED, missing
from converters.workbench import versions_text
from converters.workers import WorkerCrashedError, WorkerFailedError
from fixtures.specs import MODELS
from modelparity import terminal
from modelparity.arrays import written
from modelparity.errors import BadInputError
from modelparity.session import Session
from parity.cells import Cell
from parity.expectations import FloatTolerance, Limitation, expectation_of
from parity.witnesses import Agreement, agreement

ONNX2TF = "onnx2tf"
# What a witness is called -> the converter that makes its file, and the format that runs it.
_WITNESSES = {
    "litert-torch": ("tflite", "tflite"),
    ONNX2TF: (ONNX2TF, "tflite"),
    "ONNX Runtime": ("onnx", "onnx"),
}
CONVERTERS_AND_ROUTES = {**CONVERTERS, **ROUTES}


def require_extra() -> None:
    """Raises `BadInputError` with what to install."""
    if absent := missing():
        raise BadInputError(
            f"--route onnx needs {', '.join(absent)}, which are not installed: pip install '.[tensorflow]'"
        )


def compared(session: Session, model: str) -> Agreement:
    """The witnesses of a model against each other; raises what a worker raises."""
    subject = session.subject(model)
    outputs = {}
    for name, (maker, format) in _WITNESSES.items():
        artifact, _ = session.bench.artifact(subject, maker, "fp32")
        outputs[name] = session.bench.run(format, artifact.path, session.feeds(model))
    expected = expectation_of(Cell(model, "tflite", "fp32"), session.expectations)
    tolerance = expected.tolerance if isinstance(expected, Limitation) else expected
    assert isinstance(tolerance, FloatTolerance)
    return agreement(session.truth(model).reference, outputs, tolerance.floors)


def table(found: Agreement, style: str = "simple") -> str:
    """Pairs down, outputs across, in floors."""
    outputs = list(next(iter(found.floors.values())))
    rows = [
        (f"{second} against {first}", *(f"{row[name]:.3g}" for name in outputs))
        for (first, second), row in found.floors.items()
    ]
    return tabulate(rows, ["distance in floors", *outputs], style, disable_numparse=True)


@dataclass(frozen=True)
class _Finding:
    """One network; `good` says whether it came out as declared."""

    text: str
    good: bool


def _finding(session: Session, model: str) -> _Finding:
    declared = NOT_CARRIED.get(model)
    try:
        found = compared(session, model)
    except (WorkerFailedError, WorkerCrashedError) as error:
        stopped = f"Stops at `{' '.join(str(error).split())}`."
        if declared:
            return _Finding(
                f"{stopped}\n\nKnown: {declared}.", f"carry {declared.partition(':')[0]} " in str(error)
            )
        return _Finding(f"{stopped}\n\n**Not declared** in `converters/second_route.py`.", False)
    text = f"{table(found, 'github')}\n\n{found.verdict}."
    if declared:
        text += (
            f"\n\n**Declared as not carried**, but carried: delete {model!r} in `converters/second_route.py`."
        )
    return _Finding(text, found.holds and not declared)


def main(arguments: Sequence[str]) -> int:
    """Every network by the second route; writes the document. 0 only if all came out as declared."""
    parser = argparse.ArgumentParser(prog="python -m modelparity.routes", description=main.__doc__)
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
                findings[model] = _finding(session, model)
            progress.advance()
    with written(asked.output) as file:
        file.write(_document(findings).encode())
    terminal.say(f"wrote {asked.output}")
    bad = [model for model, finding in findings.items() if not finding.good]
    if bad:
        terminal.say(f"FAIL: {', '.join(bad)}")
    return 1 if bad else 0


def _document(findings: dict[str, _Finding]) -> str:
    toolchain = tuple(
        dict.fromkeys(name for entry in CONVERTERS_AND_ROUTES.values() for name in entry.toolchain)
    )
    parts = [
        "# The second route: PyTorch -> ONNX -> TFLite",
        "Float files by two toolchains that share nothing behind the exported program, and the ONNX file "
        "between, on the evaluation stream with the weights of the goldens. A floor is the network's own "
        "float32 error; distances are of the worst image. Written by `tox -e routes`.",
        *(f"## {model}\n\n{finding.text}" for model, finding in findings.items()),
        f"## Versions\n\n{versions_text(toolchain)}.",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
