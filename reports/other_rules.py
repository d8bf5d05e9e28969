"""Compares the judge with published rules, on the same faults and on the same right files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelparity.parity.results import FaultRecord, ScoredCell
from modelparity.reports.markdown import inline, table
from modelparity.reports.words import NONE

_OWN = "modelparity"
_KINDS = {"float32": ("fp32",), "float16": ("fp16",), "int8": ("int8_dynamic", "int8_static")}
_NOTE = (
    "What other rules say of the same files. Each compares a file's outputs on four images of the evaluation "
    "set with the network's own in PyTorch. `absolute, 1e-5`: every value is within 1e-5 of float32's. "
    "`PyTorch Dynamo, float64`: the rule by which PyTorch checks its compiler (`torch._dynamo.utils.same` "
    "with `fp64_ref` and its default tolerance): the rms error is at most twice float32's own, or three "
    "times for small outputs, and 1e-5 more. `Polygraphy's default`: no value is beyond 1e-5 absolute and 1e-5 "
    "relative. `SQNR > 30 dB`: of every output, over all images. A file that does not run or lacks an output "
    "is refused by all. A rule that refuses the right file refuses its faulty ones, too, and tells nothing."
)


def comparison(cells: Sequence[ScoredCell], heading: str = "## Other rules on the same files") -> str:
    """A section with a row for each rule: faults refused and right files refused; "" if none was asked."""
    asked = [cell for cell in cells if cell.refused_by is not None]
    rules = list(dict.fromkeys(rule for cell in asked for rule in cell.refused_by or ()))
    if not rules:
        return ""
    header = ["rule"]
    for kind in _KINDS:
        header += [f"faults refused in {kind}", f"right {kind} files refused"]
    body = []
    for rule in (_OWN, *rules):
        row = [rule]
        for quantizations in _KINDS.values():
            of_kind = [cell for cell in asked if cell.id.rpartition("-")[2] in quantizations]
            faults = [fault for cell in of_kind for fault in cell.faults if fault.visible]
            row += [_share([_refuses(rule, each) for each in some]) for some in (faults, of_kind)]
        body.append(row)
    return "\n\n".join([heading, _NOTE, table(header, [list(map(inline, row)) for row in body])])


def _refuses(rule: str, of: FaultRecord | ScoredCell) -> bool:
    if rule == _OWN:
        return of.killed if isinstance(of, FaultRecord) else bool(of.refused)
    known: Mapping[str, bool] = of.refused_by or {}
    return known.get(rule, False)


def _share(refused: Sequence[bool]) -> str:
    return f"{sum(refused)} of {len(refused)}" if refused else NONE
