"""Writes report.html from the templates beside this module; it loads nothing from the network."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelparity.parity.results import Run
from modelparity.reports import charts, evidence, tasks, words
from modelparity.reports.catches import HEADER, NOTE, Catches, rows
from modelparity.reports.failures import failure_text, log_of, outcome_line
from modelparity.reports.view import (
    LEGEND,
    counts,
    counts_line,
    entries,
    verdict_line,
    verdict_rows,
    weights_lines,
)

TEMPLATES = Path(__file__).parent / "templates"


def page(run: Run, kills: Catches) -> str:
    """The whole page; the template engine escapes untrusted text, and the charts escape their own."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        one_line=words.one_line,
        visible=words.visible,
        shares=words.shares,
        pairs=words.pairs,
        anchor=words.anchor,
        claim_words=evidence.claim_words,
        metric_row=tasks.metric_row,
    )
    everything = entries(run)
    return environment.get_template("report.html").render(
        run=run,
        header=run.header,
        verdict=run.verdict,
        verdict_line=verdict_line(run),
        counts=counts(run),
        counts_line=counts_line(run),
        weights=weights_lines(run),
        legend=LEGEND,
        matrix=verdict_rows(run),
        format_groups=_format_groups(verdict_rows(run).columns),
        entries=everything,
        open_findings=[(entry, outcome_line(entry)) for entry in everything if entry.status != "passed"],
        cost_header=evidence.COST_HEADER,
        cost_rows=[(entry, evidence.cost_row(entry)) for entry in everything],
        cost_note=evidence.cost_note(run),
        measured=tasks.measured(run),
        metric_header=tasks.METRIC_HEADER,
        task_note=tasks.NOTE,
        task_remarks=tasks.remarks(run),
        catches=kills,
        catches_header=HEADER,
        catches_rows=rows(kills.faults),
        catches_note=NOTE,
        latency_chart=charts.latency_chart(everything),
        size_chart=charts.size_chart(everything),
        strip_plots=charts.strip_plots,
        floor_header=evidence.FLOOR_HEADER,
        floor_rows=evidence.floor_rows,
        quality_line=evidence.quality_line,
        worst_sample_lines=evidence.worst_sample_lines,
        worst_found_lines=evidence.worst_found_lines,
        ran_on_line=evidence.ran_on_line,
        other_cpu_line=lambda cell: evidence.other_cpu_line(cell, run),
        other_cpu_note=evidence.other_cpu_note(run),
        other_versions=lambda cell: evidence.other_versions(cell, run),
        failure_text=lambda entry: failure_text(entry, lines=0),
        log_of=log_of,
        cached=evidence.CACHED,
        glyphs=words.GLYPHS,
        dash=words.NONE,
    )


def _format_groups(columns: tuple[tuple[str, str], ...]) -> list[tuple[str, int]]:
    """Each format with the number of its adjacent columns, for a heading that spans them."""
    return [(form, len(list(group))) for form, group in groupby(columns, key=lambda column: column[0])]
