"""Writes numbers, statuses and untrusted texts the same way in every report."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelparity.parity.results import Number

NONE = "–"
# A shape for each status: none can be recognised by its colour alone.
GLYPHS: Mapping[str, str] = {
    "passed": "✔",
    "failed": "✘",
    "mismatched": "✘",
    "errored": "!",
    "crashed": "‼",
    "limitation": "◇",
    "inconclusive": "?",
    "missing": "∅",
}

_COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
# What XML 1.0 forbids, the C1 controls, and marks that reorder the text around them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text with one kind of line end, no colour codes, and other control characters spelled out."""
    text = _COLOUR_CODES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE.sub(lambda match: _spelled(ord(match[0])), text)


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """The visible text on one line, with single spaces."""
    return " ".join(visible(text).split())


def trim(text: str, longest: int) -> str:
    """The text, cut to `longest` characters with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def last_lines(text: str, count: int) -> str:
    """The end of a log, where the cause is, and how many lines were left out before it."""
    lines = visible(text).rstrip().split("\n")
    if len(lines) <= count:
        return "\n".join(lines)
    return "\n".join([f"({len(lines) - count} earlier lines left out)", *lines[len(lines) - count :]])


def anchor(cell_id: str) -> str:
    """The anchor of a cell in the page, which needs no escaping."""
    return "cell-" + re.sub(r"[^\w.-]", "-", cell_id)


def value(observed: Number | str | None) -> str:
    """A recorded value: four significant digits for a fraction, whole numbers in full."""
    if observed is None:
        return NONE
    if isinstance(observed, float):
        return f"{observed:.4g}"
    return one_line(str(observed))


def number(amount: float | None, digits: int = 2) -> str:
    """A measured amount with fixed decimals, or a dash if nothing was measured."""
    return NONE if amount is None else f"{amount:,.{digits}f}".replace(",", " ")


def milliseconds(seconds: float | None) -> str:
    """Milliseconds, such as 1.23 for 0.00123 s."""
    return NONE if seconds is None else number(seconds * 1e3, 1 if seconds >= 0.1 else 2)


def megabytes(count: int | None) -> str:
    """Megabytes, such as 1.20 for 1 200 000 bytes."""
    return NONE if count is None else number(count / 1e6, 1 if count >= 1e7 else 2)


def shares(fractions: Mapping[str, float]) -> str:
    """Such as `int8 98.2 %, float32 1.8 %`, largest first; a small share is `< 0.1 %`, never 0."""
    ordered = sorted(fractions.items(), key=lambda item: (-item[1], item[0]))
    words = (f"{one_line(name)} {_percent(share)}" for name, share in ordered if share > 0)
    return ", ".join(words) or NONE


def _percent(share: float) -> str:
    percent = 100 * share
    if percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if share == 1 else f"{percent:.1f} %"


def duration(seconds: float) -> str:
    """Such as `12 min 3 s` for 723."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def pairs(mapping: Mapping[str, str]) -> str:
    """Such as `onnx 1.21, torch 2.14`, sorted by name."""
    return ", ".join(f"{one_line(name)} {one_line(mapping[name])}" for name in sorted(mapping)) or NONE
