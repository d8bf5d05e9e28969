"""Defines the records of a run: claims, outcomes, costs and cells. Standard library only.

`modelparity.parity.results_json` writes and reads them. Reports import nothing else of the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Sense = Literal["<=", ">=", "="]
ClaimStatus = Literal["passed", "failed", "inconclusive"]
CellStatus = Literal["passed", "mismatched", "errored", "crashed", "limitation", "inconclusive"]
GREEN: frozenset[str] = frozenset({"passed", "limitation"})
Number: TypeAlias = float | int


@dataclass(frozen=True)
class Claim:
    """One question about a file, and its answer.

    Attributes:
        observed: A number, or a short text such as "score, mask", that scripts can compare with `bound`.
        because: Where the bound comes from.
        output: The output that is judged; None if the claim is not about a single output.
        detail: For people: the worst sample, its place, the bound that would pass.
        sense: How `observed` should stand to `bound`.
        figures: The numbers behind `observed`, by name.
    """

    name: str
    status: ClaimStatus
    observed: Number | str | None
    bound: Number | str | None
    because: str
    output: str | None = None
    unit: str = ""
    detail: str = ""
    sense: Sense = "="
    figures: Mapping[str, Number | str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.status == "passed"


# The outcome of a cell is exactly one of these.


@dataclass(frozen=True)
class Passed:
    """Every claim holds."""


@dataclass(frozen=True)
class Mismatched:
    """The artifact runs, and at least one claim fails."""


@dataclass(frozen=True)
class Errored:
    """A stage (export, convert, load, run, ...) raised; `message` is its one-line cause."""

    stage: str
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Crashed:
    """The process doing `stage` ended by `signal` ("SIGSEGV", "SIGKILL", "exit 3") or hung ("timeout")."""

    stage: str
    signal: str
    message: str
    log_tail: str = ""


@dataclass(frozen=True)
class Unsupported:
    """A declared limitation: the cell failed at the declared stage and in the declared way."""

    stage: str
    reason: str
    issue: str = ""


@dataclass(frozen=True)
class Inconclusive:
    """No claim failed, but one could not have failed: not green."""

    reason: str


Outcome: TypeAlias = Passed | Mismatched | Errored | Crashed | Unsupported | Inconclusive
OUTCOMES: dict[str, type[Outcome]] = {
    "passed": Passed,
    "mismatched": Mismatched,
    "errored": Errored,
    "crashed": Crashed,
    "limitation": Unsupported,
    "inconclusive": Inconclusive,
}
_STATUS_OF: dict[type, CellStatus] = {kind: name for name, kind in OUTCOMES.items()}  # type: ignore[misc]


@dataclass(frozen=True)
class KeptFloat:
    """Operators that a recipe keeps in float, how many, and why."""

    operators: str
    count: int
    because: str


@dataclass(frozen=True)
class ArtifactRecord:
    """The judged file. Shares are fractions of weight elements and of multiply-accumulates."""

    sha256: str
    bytes: int
    key: str = ""
    weight_share: Mapping[str, float] = field(default_factory=dict)  # {"int8": 0.98, "float32": 0.02}
    arithmetic_share: Mapping[str, float] = field(default_factory=dict)
    macs: int = 0
    kept_float: tuple[KeptFloat, ...] = ()


@dataclass(frozen=True)
class SampleRecord:
    """One output on one image of the evaluation set, against the reference.

    `max_abs_error` is None where an output is not finite, `sqnr_db` also where the two are equal.
    """

    sample: str
    output: str
    max_abs_error: float | None
    sqnr_db: float | None


@dataclass(frozen=True)
class DecisionRecord:
    """The decisions of one kind over the evaluation set, against those of the network in float64.

    Attributes:
        name: The name of the claim on them; `plural` says what they are.
        changed: How many differ, of `of`.
        at_most: The upper end of the 95 % interval of the share that changes, 0..1.
    """

    name: str
    plural: str
    changed: int
    of: int
    at_most: float


@dataclass(frozen=True)
class QualityRecord:
    """What a file's precision costs: measured, and judged only against what somebody stated.

    Attributes:
        sqnr_db, worst_sqnr_db: By output, over the evaluation set and of its worst image; None without error.
        is_price: Whether the precision is another than the network's; a float file has no price.
        judged_by: What it was judged by; "" if nobody stated or accepted anything.
    """

    decisions: tuple[DecisionRecord, ...] = ()
    sqnr_db: Mapping[str, float | None] = field(default_factory=dict)
    worst_sqnr_db: Mapping[str, float | None] = field(default_factory=dict)
    is_price: bool = True
    judged_by: str = ""


@dataclass(frozen=True)
class WorstRecord:
    """One output on the worst input that a search found, beside the worst image of the evaluation set.

    Attributes:
        unit: Unit of both numbers: "floors", "dB", or "matched" (a share of detections).
        stream: On the worst image of the evaluation set; None if that was not judged.
        found: On the worst input, which `input` describes.
    """

    output: str
    unit: str
    stream: Number | str | None
    found: Number | str
    input: str


@dataclass(frozen=True)
class FaultRecord:
    """One fault planted in one cell's file, and the claim that failed because of it.

    Attributes:
        because: The mistake that the fault stands for.
        visible: Whether it moves an output by more than the noise floor, or breaks the contract.
        killed: Whether a claim failed; `claim` names it.
        strength: The strength that was tried; None for faults without one.
        observed: How far it moves an output, in floors; "inf" if it cannot be compared, None if it never ran.
        missing: Why the fault does not apply to the file; "" if it does.
        names: The constants that were changed; `named` says whether a failed claim's detail names one.
        of_own_error: For quantized files, how far it moves an output relative to the file's own error against
            float64 (rms over a few images, the greatest of any output); below 1, rounding is larger.
        refused_by: Whether each other rule refuses the file (`modelparity.parity.mutation.other_rules`).
    """

    name: str
    model: str
    format: str
    quantization: str
    because: str
    visible: bool
    killed: bool
    claim: str = ""
    strength: float | None = None
    observed: Number | str | None = None
    detail: str = ""
    missing: str = ""
    names: tuple[str, ...] = ()
    named: bool = False
    of_own_error: Number | str | None = None
    refused_by: Mapping[str, bool] | None = None

    @property
    def survived(self) -> bool:
        return self.visible and not self.killed


@dataclass(frozen=True)
class ScoredCell:
    """The faults that were planted in one cell's file.

    `sha256` identifies the file, `harness` the sources that judged it. `refused` is the claim that the
    original file failed; then nothing was planted. `refused_by`: as of a fault, for the original file.
    """

    id: str
    sha256: str
    harness: str
    versions: str
    refused: str = ""
    faults: tuple[FaultRecord, ...] = ()
    refused_by: Mapping[str, bool] | None = None


@dataclass(frozen=True)
class Cost:
    """Measured costs, never part of a verdict. Times in seconds, memory in bytes.

    `latency_ratio` and `size_ratio` are relative to the fp32 cell of the same model and format. Both files
    ran in turn in one process: the ratio is the median over pairs of runs, `latency_interval` its 95 %
    interval. `slower_than_float` marks an int8 cell whose whole interval is above 1.
    """

    latency_median_s: float | None = None
    latency_iqr_s: float | None = None
    rounds: int = 0
    threads: int = 0
    latency_ratio: float | None = None
    latency_interval: tuple[float, float] | None = None
    size_ratio: float | None = None
    convert_s: float | None = None
    convert_peak_bytes: int | None = None
    run_peak_bytes: int | None = None
    slower_than_float: bool = False


@dataclass(frozen=True)
class TaskMetric:
    """One metric on a labelled dataset, for the network in PyTorch and for the cell's file.

    Values are None if the dataset cannot give them. Resampled metrics have the difference's 95 % `interval`
    and a `verdict`.
    """

    name: str
    reference: float | None
    observed: float | None
    interval: tuple[float, float] | None = None
    verdict: str = ""

    @property
    def difference(self) -> float | None:
        """Observed minus reference."""
        if self.reference is None or self.observed is None:
            return None
        return self.observed - self.reference


@dataclass(frozen=True)
class TaskRecord:
    """The metrics of a cell's file on a labelled dataset; shown, never part of a verdict."""

    dataset: str
    images: int
    metrics: tuple[TaskMetric, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """The cell's worst sample beside the reference: a WebP image in base64, described by `words`."""

    sample: str
    words: str
    width: int
    height: int
    webp: str


@dataclass(frozen=True)
class CellRecord:
    """Everything known about one cell."""

    id: str
    model: str
    format: str
    quantization: str
    size: str
    outcome: Outcome
    claims: tuple[Claim, ...] = ()
    artifact: ArtifactRecord | None = None
    headline: str = ""  # the number that matters: "2.4 x floor", "0 of 12 labels changed, 32.9 dB"
    explanation: str = ""  # the known mistake that makes a claim fail
    remarks: tuple[str, ...] = ()  # told of the file, not judged
    samples: tuple[SampleRecord, ...] = ()
    quality: QualityRecord | None = None
    cost: Cost = field(default_factory=Cost)
    versions: Mapping[str, str] = field(default_factory=dict)
    ran_on: Mapping[str, str] = field(default_factory=dict)  # cpu, its flags, runtime, the session's options
    reproduce: tuple[str, ...] = ()
    not_asked: Mapping[str, str] = field(default_factory=dict)  # claims that were left out, and why
    worst: tuple[WorstRecord, ...] = ()  # on inputs that searches have found
    cached: bool = False  # evidence taken from an earlier run whose inputs were all the same
    task: TaskRecord | None = None
    picture: Picture | None = None

    @property
    def status(self) -> CellStatus:
        return _STATUS_OF[type(self.outcome)]

    @property
    def green(self) -> bool:
        return self.status in GREEN


@dataclass(frozen=True)
class RunHeader:
    """What was run, and on which machine. `weights` says for each model where its weights came from."""

    models: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # (format, quantization), in display order
    weights: Mapping[str, str]
    selection: str = ""  # the -k expression, if the run was narrowed
    machine: Mapping[str, str] = field(default_factory=dict)  # cpu, cores, memory, os
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""  # ISO 8601, UTC
    expected: tuple[str, ...] = ()  # ids of the cells that the run owes
    require_quality: bool = False  # whether a quality that nobody judged fails the run


@dataclass(frozen=True)
class Run:
    header: RunHeader
    cells: tuple[CellRecord, ...]  # in the order of `header.expected`
    duration_s: float | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Cells that the run owes and has no record of."""
        seen = {cell.id for cell in self.cells}
        return tuple(name for name in self.header.expected if name not in seen)

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """Proof or nothing: at least one cell, none missing, every one green; quality judged, if required."""
        proven = bool(self.cells) and not self.missing and all(cell.green for cell in self.cells)
        return "pass" if proven and not (self.header.require_quality and self.unjudged) else "fail"

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Ids of the cells whose quality was measured, and judged by nothing."""
        measured = [cell for cell in self.cells if cell.quality is not None and cell.quality.is_price]
        return tuple(cell.id for cell in measured if cell.quality and not cell.quality.judged_by)


def outcome_of(claims: Iterable[Claim]) -> Outcome:
    """The outcome of judged claims: a failed one outweighs an inconclusive one; no claim is inconclusive."""
    claims = list(claims)
    if any(claim.status == "failed" for claim in claims):
        return Mismatched()
    inconclusive = [claim for claim in claims if claim.status == "inconclusive"]
    if inconclusive or not claims:
        reason = "; ".join(claim.detail or claim.name for claim in inconclusive)
        return Inconclusive(reason or "no claim was judged")
    return Passed()
