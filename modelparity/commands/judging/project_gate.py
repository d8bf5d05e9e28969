"""`modelparity gate` in a project that declares models of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.api.project import Declared
from modelparity.api.prove import Brought, bring, program_claims, session_of
from modelparity.commands.judging.prove import described, sampled
from modelparity.commands.judging.report import print_run
from modelparity.converters.engine.workers import Workers
from modelparity.errors import BadInputError
from modelparity.exit_codes import StoppedError, os_words
from modelparity.gate import run_gate
from modelparity.parity.cells import Cell, matching
from modelparity.parity.results import CellRecord, Run
from modelparity.quality.standard import Standard, standard_of
from modelparity.reports import RECORD
from modelparity.reports.view import Entry
from modelparity.reports.words import GLYPHS

STOPPED = "stopped; finished cells are kept, run again to go on"


def gate_project(
    declared: Mapping[str, Declared],
    expression: str,
    *,
    output: Path,
    as_json: bool,
    allow: Iterable[str] = (),
    require_quality: bool = False,
) -> bool:
    """Proves the declared models that the expression selects and prints the verdict."""
    every = [cell for each in declared.values() for cell in each.cells]
    try:
        cells = matching(every, expression)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    if not cells:
        names = ", ".join(cell.id for cell in every)
        raise BadInputError(f"-k {expression!r} selects no cell of this project; it declares {names}")
    output = arguments.writable_folder(output.absolute())
    standard = standard_of(allow, folder=Path.cwd())
    models = [declared[name] for name in dict.fromkeys(cell.model for cell in cells)]
    try:
        run, right = _run(cells, models, expression, output, standard, require_quality)
    except KeyboardInterrupt:
        raise StoppedError(STOPPED) from None
    except OSError as error:
        raise BadInputError(os_words(error, None if error.filename else output / RECORD)) from error
    if as_json:
        terminal.say((output / "report.json").read_text(encoding="utf-8").rstrip("\n"))
    else:
        print_run(run)
        terminal.say(f"report: {output / 'report.md'} (and .html, .json, junit.xml)")
    return run.verdict == "pass" and right


def _run(
    cells: tuple[Cell, ...],
    models: list[Declared],
    expression: str,
    output: Path,
    standard: Standard,
    require_quality: bool,
) -> tuple[Run, bool]:
    """The recorded run, and whether every captured program is its module's."""
    width = max(len(cell.id) for cell in cells)
    with terminal.progress("proving", total=len(cells)) as progress, Workers() as workers:

        def on_cell(record: CellRecord, done: int, total: int) -> None:
            words = Entry(record.id, record.model, record.format, record.quantization, record).headline
            cached = " (cached)" if record.cached else ""
            count = f"{done:{len(str(total))}}/{total}"
            progress.line(
                f"{count} {GLYPHS[record.status]} {record.id:{width}} {record.status} {words}{cached}"
            )
            progress.advance()

        networks: list[Brought] = []
        for each in models:
            brought = bring(each.model, workers, Path.cwd(), on_stage=progress.hint)
            for line in (*described(brought.spec), *sampled(brought.spec)):
                progress.line(line)
            networks.append(brought)
        with session_of(networks, None, workers, progress.hint) as session:
            right = True
            for brought in networks:
                for claim in program_claims(session, brought):
                    if not claim.passed:
                        right = False
                        progress.line(f"{brought.spec.name}: {claim.detail}")
            weights = {each.spec.name: f"as {each.spec.title} gives them" for each in networks}
            run = run_gate(
                session,
                cells,
                output,
                weights,
                selection=expression,
                on_cell=on_cell,
                on_stage=progress.stage,
                standard=replace(standard, weights=weights),
                require_quality=require_quality,
            )
    return run, right
