"""`modelparity accept`: writes `parity.lock` from a run that a person looked at."""

from __future__ import annotations

from pathlib import Path

from modelparity import arguments, terminal
from modelparity.errors import BadInputError
from modelparity.parity.results_json import read_run
from modelparity.quality import lock as locks
from modelparity.reports import RECORD


def accept(folder: Path, output: Path, margin_db: float) -> None:
    """Writes the lock of the run in `folder` to `output`, and says what was accepted."""
    record = folder / RECORD
    if not record.is_file():
        raise BadInputError(f"{folder}: no {RECORD} in it; not the output of a gate")
    if not margin_db >= 0:
        raise BadInputError(f"--margin-db {margin_db:g}, but should be 0 or more")
    arguments.writable_folder(output.absolute().parent)
    try:
        run = read_run(record)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    lock = locks.locked(run, margin_db)
    locks.write(lock, output)
    for name, cell in lock.cells.items():
        changed = ", ".join(f"{words} {kind} changed" for kind, words in cell.changed.items())
        worst = ", ".join(f"{output_} {min(values):.1f} dB" for output_, values in cell.sqnr_db.items())
        terminal.say(f"{name}: {changed or 'no decision is read'}; worst image {worst}")
    terminal.say(f"wrote {output}: {len(lock.cells)} cells accepted; review and commit it")
