"""One cell's evidence in words: its claims, its worst samples, its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelparity.parity.results import CellRecord, Claim, Cost, Number, Run, SampleRecord
from modelparity.reports.view import Entry
from modelparity.reports.words import NONE, megabytes, milliseconds, number, one_line, shares, value, visible

CACHED = "cached evidence: taken from an earlier run whose inputs were all the same"
COST_HEADER = (
    "cell",
    "latency ms",
    "IQR ms",
    "latency × fp32",
    "95 %",
    "size MB",
    "size × fp32",
    "convert s",
    "convert peak MB",
    "run peak MB",
    "weights",
    "arithmetic",
)


@dataclass(frozen=True)
class ClaimWords:
    """A claim ready to print; `bound` bears its direction."""

    name: str
    output: str
    observed: str
    bound: str
    status: str
    because: str
    detail: str


def claim_words(claim: Claim) -> ClaimWords:
    """Observed and bound are written so that they differ in print whenever they differ in value."""
    observed, bound = value(claim.observed), value(claim.bound)
    if observed == bound and claim.observed != claim.bound:
        observed, bound = str(claim.observed), str(claim.bound)
    unit = f" {one_line(claim.unit)}" if claim.unit else ""
    return ClaimWords(
        name=one_line(claim.name),
        output=one_line(claim.output or ""),
        observed=observed + (unit if claim.observed is not None else ""),
        bound=_SENSES[claim.sense] + bound + (unit if claim.bound is not None else ""),
        status=claim.status,
        because=one_line(claim.because),
        detail=visible(claim.detail).strip(),
    )


_SENSES: Mapping[str, str] = {"<=": "<= ", ">=": ">= ", "=": ""}


FLOOR_HEADER = ("output", "floor", "error", "ratio", "bound", "headroom")


def floor_rows(cell: CellRecord) -> tuple[tuple[str, ...], ...]:
    """In the words of `FLOOR_HEADER`, of each output that was measured in floors against float64."""
    return tuple(
        (
            one_line(claim.output or ""),
            value(claim.figures["floor"]),
            value(claim.figures["error"]),
            value(claim.observed),
            value(claim.bound),
            f"{value(claim.figures['headroom'])} ×",
        )
        for claim in cell.claims
        if claim.name == "float_parity" and claim.figures
    )


def worst_sample_lines(cell: CellRecord) -> tuple[str, ...]:
    """For each output, the sample of the lowest SQNR and the greatest error."""
    lines = []
    for output, samples in samples_by_output(cell).items():
        worst = min(samples, key=lambda s: (s.sqnr_db is None, s.sqnr_db or 0.0, -greatest_error(s)))
        greatest = max(samples, key=greatest_error)
        quality = f"SQNR {worst.sqnr_db:.1f} dB" if worst.sqnr_db is not None else "no SQNR"
        line = f"{_place(samples, worst)}, {quality}, greatest absolute error {greatest_error(worst):.3g}"
        if greatest is not worst and greatest_error(greatest) > greatest_error(worst):
            line += f"; greatest of all {greatest_error(greatest):.3g} in {_place(samples, greatest)}"
        lines.append(f"{one_line(output)}: {line}")
    return tuple(lines)


def worst_found_lines(cell: CellRecord) -> tuple[str, ...]:
    """For each input that a search has found, its errors by output, beside the stream's worst."""
    errors: dict[str, list[str]] = {}
    for worst in cell.worst:
        found, stream = (_with_unit(amount, worst.unit) for amount in (worst.found, worst.stream))
        errors.setdefault(worst.input, []).append(f"{one_line(worst.output)} {found} (stream {stream})")
    return tuple(f"{', '.join(words)}: {one_line(which)}" for which, words in errors.items())


def _with_unit(amount: Number | str | None, unit: str) -> str:
    return value(amount) if amount is None else f"{value(amount)} {one_line(unit)}"


def greatest_error(sample: SampleRecord) -> float:
    """The greatest error; infinite where the output was not finite."""
    return math.inf if sample.max_abs_error is None else sample.max_abs_error


def samples_by_output(cell: CellRecord) -> dict[str, list[SampleRecord]]:
    """The samples of each output, in recorded order."""
    grouped: dict[str, list[SampleRecord]] = {}
    for sample in cell.samples:
        grouped.setdefault(sample.output, []).append(sample)
    return grouped


def _place(samples: list[SampleRecord], one: SampleRecord) -> str:
    return f"{one_line(one.sample)} ({samples.index(one) + 1} of {len(samples)})"


def cost_row(entry: Entry) -> tuple[str, ...]:
    """The cell's cost in the words of `COST_HEADER`; dashes where nothing was measured."""
    cell = entry.cell
    if cell is None:
        return (one_line(entry.id), *(NONE for _ in COST_HEADER[1:]))
    cost, artifact = cell.cost, cell.artifact
    low, high = cost.latency_interval or (None, None)
    return (
        one_line(cell.id),
        milliseconds(cost.latency_median_s),
        milliseconds(cost.latency_iqr_s),
        f"{number(cost.latency_ratio)}{speed(cost)}",
        f"{number(low)} to {number(high)}" if cost.latency_interval else NONE,
        megabytes(artifact.bytes if artifact else None),
        number(cost.size_ratio),
        number(cost.convert_s, 1),
        megabytes(cost.convert_peak_bytes),
        megabytes(cost.run_peak_bytes),
        shares(artifact.weight_share if artifact else {}),
        shares(artifact.arithmetic_share if artifact else {}),
    )


CANNOT_TELL = "cannot tell"


def speed(cost: Cost) -> str:
    """What the interval proves: nothing where it holds 1."""
    if cost.latency_interval is None:
        return ""
    low, high = cost.latency_interval
    return " faster" if high < 1 else " slower" if low > 1 else f" {CANNOT_TELL}"


def cost_note(run: Run) -> str:
    """How the times were taken, and which int8 cells gain no speed."""
    timed = [cell.cost for cell in run.cells if cell.cost.latency_median_s is not None]
    if not timed:
        return "No latency was measured."
    rounds = _range({cost.rounds for cost in timed})
    threads = _range({cost.threads for cost in timed})
    slow = [one_line(cell.id) for cell in run.cells if cell.cost.slower_than_float]
    note = (
        f"Latency is the median of {rounds} rounds on {threads} threads; "
        "a ratio is to the fp32 file of the same model and format, which ran in turn with the cell's in one "
        "process, and 95 % is where the median of the pairs' ratios lies; where that holds 1, this machine "
        "cannot tell. "
    )
    if not slow:
        return note + "No int8 cell is seen to be slower than fp32."
    return note + f"Slower than fp32, though int8: {', '.join(slow)}."


def _range(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def other_versions(cell: CellRecord, run: Run) -> Mapping[str, str]:
    """The cell's toolchain versions that the run's own list does not already say."""
    return {name: text for name, text in cell.versions.items() if run.header.versions.get(name) != text}
