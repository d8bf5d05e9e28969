"""What cells are worth on labelled datasets, in words and rows."""

from __future__ import annotations

from modelparity.parity.results import Run, TaskMetric, TaskRecord
from modelparity.reports.words import NONE, one_line

METRIC_HEADER = ("metric", "reference", "observed", "difference", "95 %", "so it is")
NOTE = (
    "The network in PyTorch beside each file, on the same images. Shown and not judged: no bound is declared "
    "for a dataset that a run was given. 95 % is where the difference lies if other such images are drawn, "
    "and what follows from it at a margin of 0.01."
)


def metric_row(metric: TaskMetric) -> tuple[str, ...]:
    """A metric in the words of `METRIC_HEADER`; dashes where there is no number."""
    low, high = metric.interval or (None, None)
    return (
        one_line(metric.name),
        _number(metric.reference),
        _number(metric.observed),
        _signed(metric.difference),
        f"{_signed(low)} to {_signed(high)}" if metric.interval else NONE,
        one_line(metric.verdict) or NONE,
    )


def measured(run: Run) -> list[tuple[str, TaskRecord]]:
    """Cells that were evaluated, by id, in their order."""
    return [(cell.id, cell.task) for cell in run.cells if cell.task is not None]


def remarks(run: Run) -> tuple[str, ...]:
    """What was remarked of the datasets, each once."""
    said = (f"{task.dataset}: {words}" for _, task in measured(run) for words in task.remarks)
    return tuple(dict.fromkeys(map(one_line, said)))


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{round(value, 4) + 0.0:+.4f}"  # no minus before a zero
