"""Describes failures: what was claimed, what was observed, where, and how to reproduce it."""

from __future__ import annotations

from modelparity.parity.results import CellRecord, Claim, Crashed, Errored, Inconclusive, Unsupported
from modelparity.reports.evidence import claim_words
from modelparity.reports.view import Entry
from modelparity.reports.words import last_lines, one_line, trim, visible

NO_LIMIT = 1_000_000


def failure_line(cell: CellRecord, claim: Claim) -> str:
    """One claim: `<cell>: mask SQNR = 18.2 dB, but should be >= 30 dB [bits flip below 24 dB]`."""
    words = claim_words(claim)
    subject = f"{one_line(cell.id)}: " + " ".join(filter(None, (words.output, words.name)))
    if claim.status == "inconclusive":
        line = f"{subject} = {words.observed} is undecided (bound {words.bound})"
    elif claim.bound is None:
        line = f"{subject} = {words.observed} does not hold"
    else:
        line = f"{subject} = {words.observed}, but should be {words.bound}"
    return f"{line} [{words.because}]" if words.because else line


def undecided_or_failed(cell: CellRecord) -> tuple[Claim, ...]:
    """The claims that keep a cell from passing, failed ones first."""
    order = {"failed": 0, "inconclusive": 1}
    return tuple(sorted((c for c in cell.claims if not c.passed), key=lambda c: order[c.status]))


def outcome_line(entry: Entry) -> str:
    """Why a cell did not pass, in one line: the known mistake, if there is one. Empty for a passed cell."""
    cell, name = entry.cell, one_line(entry.id)
    if cell is None:
        return f"{name}: missing: the run should include this cell, but has no record of it"
    if cell.explanation and not cell.green:
        return f"{name}: {one_line(cell.explanation)}"
    match cell.outcome:
        case Errored(stage, message):
            return f"{name}: error in {one_line(stage)}: {one_line(message)}"
        case Crashed(stage, signal, message):
            return f"{name}: {one_line(stage)} ended by {one_line(signal)}: {one_line(message)}"
        case Unsupported(stage, reason, issue):
            known = f"{name}: known limitation in {one_line(stage)}: {one_line(reason)}"
            return f"{known} [{one_line(issue)}]" if issue else known
        case Inconclusive(reason):
            return f"{name}: inconclusive: {one_line(reason)}"
    broken = undecided_or_failed(cell)
    if broken:
        return failure_line(cell, broken[0])
    return f"{name}: {cell.status}, but no claim says why" if not cell.green else ""


def log_of(cell: CellRecord) -> str:
    """The traceback of an error, or the end of the log of a crashed process; else empty."""
    match cell.outcome:
        case Errored(traceback=text) | Crashed(log_tail=text):
            return text
    return ""


def failure_text(entry: Entry, claims: int = NO_LIMIT, chars: int = NO_LIMIT, lines: int = NO_LIMIT) -> str:
    """All about a cell that did not pass: claims that do not hold, the log, how to reproduce it.

    Has at most `claims` claims, `chars` characters per line or detail, and the last `lines` lines of the log.
    Empty for a passed cell.
    """
    first = outcome_line(entry)
    if not first:
        return ""
    cell = entry.cell
    broken = undecided_or_failed(cell) if cell else ()
    failures = (
        [(failure_line(cell, claim), visible(claim.detail).strip()) for claim in broken] if cell else []
    )
    parts = [first, *(part for pair in failures[:claims] for part in pair if part and part != first)]
    if len(failures) > claims:
        parts.append(f"and {len(failures) - claims} more claims that do not hold")
    text = [trim(part, chars) for part in parts]
    log = log_of(cell).strip() if cell else ""
    if log and lines:
        text += [trim(line, chars) for line in last_lines(log, lines).split("\n")]
    if cell:
        text += [f"reproduce: {one_line(command)}" for command in cell.reproduce]
    return "\n".join(text)
