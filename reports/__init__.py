"""Renders a recorded run as report.md, report.html, junit.xml and report.json.

Takes the JSON lines of a run, as `modelparity.parity.results` reads them. Gives four files with the same
content, and `verdict_rows`, the matrix for a terminal. Imports nothing heavy, and of the other rooms only
recorded results and the writer of files. Verdicts are read from the record and never computed again; the same
record gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from modelparity.fixtures.whole_files import replaced
from modelparity.parity.results import Run
from modelparity.parity.results_json import read_run
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

RECORD = "run.jsonl"  # the record of a run, in the folder of its reports
FORMATS = {
    "report.json": machine_readable,
    "report.md": markdown,
    "report.html": page,
}


def render(run_jsonl: Path, output: Path) -> dict[str, Path]:
    """Writes the four reports of a recorded run into the folder `output`; returns their paths by name.

    Raises:
        OSError, ValueError: the file cannot be read or is not a run; nothing was written.
    """
    return render_run(read_run(run_jsonl), output, run_jsonl.parent)


def render_run(run: Run, output: Path, folder: Path | None = None) -> dict[str, Path]:
    """Like `render`, for a run that was already read.

    A kill table in `folder` (by default `output`) is part of the reports.
    """
    table = catches(run, folder or output)
    texts = {name: write(run, table) for name, write in FORMATS.items()} | {"junit.xml": junit(run)}
    contents = {name: text.encode("utf-8", "backslashreplace") for name, text in texts.items()}
    paths = {name: output / name for name in contents}
    with replaced(*paths.values()) as partials:
        for partial, content in zip(partials, contents.values(), strict=True):
            partial.write_bytes(content)
    return paths
