"""Renders a kill table as what-it-catches.md."""

from __future__ import annotations

from collections.abc import Sequence

from modelparity.parity.results import FaultRecord, ScoredCell
from modelparity.reports.catches import HEADER, NOTE, rows
from modelparity.reports.markdown import inline, table
from modelparity.reports.other_rules import comparison, verdicts
from modelparity.reports.words import NONE, value


def kill_table(cells: Sequence[ScoredCell]) -> str:
    """A summary of all faults, then one table per model, then the files that were tested."""
    faults = [fault for cell in cells for fault in cell.faults if not fault.missing]
    visible = [fault for fault in faults if fault.visible]
    killed = sum(fault.killed for fault in visible)
    refused = [cell for cell in cells if cell.refused]
    parts = [
        "# What this gate catches",
        f"{killed} of {len(visible)} visible faults were detected in {len(cells)} files, "
        f"{len(faults) - len(visible)} more are below the noise floor; "
        f"{len(cells) - len(refused)} of {len(cells)} files passed before any fault was planted.",
        "To repeat it: `modelparity mutate --output reports/measurements`, or one model at a time with "
        "`--model`. Results are kept in the store until the code of the harness, a toolchain or a file "
        "changes.",
        NOTE,
        table(HEADER, [list(map(inline, row)) for row in rows(faults)]),
    ]
    if section := comparison({cell.id: verdicts(cell) for cell in cells}):
        parts.append(section)
    if survivors := [fault for fault in visible if not fault.killed]:
        parts += ["## Survived", "\n".join(f"- {inline(_survived(fault))}" for fault in survivors)]
    models = dict.fromkeys(cell.id.partition("-")[0] for cell in cells)
    for model in models:
        parts += [f"## {inline(model)}", _of_model([c for c in cells if c.id.partition("-")[0] == model])]
    listed = [
        [cell.id, cell.sha256[:16], cell.harness, cell.refused or "green", cell.versions] for cell in cells
    ]
    header = ("cell", "sha256", "harness", "without a fault", "toolchain")
    parts += ["## Files", table(header, [list(map(inline, row)) for row in listed])]
    return "\n\n".join(parts) + "\n"


def _survived(fault: FaultRecord) -> str:
    at = f" at {fault.strength:g}" if fault.strength else ""
    cell = f"{fault.model}-{fault.format}-{fault.quantization}"
    return f"{cell}: {fault.name}{at} changes an output by {value(fault.observed)} floors: {fault.detail}"


def _of_model(cells: Sequence[ScoredCell]) -> str:
    """One row per fault, one column per file: the claim that detected it, or the change in floors."""
    names = dict.fromkeys(fault.name for cell in cells for fault in cell.faults)
    columns = [cell.id.partition("-")[2].replace("-", " ") for cell in cells]
    body = []
    for name in names:
        by_cell = [[fault for fault in cell.faults if fault.name == name] for cell in cells]
        if any(not fault.missing for faults in by_cell for fault in faults):
            body.append(
                [inline(name), *(inline(", ".join(map(_words, faults))) or NONE for faults in by_cell)]
            )
    return table(("fault", *columns), body)


def _words(fault: FaultRecord) -> str:
    if fault.missing:
        return NONE
    at = f" at {fault.strength:g}" if fault.strength else ""
    share = f" ({value(fault.of_own_error)} of rounding error)" if fault.of_own_error is not None else ""
    if fault.killed:
        return f"{fault.claim}{at}{share}"
    return f"{'SURVIVED' if fault.visible else 'below the noise floor'}{at}: {value(fault.observed)} floors"
