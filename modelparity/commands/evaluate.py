"""`modelparity evaluate`: metrics of a network or a file on a labelled dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelparity import arguments, terminal
from modelparity.clean_weights import weights_words
from modelparity.errors import BadInputError, nearest
from modelparity.evaluate import predictors
from modelparity.evaluate.evaluate import MARGIN, TaskEvaluation, check_measures, compared, evaluated
from modelparity.evaluate.predictors import EvaluatedModel
from modelparity.fixtures.datasets.labelled import open_dataset
from modelparity.fixtures.models import MODELS
from modelparity.parity.results import TaskMetric
from modelparity.parity.session import Session
from modelparity.reports.tasks import METRIC_HEADER, metric_row

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    target: str,
    dataset: Path,
    *,
    against: str | None,
    checkpoint: Path | None,
    size: str,
    input_size: int | None,
    settings: Sequence[str],
    as_json: bool,
) -> None:
    """Prints the metrics; with `against`, those of both and their differences."""
    if not {target, against} & set(MODELS) and (checkpoint or input_size or settings):
        raise BadInputError(
            f"--checkpoint, --input-size and --set go with a model's name, not with the file {target}"
        )
    examples = open_dataset(dataset)
    weights = checkpoint.absolute() if checkpoint else None
    results: list[tuple[EvaluatedModel, TaskEvaluation]] = []
    with terminal.progress(f"evaluating on {dataset.name}") as progress:
        for name in filter(None, (against, target)):
            with opened(
                name, progress, checkpoint=weights, size=size, input_size=input_size, settings=settings
            ) as model:
                if results and model.card.output_kind != results[0][0].card.output_kind:
                    raise BadInputError(f"{target} and {against}: their answers are of different kinds")
                check_measures(model, examples)
                results.append((model, evaluated(model, examples, progress)))
    for remark in dict.fromkeys(remark for _, evaluation in results for remark in evaluation.remarks):
        terminal.warn(remark)
    model, evaluation = results[-1]
    rows = compared(results[0][1], evaluation) if against else ()
    if as_json:
        value: dict[str, Any] = {
            "target": target,
            "model": model.card.model,
            "dataset": {"folder": str(dataset), "layout": examples.layout, "images": len(examples)},
            "metrics": evaluation.metrics,
            "remarks": evaluation.remarks,
            "sweep": evaluation.sweep,
        }
        if against:
            value["against"] = {
                "target": against,
                "metrics": results[0][1].metrics,
                "differences": {row.name: row.difference for row in rows},
                "intervals": {row.name: row.interval for row in rows if row.interval},
                "margin": MARGIN,
                "verdicts": {row.name: row.verdict for row in rows if row.verdict},
            }
        terminal.say(json.dumps(value, indent=1, allow_nan=False))
        return
    layout = f"{len(examples)} images, a dataset of {examples.layout}"
    terminal.say(f"{model.name} on {dataset}: {layout}")
    terminal.show(_table(rows) if against else _alone(evaluation))


@contextmanager
def opened(
    target: str,
    progress: terminal.Progress,
    *,
    checkpoint: Path | None,
    size: str,
    input_size: int | None,
    settings: Sequence[str],
) -> Iterator[EvaluatedModel]:
    """The network in PyTorch for a model's name; a file for anything else."""
    if target in MODELS:
        spec = arguments.with_settings(MODELS[target], settings)
        checkpoints = {target: checkpoint} if checkpoint else {}
        with Session(
            checkpoints=checkpoints,
            size=arguments.size_named(size),
            input_size=None if input_size is None else arguments.input_size_of(spec, input_size),
            models={target: spec},
        ) as session:
            progress.stage(f"{target}: {weights_words(session, spec, checkpoint)}")
            yield predictors.of_network(session, target)
        return
    path = Path(target)
    if not path.exists():
        hint = nearest(target, MODELS) if path.parent == Path() and not path.suffix else ""
        raise BadInputError(f"{target}: no such {'model or file' if hint else 'file'}{hint}")
    from modelparity.serving.predictor import load

    with load(path) as predictor:
        yield predictors.of_file(predictor, path)


def _alone(evaluation: TaskEvaluation) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    for name, value in evaluation.metrics.items():
        table.add_row(name, "—" if value is None else f"{value:.4f}")
    return table


def _table(rows: Sequence[TaskMetric]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in METRIC_HEADER:
        table.add_column(name)
    for row in rows:
        table.add_row(*metric_row(row))
    return table
