"""What people read: report.md, report.html, junit.xml and report.json of one recorded run.

Arrives: the JSON lines of a run, read by `modelparity.parity.results`.
Leaves: four files that say the same thing, and `verdict_rows`, the matrix for a terminal.
Imports: the standard library, jinja2, tabulate and `modelparity.parity.results`; nothing else of the project.
A verdict is read from the record and never computed anew; equal records give equal bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from modelparity.parity.results import Run, read_run
from modelparity.reports.catches import catches
from modelparity.reports.junit import junit
from modelparity.reports.machine import machine_readable
from modelparity.reports.markdown import markdown
from modelparity.reports.page import page
from modelparity.reports.view import Matrix, Slot, counts_line, verdict_line, verdict_rows, weights_lines

if __name__ != "modelparity.reports":
    raise ImportError("this package is modelparity.reports: import it under that name")

__all__ = [
    "RECORD",
    "Matrix",
    "Slot",
    "counts_line",
    "render",
    "render_run",
    "verdict_line",
    "verdict_rows",
    "weights_lines",
]

RECORD = "run.jsonl"  # a run's record, in the folder of its reports
FORMATS = {
    "report.json": machine_readable,
    "report.md": markdown,
    "report.html": page,
}


def render(run_jsonl: Path, output: Path) -> dict[str, Path]:
    """Writes the four reports of a recorded run into the folder `output`; returns name to path.

    Raises `OSError` or `ValueError` for a file that is not a run, having written nothing.
    """
    return render_run(read_run(run_jsonl), output, run_jsonl.parent)


def render_run(run: Run, output: Path, folder: Path | None = None) -> dict[str, Path]:
    """As `render`, for a run already read; a kill table is looked for in `folder`, by default `output`."""
    caught = catches(run, folder or output)
    texts = {name: write(run, caught) for name, write in FORMATS.items()} | {"junit.xml": junit(run)}
    contents = {name: text.encode("utf-8", "backslashreplace") for name, text in texts.items()}
    output.mkdir(parents=True, exist_ok=True)
    temporary = {name: output / f".{name}.{os.getpid()}.tmp" for name in contents}
    try:
        for name, path in temporary.items():
            with path.open("wb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        for name, path in temporary.items():
            path.replace(output / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return {name: output / name for name in contents}
