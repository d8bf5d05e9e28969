"""`modelparity gate` in a project that declares models of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.api.project import Declared
from modelparity.api.prove import Brought, bring, program_claims, session_of, with_program
from modelparity.commands.judging.prove import described, sampled
from modelparity.commands.judging.running import print_verdict, recorded, told_cells
from modelparity.converters.engine.workers import Workers
from modelparity.errors import BadInputError
from modelparity.gate import run_gate
from modelparity.parity.cells import Cell, matching
from modelparity.parity.results import Run
from modelparity.quality.standard import Standard, standard_of


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
    run = recorded(
        lambda: _run(cells, models, expression, output, standard=standard, require_quality=require_quality),
        output,
    )
    print_verdict(run, output, as_json)
    return run.verdict == "pass"


def _run(
    cells: tuple[Cell, ...],
    models: list[Declared],
    expression: str,
    output: Path,
    *,
    standard: Standard,
    require_quality: bool,
) -> Run:
    with terminal.progress("proving", total=len(cells)) as progress, Workers() as workers:
        networks: list[Brought] = []
        for each in models:
            brought = bring(each.model, workers, Path.cwd(), on_stage=progress.hint)
            for line in (*described(brought.spec), *sampled(brought.spec)):
                progress.line(line)
            networks.append(brought)
        with session_of(networks, None, workers, on_stage=progress.hint) as session:
            programs = {each.spec.name: program_claims(session, each) for each in networks}
            weights = {each.spec.name: f"as {each.spec.title} gives them" for each in networks}
            return run_gate(
                session,
                cells,
                output,
                weights,
                selection=expression,
                on_cell=told_cells(progress, cells),
                on_stage=progress.stage,
                standard=replace(standard, weights=weights),
                require_quality=require_quality,
                judged=lambda record: with_program(record, programs[record.model]),
            )
