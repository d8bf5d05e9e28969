"""`modelparity mutate`: plants faults in the real files and scores which of them the judge notices."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelparity import arguments, terminal
from modelparity.arrays import written
from modelparity.converters.engine.workers import WorkerCrashedError, WorkerFailedError
from modelparity.converters.formats import CONVERTERS
from modelparity.errors import BadInputError
from modelparity.exit_codes import StoppedError
from modelparity.fixtures.models import MODELS
from modelparity.parity.cells import Cell, all_cells
from modelparity.parity.mutation.catalogue import FAULTS, FLOAT_FILES, HALF, INTEGER, Fault
from modelparity.parity.mutation.score import ORIGINAL, Mutation
from modelparity.parity.proof_cache import harness_digest
from modelparity.parity.reference import reference_key
from modelparity.parity.results import FaultRecord, ScoredCell
from modelparity.parity.results_json import read_scored, scored_line
from modelparity.parity.session import Session
from modelparity.reports.catches import TABLE
from modelparity.reports.kill_table import kill_table
from modelparity.reports.words import GLYPHS, trim

if TYPE_CHECKING:
    from rich.table import Table as RichTable

QUANTIZATIONS = (*FLOAT_FILES, *HALF, *INTEGER)
_LONGEST = 200  # letters of a text in a table that is kept


@dataclass(frozen=True)
class Score:
    """`original` has a record for each cell that was judged, `skipped` a reason for each that was not."""

    faults: tuple[FaultRecord, ...]
    original: tuple[FaultRecord, ...]
    skipped: tuple[tuple[str, str], ...]
    cells: tuple[ScoredCell, ...] = ()

    @property
    def asked(self) -> list[FaultRecord]:
        return [record for record in self.faults if not record.missing]

    @property
    def survivors(self) -> list[FaultRecord]:
        return [record for record in self.asked if record.survived]

    @property
    def red(self) -> list[FaultRecord]:
        """Honest files that a claim refused."""
        return [record for record in self.original if record.killed]

    @property
    def passed(self) -> bool:
        return bool(self.asked) and not self.survivors and not self.red


def mutate(*, model: str | None, format: str | None, fault: str | None, output: Path, as_json: bool) -> bool:
    """Scores the cells, prints the table, and writes it to `output` unless one fault alone was asked for.

    Returns whether every visible fault was killed.
    """
    models = [arguments.model_named(model).name] if model else list(MODELS)
    formats = [arguments.known_as("format", format, CONVERTERS)] if format else list(CONVERTERS)
    faults = (
        [FAULTS[arguments.known_as("fault", fault.replace("-", "_"), FAULTS)]]
        if fault
        else list(FAULTS.values())
    )
    with (
        terminal.progress("planting faults") as progress,
        Session(on_miss=_quietly(progress.hint)) as session,
    ):
        try:
            on_cell = None if fault else Table(output).add
            score = scored(
                session,
                models,
                formats=formats,
                faults=faults,
                on_stage=progress.stage,
                on_cell=on_cell,
            )
        except KeyboardInterrupt:
            raise StoppedError("stopped; what was found is kept, run again to go on") from None
    if not score.asked and not score.red:
        raise BadInputError(_nothing(score))
    if as_json:
        terminal.say(json.dumps({"faults": [as_data(record) for record in score.asked]}, indent=1))
    else:
        _print(score)
    return score.passed


def scored(
    session: Session,
    models: Sequence[str],
    *,
    formats: Sequence[str],
    faults: Sequence[Fault],
    on_stage: Callable[[str], None] = lambda _: None,
    on_cell: Callable[[ScoredCell], None] | None = None,
) -> Score:
    """Scores the models' cells, formats side by side; records in the order of models, formats and faults."""

    def lane(format: str) -> list[Score]:
        cells = (Cell(model, format, each) for model in models for each in QUANTIZATIONS)
        scores = []
        for cell in (cell for cell in cells if session.bench.converters[format].makes(cell.quantization)):
            scores.append(_cell(session, cell, faults, on_stage))
            if on_cell:
                for judged in scores[-1].cells:
                    on_cell(judged)
        return scores

    with ThreadPoolExecutor(max_workers=len(formats)) as pool:
        futures = [pool.submit(lane, format) for format in formats]
        try:
            scores = [score for future in futures for score in future.result()]
        except BaseException:
            session.workers.kill()  # the pool waits for its threads, and they for their children
            raise
    order = {model: place for place, model in enumerate(models)}
    faulty = sorted((r for score in scores for r in score.faults), key=lambda record: order[record.model])
    original = tuple(record for score in scores for record in score.original)
    skipped = tuple(pair for score in scores for pair in score.skipped)
    return Score(tuple(faulty), original, skipped, tuple(cell for score in scores for cell in score.cells))


