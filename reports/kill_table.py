"""what-it-catches.md: a kill table by itself, for a folder of the repository."""

from __future__ import annotations

from collections.abc import Sequence

from modelparity.parity.results import FaultRecord, ScoredCell
from modelparity.reports.catches import HEADER, NOTE, rows
from modelparity.reports.markdown import inline, table
from modelparity.reports.words import NONE, value


def kill_table(cells: Sequence[ScoredCell]) -> str:
    """The whole table: what was asked of which file, all faults in short, and a model at a time."""
    faults = [fault for cell in cells for fault in cell.faults if not fault.missing]
    seen = [fault for fault in faults if fault.visible]
    killed = sum(fault.killed for fault in seen)
    refused = [cell for cell in cells if cell.refused]
    parts = [
        "# What this gate catches",
        f"{killed} of {len(seen)} visible faults noticed in {len(cells)} files, {len(faults) - len(seen)} "
        f"more below the noise floor; {len(cells) - len(refused)} of {len(cells)} files green as they are.",
        "How to repeat it: `modelparity mutate --output reports`, a model at a time with `--model`. What was "
        "found is kept in the store until a source of the harness, a toolchain or a file changes.",
        NOTE,
        table(HEADER, [list(map(inline, row)) for row in rows(faults)]),
    ]
    if survivors := [fault for fault in seen if not fault.killed]:
        parts += ["## Survived", "\n".join(f"- {inline(_told(fault))}" for fault in survivors)]
    models = dict.fromkeys(cell.id.partition("-")[0] for cell in cells)
    for model in models:
        parts += [f"## {inline(model)}", _of_model([c for c in cells if c.id.partition("-")[0] == model])]
    listed = [
        [cell.id, cell.sha256[:16], cell.harness, cell.refused or "green", cell.versions] for cell in cells
    ]
    header = ("cell", "sha256", "harness", "as it is", "toolchain")
    parts += ["## Files", table(header, [list(map(inline, row)) for row in listed])]
    return "\n\n".join(parts) + "\n"


def _told(fault: FaultRecord) -> str:
    at = f" at {fault.strength:g}" if fault.strength else ""
    cell = f"{fault.model}-{fault.format}-{fault.quantization}"
    return f"{cell}: {fault.name}{at} moves an output by {value(fault.observed)} floors: {fault.detail}"


def _of_model(cells: Sequence[ScoredCell]) -> str:
    """A row a fault, a column a file: the claim, or how many floors a fault moves that nobody can see."""
    names = dict.fromkeys(fault.name for cell in cells for fault in cell.faults)
    columns = [cell.id.partition("-")[2].replace("-", " ") for cell in cells]
    found = []
    for name in names:
        mine = [[fault for fault in cell.faults if fault.name == name] for cell in cells]
        if any(not fault.missing for column in mine for fault in column):
            found.append([inline(name), *(inline(", ".join(map(_words, column))) or NONE for column in mine)])
    return table(("fault", *columns), found)


def _words(fault: FaultRecord) -> str:
    if fault.missing:
        return NONE
    at = f" at {fault.strength:g}" if fault.strength else ""
    hidden = f" ({value(fault.of_own_error)} of own error)" if fault.of_own_error is not None else ""
    if fault.killed:
        return f"{fault.claim}{at}{hidden}"
    return f"{'SURVIVED' if fault.visible else 'not visible'}{at}: {value(fault.observed)} floors"
