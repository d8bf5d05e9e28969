"""Compares the judge with published rules, on the same faults and on the same right files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelparity.parity.results import ScoredCell
from modelparity.reports.markdown import inline, table
from modelparity.reports.words import NONE

_OWN = "modelparity"
_NOTE = (
    "What other rules say of the same files. Each compares a file's outputs on four images of the evaluation "
    "set with the network's own in PyTorch. `absolute, 1e-5`: every value is within 1e-5 of float32's. "
    "`PyTorch Dynamo, float64`: the rule by which PyTorch checks its compiler (`torch._dynamo.utils.same` "
    "with `fp64_ref` and its default tolerance): every value is within 1e-4 absolute and relative together, "
    "or the rms error is at most twice float32's own, three times for small outputs, plus 1e-5. "
    "`Polygraphy's default`: no value is beyond 1e-5 absolute and 1e-5 relative. `SQNR > 30 dB`: of every "
    "output, over all images. A file that does not run or lacks an output is refused by all. A rule that "
    "refuses the right file refuses its faulty ones, too, and tells nothing."
)


Verdicts = Mapping[str, Sequence[int]]  # rule -> faults refused, faults, right files refused: 0 or 1


def verdicts(cell: ScoredCell) -> Verdicts:
    """What each rule, the judge's own first, says of one cell's files; {} if the others were not asked.

    Plain numbers, so that a measurement can keep them in its rows.
    """
    if cell.refused_by is None:
        return {}
    faults = [fault for fault in cell.faults if fault.visible]
    own = [sum(fault.killed for fault in faults), len(faults), int(bool(cell.refused))]
    others = {
        rule: [sum((fault.refused_by or {}).get(rule, False) for fault in faults), len(faults), int(refused)]
        for rule, refused in cell.refused_by.items()
    }
    return {_OWN: own, **others}


def comparison(by_cell: Mapping[str, Verdicts], heading: str = "## Other rules on the same files") -> str:
    """A section with a row for each rule: faults refused and right files refused; "" if none was asked.

    `by_cell` has the verdicts of cells by their names, MODEL-FORMAT-QUANTIZATION.
    """
    asked = {cell: said for cell, said in by_cell.items() if said}
    if not asked:
        return ""
    quantizations = list(dict.fromkeys(cell.rpartition("-")[2] for cell in asked))
    header = ["rule"]
    for quantization in quantizations:
        header += [f"{quantization}: faults refused", "right files refused"]
    body = []
    for rule in dict.fromkeys(rule for said in asked.values() for rule in said):
        row = [rule]
        for quantization in quantizations:
            of_one = [said[rule] for cell, said in asked.items() if cell.rpartition("-")[2] == quantization]
            refused, faults, right = map(sum, zip(*of_one, strict=True))
            row += [_share(refused, faults), _share(right, len(of_one))]
        body.append(row)
    return "\n\n".join([heading, _NOTE, table(header, [list(map(inline, row)) for row in body])])


def _share(refused: int, of: int) -> str:
    return f"{refused} of {of}" if of else NONE