def _cell(session: Session, cell: Cell, faults: Sequence[Fault], on_stage: Callable[[str], None]) -> Score:
    wanted = [fault for fault in faults if cell.quantization in fault.on]
    subject = session.subject(cell.model)
    wanted = [fault for fault in wanted if fault.task in (None, subject.spec.task)]
    if not wanted:
        return Score((), (), ())
    limitation = session.limitations.get(cell)
    foreseen = limitation.claims if limitation else ()
    on_stage(f"planting faults in {cell.id}")
    try:
        artifact = session.artifact(cell.model, cell.format, cell.quantization)
        truth = session.truth(cell.model)
    except (WorkerFailedError, WorkerCrashedError) as error:
        return Score((), (_not_there(cell, str(error)),), ())
    mutation = Mutation(
        session.bench,
        truth,
        cell,
        artifact,
        reference_key=reference_key(subject, session.evaluation_set(cell.model)),
        calibration=session.calibration(cell.model),
        foreseen=foreseen,
    )
    original = mutation.original()
    scored_cell = ScoredCell(
        cell.id,
        artifact.sha256,
        harness_digest(),
        mutation.toolchain,
        original.claim,
        refused_by=original.refused_by,
    )
    if original.killed:
        return Score((), (original,), (), (scored_cell,))
    records = tuple(record for fault in wanted for record in mutation.of(fault))
    return Score(records, (original,), (), (replace(scored_cell, faults=tuple(map(_trimmed, records))),))


def _trimmed(record: FaultRecord) -> FaultRecord:
    """For a table that is kept: names and lists of a large network's file fill pages."""
    names = tuple(trim(name, _LONGEST) for name in record.names[:1])
    detail = re.sub(r"\S*/modelparity-[^/\s]+/", "", record.detail)  # where a faulty file lay for a moment
    return replace(record, detail=trim(detail, _LONGEST), names=names)


class Table:
    """A kill table in a folder: `what-it-catches.jsonl`, and the same to read. Whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def add(self, cell: ScoredCell) -> None:
        """In the place of what was known of the cell."""
        with self._lock:
            path = self._folder / TABLE
            known = {c.id: c for c in read_scored(path)} if path.is_file() else {}
            known[cell.id] = cell
            order = [c.id for c in all_cells()]
            cells = sorted(known.values(), key=lambda c: (order.index(c.id) if c.id in order else -1, c.id))
            for target, text in (
                (path, "".join(map(scored_line, cells))),
                (path.with_suffix(".md"), kill_table(cells)),
            ):
                with written(target) as file:
                    file.write(text.encode())


def _not_there(cell: Cell, why: str) -> FaultRecord:
    """The record of a file that could not be made: as good as red."""
    place = (cell.model, cell.format, cell.quantization)
    return FaultRecord(ORIGINAL, *place, "the original file", True, True, "convert", detail=why)


def as_data(record: FaultRecord) -> dict[str, Any]:
    """A fault as `mutate --json` prints it."""
    data = asdict(record)
    del data["missing"]
    return data


def _nothing(score: Score) -> str:
    reasons = dict.fromkeys(f"{record.model} {record.format}: {record.missing}" for record in score.faults)
    reasons |= dict.fromkeys(f"{cell}: {reason}" for cell, reason in score.skipped)
    return f"no file to plant it in: {'; '.join(reasons) or 'the fault is of another kind of network'}"


def _quietly(hint: Callable[[str], None]) -> Callable[[str, str], None]:
    def on_miss(label: str, _: str) -> None:
        if not label.endswith("fault"):
            hint(f"making {label}")

    return on_miss


def _print(score: Score) -> None:
    from rich.text import Text

    for model in dict.fromkeys(record.model for record in score.asked):
        terminal.show(Text(model, style="bold"))
        terminal.show(_table([record for record in score.asked if record.model == model]))
        terminal.say()
    for cell, reason in score.skipped:
        terminal.say(f"not asked: {cell}: {reason}")
    for record in score.red:
        terminal.say(
            f"{GLYPHS['failed']} {cell_id(record)}: the original file is red: {record.claim}: {record.detail}"
        )
    for record in score.survivors:
        at = f" x {record.strength:g}" if record.strength else ""
        terminal.say(f"{GLYPHS['failed']} {cell_id(record)}: {record.name}{at} survived: {record.detail}")
    visible = [record for record in score.asked if record.visible]
    words = f"{sum(r.killed for r in visible)} of {len(visible)} visible faults killed"
    words += f", {len(score.asked) - len(visible)} below the noise floor; "
    words += f"{len(score.original) - len(score.red)} of {len(score.original)} original files green"
    verdict = "PASS" if score.passed else "FAIL"
    terminal.show(Text(f"{verdict}: {words}", style="bold green" if score.passed else "bold red"))


def cell_id(record: FaultRecord) -> str:
    return f"{record.model}-{record.format}-{record.quantization}"


def _table(records: Sequence[FaultRecord]) -> RichTable:
    """A row a fault, a column a file: the claim that killed it, or how far it moves an output and lives."""
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys((record.format, record.quantization) for record in records))
    table = Table(
        "fault", *(" ".join(column) for column in columns), box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for name in dict.fromkeys(record.name for record in records):
        cells = []
        for column in columns:
            mine = [r for r in records if r.name == name and (r.format, r.quantization) == column]
            style = "red" if any(record.survived for record in mine) else ""
            cells.append(Text(", ".join(map(_words, mine)), style=style))
        table.add_row(name, *cells)
    return table


def _words(record: FaultRecord) -> str:
    at = f" at {record.strength:g}" if record.strength else ""
    if record.killed:
        return record.claim + at
    floors = f"{record.observed:.2g}" if isinstance(record.observed, float | int) else str(record.observed)
    return f"{'SURVIVED' if record.visible else 'not visible'}{at} ({floors} floors)"
