"""Writes the metrics of cells on labelled datasets as rows and remarks."""

from __future__ import annotations

from modelparity.parity.results import Run, TaskMetric, TaskRecord
from modelparity.reports.words import NONE, one_line

METRIC_HEADER = ("metric", "reference", "observed", "difference", "95 % interval", "verdict")
NOTE = (
    "Each file compared with the network in PyTorch (the reference) on the same images. These numbers decide "
    "no cell, because no bound is declared for the dataset. The 95 % interval is that of the difference over "
    "other images of the same kind; the verdict compares it with a margin of 0.01."
)


def metric_row(metric: TaskMetric) -> tuple[str, ...]:
    """A metric, with the columns of `METRIC_HEADER`; dashes where there is no number."""
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
    """The cells that were evaluated, by id, in the order of the run."""
    return [(cell.id, cell.task) for cell in run.cells if cell.task is not None]


def remarks(run: Run) -> tuple[str, ...]:
    """The remarks about the datasets, each once."""
    lines = (f"{task.dataset}: {remark}" for _, task in measured(run) for remark in task.remarks)
    return tuple(dict.fromkeys(map(one_line, lines)))


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{round(value, 4) + 0.0:+.4f}"  # no minus before a zero
