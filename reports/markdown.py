"""Writes report.md: the verdict, the matrix, the cost, and a section for each cell.

People paste it into reviews, so it must stay under `LIMIT` bytes: long texts are shortened step by step, and
no cell is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from tabulate import tabulate

from modelparity.parity.results import CellRecord, Claim, Run
from modelparity.reports import evidence, tasks
from modelparity.reports.catches import HEADER, NOTE, Catches, rows
from modelparity.reports.failures import failure_text, outcome_line
from modelparity.reports.view import (
    LEGEND,
    Entry,
    Slot,
    counts_line,
    entries,
    verdict_line,
    verdict_rows,
    weights_lines,
)
from modelparity.reports.words import GLYPHS, NONE, one_line, pairs, trim, visible

LIMIT = 60_000
CLAIM_HEADER = ("claim", "output", "observed", "bound", "status", "reason")

PARITY_CLAIMS = {"float_parity", "simulated", "detections"}


@dataclass(frozen=True)
class Detail:
    """How much is written. `reasons`: in each row, or once in a numbered list at the end."""

    reasons: Literal["inline", "numbered"]
    chars: int  # of the longest text
    lines: int  # of a log
    failures: int  # claims that do not hold and are shown in full
    passed_claims: Literal["all", "parity", "none"] = "all"  # rows for claims that hold


DETAILS = (
    Detail("inline", chars=600, lines=40, failures=50),
    Detail("numbered", chars=600, lines=20, failures=20),
    Detail("numbered", chars=200, lines=8, failures=6),
    Detail("numbered", chars=120, lines=8, failures=6, passed_claims="parity"),
    Detail("numbered", chars=120, lines=4, failures=3, passed_claims="none"),
    Detail("numbered", chars=60, lines=0, failures=1, passed_claims="none"),
)


def markdown(run: Run, kills: Catches) -> str:
    """The fullest report that stays under `LIMIT` bytes."""
    text = ""
    for detail in DETAILS:
        text = _Report(run, kills, detail).text()
        if len(text.encode(errors="backslashreplace")) < LIMIT:
            break
    return text


class _Report:
    """One rendering at one level of detail; collects the numbered reasons on the way."""

    def __init__(self, run: Run, kills: Catches, detail: Detail) -> None:
        self.run = run
        self.kills = kills
        self.detail = detail
        self.reasons: dict[str, int] = {}

    def text(self) -> str:
        everything = entries(self.run)
        parts = [*self._first_screen(everything), *self._cost(everything), *self._tasks(), *self._catches()]
        parts.append("## Cells")
        for entry in everything:
            parts += self._section(entry)
        if self.reasons:
            listed = (f"{number}. {inline(words)}" for words, number in self.reasons.items())
            parts += ["## Reasons", "\n".join(listed)]
        parts += self._run_facts()
        return "\n\n".join(parts) + "\n"

    def _first_screen(self, everything: Sequence[Entry]) -> Iterable[str]:
        yield f"# {inline(verdict_line(self.run))}"
        yield "  \n".join(f"Weights: {inline(line)}" for line in weights_lines(self.run))
        yield inline(counts_line(self.run))
        matrix = verdict_rows(self.run)
        yield table(matrix.header, [[_linked(slot) for slot in row] for row in matrix.rows])
        yield LEGEND
        outcomes = [outcome_line(entry) for entry in everything]
        if any(outcomes):
            yield "\n".join(f"- {inline(trim(line, self.detail.chars))}" for line in outcomes if line)
        if self.detail is not DETAILS[0]:
            yield f"Shortened to stay under {LIMIT // 1000} kB; report.html and report.json have every word."

    def _cost(self, everything: Sequence[Entry]) -> Iterable[str]:
        yield "## Cost"
        yield table(evidence.COST_HEADER, [list(map(inline, evidence.cost_row(e))) for e in everything])
        yield inline(evidence.cost_note(self.run))

    def _catches(self) -> Iterable[str]:
        yield "## What this gate catches"
        yield inline(self.kills.line)
        if self.kills.cells:
            columns = range(len(HEADER)) if self.detail is DETAILS[0] else (0, 2, 3, 4)
            body = [[inline(trim(row[i], 60)) for i in columns] for row in rows(self.kills.faults)]
            yield table([HEADER[i] for i in columns], body)
            yield NOTE

    def _tasks(self) -> Iterable[str]:
        measured = tasks.measured(self.run)
        if not measured:
            return
        yield "## Task metrics"
        if self.detail.passed_claims != "all":
            yield f"Those of {len(measured)} cells are in report.html and report.json."
            return
        body = [
            [inline(id), *map(inline, tasks.metric_row(metric))]
            for id, task in measured
            for metric in task.metrics
        ]
        yield table(("cell", *tasks.METRIC_HEADER), body)
        yield inline(" ".join([tasks.NOTE, *tasks.remarks(self.run)]))

    def _section(self, entry: Entry) -> Iterable[str]:
        yield f"### {inline(entry.id)}"
        cell = entry.cell
        size = f", size {inline(cell.size)}" if cell else ""
        cached = f"; {evidence.CACHED}" if cell and cell.cached else ""
        yield f"{GLYPHS[entry.status]} **{entry.status}** {inline(entry.headline)}{size}{cached}"
        detail = self.detail
        failure = failure_text(entry, detail.failures, detail.chars, detail.lines)
        if failure:
            yield _fenced(failure)
        if cell:
            yield from self._claims(cell)
            floors = evidence.floor_rows(cell)
            if floors and detail.passed_claims != "none":
                yield table(evidence.FLOOR_HEADER, [list(map(inline, row)) for row in floors])
            yield "\n".join(f"- {line}" for line in self._facts(cell))

    def _claims(self, cell: CellRecord) -> Iterable[str]:
        of_interest = {"all": {claim.name for claim in cell.claims}, "parity": PARITY_CLAIMS, "none": set()}
        names = of_interest[self.detail.passed_claims]
        shown = [claim for claim in cell.claims if not claim.passed or claim.name in names]
        if shown:
            yield table(CLAIM_HEADER, [self._claim_row(claim) for claim in shown])
        if len(shown) < len(cell.claims):
            yield f"{len(cell.claims) - len(shown)} more claims hold."

    def _claim_row(self, claim: Claim) -> list[str]:
        words = evidence.claim_words(claim)
        same = claim.passed and words.observed == words.bound
        shown = (words.name, words.output or NONE, words.observed, "the same" if same else words.bound)
        status = words.status if claim.passed else f"**{words.status}**"
        texts = [inline(trim(text, self.detail.chars)) for text in shown]
        return [*texts, status, self._reason(words.because)]

    def _reason(self, because: str) -> str:
        because = trim(because, self.detail.chars)
        if self.detail.reasons == "inline" or not because:
            return inline(because)
        return f"reason {self.reasons.setdefault(because, len(self.reasons) + 1)}"

    def _facts(self, cell: CellRecord) -> Iterable[str]:
        for remark in cell.remarks:
            yield f"remark: {inline(remark)}"
        if quality := evidence.quality_line(cell):
            yield f"quality: {inline(quality)}"
        for line in evidence.worst_sample_lines(cell):
            yield f"worst sample, {inline(line)}"
        for line in evidence.worst_found_lines(cell):
            yield f"worst input found, {inline(trim(line, self.detail.chars))}"
        if artifact := cell.artifact:
            key = f", key {_code(artifact.key)}" if artifact.key else ""
            yield f"artifact: sha256 {_code(artifact.sha256)}, {artifact.bytes} bytes{key}"
            for kept in artifact.kept_float:
                because = trim(one_line(kept.because), self.detail.chars)
                yield f"kept in float: {kept.count} × {inline(kept.operators)}, because {inline(because)}"
        else:
            yield "artifact: none"
        for name, because in cell.not_asked.items():
            yield f"not asked: {inline(name)}, because {self._reason(one_line(because))}"
        if line := evidence.other_cpu_line(cell, self.run):
            yield inline(line)
        if versions := evidence.other_versions(cell, self.run):
            yield f"other versions than the run's: {inline(pairs(versions))}"
        if cell.status == "passed":  # other cells have it in their failure
            yield from (f"reproduce: {_code(command)}" for command in cell.reproduce)

    def _run_facts(self) -> Iterable[str]:
        header = self.run.header
        yield "## Run"
        yield "\n".join(
            (
                f"- started: {inline(header.started) or NONE}",
                f"- machine: {inline(pairs(header.machine))}",
                f"- versions: {inline(pairs(header.versions))}",
                *(f"- judged on: {inline(line)}" for line in evidence.ran_on_lines(self.run)),
            )
        )
        if note := evidence.other_cpu_note(self.run):
            yield inline(note)


def _linked(slot: Slot) -> str:
    # The anchor of a heading is its text in lower case; an id needs no other change.
    return f"[{inline(slot.text)}](#{quote(slot.cell_id.lower())})" if slot.cell_id else inline(slot.text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without padding: half the bytes, and the same with or without `wcwidth`."""
    lines = tabulate(rows, headers=header, tablefmt="pipe", disable_numparse=True).split("\n")
    squeezed = [re.sub(r" +\|", " |", line) for line in lines]
    squeezed[1] = re.sub("-+", "---", squeezed[1])
    return "\n".join(squeezed)


def inline(text: str) -> str:
    """Untrusted text for a line or a table cell, with any markup in it escaped."""
    escaped = re.sub(r"([\\`*|\[\]]|<(?=[A-Za-z/!?])|&(?=#?\w+;))", r"\\\1", one_line(text))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)


def _code(text: str) -> str:
    """A code span that a backtick in the text cannot close."""
    text = one_line(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if len(ticks) > 1 else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _fenced(text: str) -> str:
    """A code block that a fence in the text cannot close."""
    text = visible(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
