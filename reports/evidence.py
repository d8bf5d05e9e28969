"""Writes the evidence of one cell in words: its claims, its worst samples, its cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from modelparity.parity.results import CellRecord, Claim, Cost, Number, Run, SampleRecord
from modelparity.reports.view import CPU_FLAGS, Entry, other_cpu
from modelparity.reports.words import (
    NONE,
    megabytes,
    milliseconds,
    number,
    one_line,
    pairs,
    shares,
    value,
    visible,
)

CACHED = "cached evidence: taken from an earlier run with the same inputs"
COST_HEADER = (
    "cell",
    "latency ms",
    "IQR ms",
    "latency / fp32",
    "95 % interval",
    "size MB",
    "size / fp32",
    "convert s",
    "convert peak MB",
    "run peak MB",
    "weights",
    "arithmetic",
)


@dataclass(frozen=True)
class ClaimWords:
    """A claim, ready to print; `bound` starts with its direction."""

    name: str
    output: str
    observed: str
    bound: str
    status: str
    because: str
    detail: str


def quality_line(cell: CellRecord) -> str:
    """What the precision costs, and what that was judged by; "" for a float file."""
    quality = cell.quality
    if quality is None or not quality.is_price:
        return ""
    changed = [
        f"{each.changed} of {each.of} {one_line(each.plural)} change (at most {each.at_most:.2g} of all)"
        for each in quality.decisions
    ]
    noise = [
        f"{one_line(name)} {_decibels(db)} (worst image {_decibels(quality.worst_sqnr_db.get(name))})"
        for name, db in quality.sqnr_db.items()
    ]
    by = f"judged by {one_line(quality.judged_by)}" if quality.judged_by else "measured, not judged"
    return f"{'; '.join((*changed, *noise))}: {by}"


def _decibels(db: float | None) -> str:
    return "without error" if db is None else f"{db:.1f} dB"


def claim_words(claim: Claim) -> ClaimWords:
    """A claim in words; observed and bound look different whenever their values differ."""
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


FLOOR_HEADER = ("output", "noise floor", "error", "error in floors", "bound", "headroom")


def floor_rows(cell: CellRecord) -> tuple[tuple[str, ...], ...]:
    """One row per output that `float_parity` measured, with the columns of `FLOOR_HEADER`."""
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
    """One line per output: the sample with the lowest SQNR, and the greatest error."""
    lines = []
    for output, samples in samples_by_output(cell).items():
        worst = min(samples, key=lambda s: (s.sqnr_db is None, s.sqnr_db or 0.0, -greatest_error(s)))
        greatest = max(samples, key=greatest_error)
        quality = f"SQNR {worst.sqnr_db:.1f} dB" if worst.sqnr_db is not None else "no SQNR"
        line = f"{_numbered(samples, worst)}, {quality}, greatest absolute error {greatest_error(worst):.3g}"
        if greatest is not worst and greatest_error(greatest) > greatest_error(worst):
            line += (
                f"; greatest of all samples {greatest_error(greatest):.3g} in {_numbered(samples, greatest)}"
            )
        lines.append(f"{one_line(output)}: {line}")
    return tuple(lines)


def worst_found_lines(cell: CellRecord) -> tuple[str, ...]:
    """One line per input that a search found: its errors, beside the worst of the evaluation set."""
    errors: dict[str, list[str]] = {}
    for worst in cell.worst:
        searched, evaluated = (_with_unit(amount, worst.unit) for amount in (worst.found, worst.stream))
        errors.setdefault(worst.input, []).append(
            f"{one_line(worst.output)} {searched} (evaluation set {evaluated})"
        )
    return tuple(f"{', '.join(words)}: {one_line(which)}" for which, words in errors.items())


def _with_unit(amount: Number | str | None, unit: str) -> str:
    return value(amount) if amount is None else f"{value(amount)} {one_line(unit)}"


def greatest_error(sample: SampleRecord) -> float:
    """The greatest absolute error of a sample; infinity if the output was not finite."""
    return math.inf if sample.max_abs_error is None else sample.max_abs_error


def samples_by_output(cell: CellRecord) -> dict[str, list[SampleRecord]]:
    """The samples by output, in recorded order."""
    grouped: dict[str, list[SampleRecord]] = {}
    for sample in cell.samples:
        grouped.setdefault(sample.output, []).append(sample)
    return grouped


def _numbered(samples: list[SampleRecord], one: SampleRecord) -> str:
    return f"{one_line(one.sample)} ({samples.index(one) + 1} of {len(samples)})"


def cost_row(entry: Entry) -> tuple[str, ...]:
    """The cost of a cell, with the columns of `COST_HEADER`; dashes where nothing was measured."""
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


UNDECIDED = "inconclusive"


def speed(cost: Cost) -> str:
    """Whether a file is faster or slower than fp32; inconclusive if the interval contains 1."""
    if cost.latency_interval is None:
        return ""
    low, high = cost.latency_interval
    return " faster" if high < 1 else " slower" if low > 1 else f" {UNDECIDED}"


def cost_note(run: Run) -> str:
    """How the times were measured, and which int8 cells are slower than fp32."""
    timed = [cell.cost for cell in run.cells if cell.cost.latency_median_s is not None]
    if not timed:
        return "No latency was measured."
    rounds = _range({cost.rounds for cost in timed})
    threads = _range({cost.threads for cost in timed})
    slow = [one_line(cell.id) for cell in run.cells if cell.cost.slower_than_float]
    note = (
        f"Latency is the median of {rounds} rounds on {threads} threads. Ratios are to the fp32 file of the "
        "same model and format: both files ran in one process, alternating, and the ratio is the median over "
        "the pairs of runs, with its 95 % interval. If the interval contains 1, this machine does not show "
        "which file is faster. "
    )
    if not slow:
        return note + "No int8 cell is measurably slower than fp32."
    return note + f"int8 cells that are slower than fp32: {', '.join(slow)}."


def _range(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def ran_on_line(cell: CellRecord) -> str:
    """The CPU, the runtime and the options of the session that judged a cell; "" if not recorded."""
    return pairs(cell.ran_on) if cell.ran_on else ""


def ran_on_lines(run: Run) -> tuple[str, ...]:
    """The same for a run: one line for each kind of session, with the number of its cells."""
    lines = Counter(line for cell in run.cells if (line := ran_on_line(cell)))
    return tuple(f"{line} ({count} cell{'s' * (count > 1)})" for line, count in sorted(lines.items()))


def other_cpu_line(cell: CellRecord, run: Run) -> str:
    """That a stored proof is of a CPU with other kernels; "" if it is not."""
    theirs = other_cpu(cell, run.header.machine)
    return f"proven on a CPU with other kernels: {one_line(theirs)}" if theirs else ""


def other_cpu_note(run: Run) -> str:
    """Why proofs of CPUs with other kernels hold on the run's; "" if there are none."""
    count = sum(bool(other_cpu(cell, run.header.machine)) for cell in run.cells)
    if not count:
        return ""
    here = one_line(run.header.machine[CPU_FLAGS])
    return (
        f"Cells that were proven on a CPU with other kernels than the one of this run ({here}): {count}. "
        "Their numbers are of that CPU. Their verdicts hold. Other kernels add in another order, which the "
        "bounds allow; and where sums of integers saturate on some CPUs, the claim `saturation` says that "
        "those of the file do not."
    )


def other_versions(cell: CellRecord, run: Run) -> Mapping[str, str]:
    """The toolchain versions of a cell that differ from those of the run."""
    return {name: text for name, text in cell.versions.items() if run.header.versions.get(name) != text}
