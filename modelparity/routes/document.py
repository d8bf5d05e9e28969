"""`reports/second-route.md`: for each network, how far every witness is from every other, and who left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from modelparity.parity.route_agreement import TRUTH, Agreement

_INTRODUCTION = """\
Each network's float TFLite file is made twice, by litert-torch from the exported program and by onnx2tf and
TensorFlow from the ONNX file; the two toolchains share the exported program and nothing behind it. Both files
run on the fast kernels that users run (XNNPACK, the whole evaluation stream) and on the runtime's plain
reference kernels (the stream's first image), the ONNX file runs on ONNX Runtime, and all are compared
with the network in float64 and with each other.

Distances are in floors: a floor is the network's own float32 error, distances are of the worst image. A right
conversion is within the bound of float64, which the gate holds every float file to, and two right ones within
twice that of each other. The reference kernels add the numbers of a row one after the other, the fast ones in
parts: a mean over a long row (Tiny-LaDeDa's score is one of 1,588 patches) costs the former more floors, by
either route. Weights are those of the goldens. Written by `tox -e routes`."""


@dataclass(frozen=True)
class Finding:
    """One network: what the witnesses say, None where a toolchain `stopped`; `declared` is why it was to.

    `good` says whether it came out as declared.
    """

    found: Agreement | None
    declared: str
    stopped: str
    good: bool

    @property
    def verdict(self) -> str:
        """One line."""
        if self.found is None:
            return "not carried, as declared" if self.good else "STOPPED"
        if self.declared:
            return "declared as not carried, but carried"
        return "all agree" if self.found.holds else f"LEFT: {self.found.verdict}"


def document(findings: Mapping[str, Finding], versions: str) -> str:
    parts = ["# The second route: PyTorch -> ONNX -> TFLite", _INTRODUCTION, _summary(findings)]
    parts += [f"## {model}\n\n{_section(model, finding)}" for model, finding in findings.items()]
    return "\n\n".join([*parts, f"## Versions\n\n{versions}."]) + "\n"


def _summary(findings: Mapping[str, Finding]) -> str:
    """A row a network: every witness from float64, its furthest output; then the furthest two."""
    witnesses = next((f.found.witnesses[1:] for f in findings.values() if f.found), ())
    rows = []
    for model, finding in findings.items():
        found = finding.found
        distances = [_number(found.distance(TRUTH, name)) if found else "" for name in witnesses]
        between = [found.distance(*pair) for pair in found.floors if TRUTH not in pair] if found else []
        furthest = _number(max(between)) if between else ""
        rows.append((model, *distances, furthest, found.allowed() if found else "", finding.verdict))
    heads = ("network", *witnesses, "any two of them", "bound", "verdict")
    return f"Floors from {TRUTH}, the furthest output:\n\n{_grid(rows, heads, 'github')}"


def _section(model: str, finding: Finding) -> str:
    if finding.found is None:
        why = f"Known: {finding.declared}." if finding.declared else "**Not declared**"
        return f"Stops at `{finding.stopped}`.\n\n{why}"
    text = f"{tables(finding.found, 'github')}\n\n{finding.found.verdict}."
    if finding.declared:
        text += (
            f"\n\n**Declared as not carried**, but carried: delete {model!r} in `converters/second_route.py`."
        )
    return text


def tables(found: Agreement, style: str) -> str:
    """One an output: witnesses down, the same by number across, floors between them."""
    names = found.witnesses
    outputs = list(next(iter(found.floors.values())))
    return "\n\n".join(_table(found, names, output, style) for output in outputs)


def _table(found: Agreement, names: tuple[str, ...], output: str, style: str) -> str:
    rows = [
        (f"{row} {name}", *(_number(found.floors[other, name][output]) for other in names[: row - 1]))
        for row, name in enumerate(names, 1)
    ]
    heads = (f"{output}: floors from", *(str(column) for column in range(1, len(names))))
    return _grid(rows, heads, style)


def _grid(rows: Sequence[Sequence[str]], heads: Sequence[str], style: str) -> str:
    return tabulate(rows, heads, style, disable_numparse=True, missingval="")


def _number(value: float) -> str:
    return f"{value:.3g}"
