"""The report on second routes: for each network, how far apart all runs are, and which are outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from modelparity.parity.route_agreement import TRUTH, Agreement

_INTRODUCTION = """\
The float TFLite file of each network is made twice: by litert-torch from the exported program, and by onnx2tf
and TensorFlow from the ONNX file. The two toolchains have only the exported program in common. Both files run
on the fast kernels (XNNPACK, the whole evaluation set) and on the plain reference kernels of the runtime (the
first image of the set). The ONNX file runs on ONNX Runtime. All of them are compared with the network in
float64 and with each other.

Distances are in floors, for the worst image; a floor is the network's own float32 error. A right conversion
is within the bound that the gate sets for every float file, and two right ones are within twice that bound of
each other. The reference kernels add the numbers of a row one after the other, the fast ones in parts, so a
mean over a long row (Tiny-LaDeDa's score is a mean over 1,588 patches) has a larger error on the reference
kernels, by either route. Weights are those of the goldens. Written by `tox -e routes`."""


@dataclass(frozen=True)
class Finding:
    """The result for one network: the agreement of its runs, or None and where a toolchain `stopped`.

    `declared` says why the network is declared as not carried; `good`, whether the result is as declared.
    """

    agreement: Agreement | None
    declared: str
    stopped: str
    good: bool

    @property
    def verdict(self) -> str:
        """One line."""
        if self.agreement is None:
            return "not carried, as declared" if self.good else "STOPPED"
        if self.declared:
            return "declared as not carried, but carried"
        return "all agree" if self.agreement.holds else f"OUTLIER: {self.agreement.verdict}"


def document(findings: Mapping[str, Finding], versions: str) -> str:
    parts = ["# The second route: PyTorch -> ONNX -> TFLite", _INTRODUCTION, _summary(findings)]
    parts += [f"## {model}\n\n{_section(model, finding)}" for model, finding in findings.items()]
    return "\n\n".join([*parts, f"## Versions\n\n{versions}."]) + "\n"


def _summary(findings: Mapping[str, Finding]) -> str:
    """A row for each network: how far every run is from float64, then how far the furthest two are apart."""
    runs = next((f.agreement.runs[1:] for f in findings.values() if f.agreement), ())
    rows = []
    for model, finding in findings.items():
        agreement = finding.agreement
        distances = [_number(agreement.distance(TRUTH, run)) if agreement else "" for run in runs]
        pairs = [pair for pair in agreement.floors if TRUTH not in pair] if agreement else []
        between = [agreement.distance(*pair) for pair in pairs] if agreement else []
        furthest = _number(max(between)) if between else ""
        rows.append((model, *distances, furthest, agreement.allowed() if agreement else "", finding.verdict))
    heads = ("network", *runs, "any two of them", "bound", "verdict")
    return f"Floors from {TRUTH}, the furthest output:\n\n{_grid(rows, heads, 'github')}"


def _section(model: str, finding: Finding) -> str:
    if finding.agreement is None:
        why = f"Known: {finding.declared}." if finding.declared else "**Not declared**"
        return f"Stops at `{finding.stopped}`.\n\n{why}"
    text = f"{tables(finding.agreement, 'github')}\n\n{finding.agreement.verdict}."
    if finding.declared:
        text += (
            f"\n\n**Declared as not carried**, but carried: delete {model!r} from the route's `not_carried`."
        )
    return text


def tables(agreement: Agreement, style: str) -> str:
    """A table for each output, with the distance in floors of every run from every other."""
    names = agreement.runs
    outputs = list(next(iter(agreement.floors.values())))
    return "\n\n".join(_table(agreement, names, output, style) for output in outputs)


def _table(agreement: Agreement, names: tuple[str, ...], output: str, style: str) -> str:
    rows = [
        (f"{row} {name}", *(_number(agreement.floors[other, name][output]) for other in names[: row - 1]))
        for row, name in enumerate(names, 1)
    ]
    heads = (f"{output}: floors from", *(str(column) for column in range(1, len(names))))
    return _grid(rows, heads, style)


def _grid(rows: Sequence[Sequence[str]], heads: Sequence[str], style: str) -> str:
    return tabulate(rows, heads, style, disable_numparse=True, missingval="")


def _number(value: float) -> str:
    return f"{value:.3g}"
