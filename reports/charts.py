"""Draws the charts of report.html as inline SVG.

Fonts and colours come from the style sheet of the page, and there are no scripts. Every chart has a title
and a description, and its colours are also written in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby

from modelparity.parity.results import CellRecord, SampleRecord
from modelparity.reports.evidence import UNDECIDED, greatest_error, samples_by_output, speed
from modelparity.reports.view import Entry
from modelparity.reports.words import anchor, number, one_line

WIDTH = 560
LABEL, VALUE = 120, 90  # columns left and right of the bars
ROW, HEADING = 18, 26
STRIP_HEIGHT, MARGIN = 66, 24


def latency_chart(entries: Sequence[Entry]) -> str:
    """Latency relative to the fp32 cell of the same model and format, with what its interval shows."""
    return _ratio_chart(
        "latency", "slower", entries, lambda cell: (cell.cost.latency_ratio, speed(cell.cost).strip())
    )


def size_chart(entries: Sequence[Entry]) -> str:
    """File size relative to the fp32 cell of the same model and format; a bar beyond the line is larger."""
    return _ratio_chart("size", "larger", entries, _size)


def _size(cell: CellRecord) -> tuple[float | None, str]:
    ratio = cell.cost.size_ratio
    return ratio, "larger" if ratio is not None and round(ratio, 2) > 1 else ""


def _ratio_chart(
    name: str,
    beyond: str,
    entries: Sequence[Entry],
    ratio: Callable[[CellRecord], tuple[float | None, str]],
) -> str:
    """A bar chart; empty if no ratio was recorded.

    `ratio` returns the ratio of a cell and a word about it. The fp32 cells are the line at 1 and have no bar.
    """
    shown = [entry for entry in entries if entry.quantization != "fp32"]
    ratios = {entry.id: ratio(entry.cell) if entry.cell else (None, "") for entry in shown}
    known = [(value, word) for value, word in ratios.values() if value is not None]
    if not known:
        return ""
    scale = (WIDTH - LABEL - VALUE) / max(1.25, *(value for value, _ in known))
    one = LABEL + scale
    body: list[str] = []
    y = HEADING
    for (model, form), group in groupby(shown, key=lambda entry: (entry.model, entry.format)):
        body.append(_text(0, y + 12, f"{model} {form}", "heading"))
        y += ROW
        for entry in group:
            ratio_of_cell, word = ratios[entry.id]
            body += _bar(entry, ratio_of_cell, word=word, scale=scale, y=y, beyond=beyond)
            y += ROW
        y += ROW // 2
    line = f'<line class="one" x1="{one:.1f}" y1="{HEADING - 8}" x2="{one:.1f}" y2="{y}"/>'
    body = [line, _text(one, HEADING - 12, "fp32 = 1", "middle"), *body]  # the line runs behind the bars
    past = sum(word == beyond for _, word in known)
    description = f"{len(known)} cells measured; {past} {beyond} than fp32, with a dashed outline."
    return _svg(f"chart-{name}", body, title=f"{name} relative to fp32", description=description, height=y)


def _bar(entry: Entry, ratio: float | None, *, word: str, scale: float, y: int, beyond: str) -> list[str]:
    label = _text(LABEL - 8, y + 12, entry.quantization, "end")
    if ratio is None:
        return [label, _text(LABEL, y + 12, "not measured", "faint")]
    length = ratio * scale
    kind = "bar over" if word == beyond else "bar unsure" if word == UNDECIDED else "bar"
    label_of_bar = f"{number(ratio)} × {word}".strip()
    return [
        label,
        f'<rect class="{kind}" x="{LABEL}" y="{y + 2}" width="{length:.1f}" height="{ROW - 5}">'
        f"<title>{_escaped(f'{entry.id}: {label_of_bar}')}</title></rect>",
        _text(LABEL + length + 6, y + 12, label_of_bar, "value"),
    ]


def strip_plots(cell: CellRecord) -> tuple[str, ...]:
    """One plot per output with the SQNR in dB of every sample; the worst sample is leftmost and named."""
    grouped = samples_by_output(cell).items()
    return tuple(_strip(f"{anchor(cell.id)}-strip-{i}", *of_output) for i, of_output in enumerate(grouped))


def _strip(name: str, output: str, samples: Sequence[SampleRecord]) -> str:
    measured = sorted(
        ((sample.sqnr_db, sample) for sample in samples if sample.sqnr_db is not None),
        key=lambda pair: pair[0],
    )
    equal = len(samples) - len(measured)
    aside = f", {equal} equal to the reference" if equal else ""
    title = f"{output}: SQNR of {len(samples)} samples"
    if not measured:
        body = [_text(0, 14, f"{title}{aside}")]
        return _svg(name, body, title=title, description=aside.removeprefix(", "), height=MARGIN)
    low, high = measured[0][0], measured[-1][0]
    scale = (WIDTH - 2 * MARGIN) / ((high - low) or 1.0)
    body = [
        _text(0, 12, f"{title}{aside}", "heading"),
        f'<line class="axis" x1="{MARGIN}" y1="46" x2="{WIDTH - MARGIN}" y2="46"/>',
    ]
    for i, (sqnr, sample) in enumerate(measured):
        tooltip = f"{sample.sample}: {sqnr:.1f} dB, greatest |error| {greatest_error(sample):.3g}"
        body.append(
            f'<circle class="{"mark worst" if i == 0 else "mark"}" cx="{MARGIN + (sqnr - low) * scale:.1f}" '
            f'cy="{40 - 6 * (i % 3)}" r="{5 if i == 0 else 4}"><title>{_escaped(tooltip)}</title></circle>'
        )
    worst = one_line(measured[0][1].sample)
    description = f"from {low:.1f} dB (worst, {worst}) to {high:.1f} dB{aside}"
    body.append(_text(MARGIN - 5, 61, f"{low:.1f} dB, worst: {worst}"))
    if high > low:
        body.append(_text(WIDTH - MARGIN + 5, 61, f"{high:.1f} dB", "end"))
    return _svg(name, body, title=title, description=description, height=STRIP_HEIGHT)


def _svg(name: str, body: Sequence[str], *, title: str, description: str, height: int) -> str:
    name = _escaped(name)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{_escaped(title)}</title><desc id="{name}-d">{_escaped(description)}</desc>'
        f"{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{_escaped(words)}</text>'


def _escaped(words: str) -> str:
    return escape(one_line(words))
