"""`modelparity gate`: proves the selected cells, prints each as it finishes, and prints the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.clean_weights import weights_words
from modelparity.commands.judging.running import print_verdict, recorded, told_cells
from modelparity.errors import BadInputError
from modelparity.evaluate import predictors
from modelparity.evaluate.evaluate import check_measures
from modelparity.fixtures.datasets.labelled import Labelled, open_dataset
from modelparity.gate import run_gate
from modelparity.parity.cells import Cell, select
from modelparity.parity.results import Run
from modelparity.parity.session import Session
from modelparity.quality.standard import Standard, standard_of


def gate(
    expression: str,
    *,
    checkpoints: Iterable[str],
    size: str,
    output: Path,
    as_json: bool,
    datasets: Iterable[str] = (),
    allow: Iterable[str] = (),
    require_quality: bool = False,
) -> bool:
    """Runs the gate and prints the verdict; returns whether it is a pass."""
    cells = selected(expression)
    labelled = {
        model: open_dataset(path)
        for model, path in arguments.model_paths("--dataset", datasets, "DIR").items()
    }
    paths = arguments.checkpoint_pairs(checkpoints)
    size = arguments.size_named(size)
    output = arguments.writable_folder(output.absolute())
    models = list(dict.fromkeys(cell.model for cell in cells))
    standard = standard_of(allow, folder=Path.cwd())
    for model in labelled.keys() - models:
        terminal.warn(f"-k {expression!r} selects no cell of {model}; its dataset is not used")
    for model in paths.keys() - models:
        terminal.warn(f"-k {expression!r} selects no cell of {model}; its checkpoint is not used")
    run = recorded(
        lambda: _run(
            cells,
            models,
            checkpoints=paths,
            size=size,
            output=output,
            expression=expression,
            labelled=labelled,
            standard=standard,
            require_quality=require_quality,
        ),
        output,
    )
    print_verdict(run, output, as_json)
    return run.verdict == "pass"


def selected(expression: str) -> tuple[Cell, ...]:
    """The cells that a `-k` expression selects, at least one."""
    try:
        cells = select(expression)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    if not cells:
        raise BadInputError(f"-k {expression!r} selects no cell; `modelparity list` names them")
    return cells


def _run(
    cells: tuple[Cell, ...],
    models: list[str],
    *,
    checkpoints: dict[str, Path],
    size: str,
    output: Path,
    expression: str,
    labelled: Mapping[str, Labelled],
    standard: Standard,
    require_quality: bool,
) -> Run:
    with terminal.progress("proving", total=len(cells)) as progress:

        def on_miss(label: str, _: str) -> None:
            if not label.endswith("evidence"):  # stored when a cell is done, which has a line of its own
                progress.hint(f"making {label}")

        with Session(checkpoints=checkpoints, size=size, on_miss=on_miss) as session:
            weights = {
                model: weights_words(session, arguments.model_named(model), checkpoints.get(model))
                for model in models
            }
            for model, examples in labelled.items():
                if model in models:  # before a proof that takes hours
                    check_measures(predictors.of_network(session, model), examples)
            return run_gate(
                session,
                cells,
                output,
                weights,
                selection=expression,
                on_cell=told_cells(progress, cells),
                on_stage=progress.stage,
                labelled=labelled,
                standard=replace(standard, weights=weights),
                require_quality=require_quality,
            )
