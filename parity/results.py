"""What was found out about each cell: plain records, standard library only.

A run is one JSON-lines file. Its first line is a `RunHeader`; then one `CellRecord` a cell, in
the order in which the cells finished, and a line that ends it. A later line for the same cell
replaces an earlier one: costs are measured after all cells are proven. Reports read this module and nothing
else of the project.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

SCHEMA = 1

Sense = Literal["<=", ">=", "="]  # how `observed` should stand to `bound`
ClaimStatus = Literal["passed", "failed", "inconclusive"]
CellStatus = Literal["passed", "mismatched", "errored", "crashed", "limitation", "inconclusive"]
GREEN: frozenset[str] = frozenset({"passed", "limitation"})
Number: TypeAlias = float | int


@dataclass(frozen=True)
class Claim:
    """One question and its answer.

    `observed` and `bound` are printable and comparable by a script (a number, or a short text such
    as "score, mask"); `because` says where the bound comes from; `detail` is for a person:
    worst sample, place, the bound that would pass. `output` names the output judged, if one is.
    `figures` are the numbers behind `observed`, by name.
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


# What became of a cell: a sum type. Exactly one of these is a cell's outcome.


@dataclass(frozen=True)
class Passed:
    """Every claim holds."""


@dataclass(frozen=True)
class Mismatched:
    """The artifact runs, and at least one claim is false."""


@dataclass(frozen=True)
class Errored:
    """A stage (export, convert, load, run, ...) raised; `message` is its one-line cause."""

    stage: str
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Crashed:
    """The process doing `stage` died of `signal` ("SIGSEGV", "SIGKILL", "exit 3") or hung ("timeout")."""

    stage: str
    signal: str
    message: str
    log_tail: str = ""


@dataclass(frozen=True)
class Unsupported:
    """A declared, strict limitation: the cell failed at the stage and in the way foreseen."""

    stage: str
    reason: str
    issue: str = ""


@dataclass(frozen=True)
class Inconclusive:
    """Nothing false was seen, and nothing could have been: not green."""

    reason: str


Outcome: TypeAlias = Passed | Mismatched | Errored | Crashed | Unsupported | Inconclusive
_OUTCOMES: dict[str, type[Outcome]] = {
    "passed": Passed,
    "mismatched": Mismatched,
    "errored": Errored,
    "crashed": Crashed,
    "limitation": Unsupported,
    "inconclusive": Inconclusive,
}
_STATUS_OF: dict[type, CellStatus] = {kind: name for name, kind in _OUTCOMES.items()}  # type: ignore[misc]


@dataclass(frozen=True)
class KeptFloat:
    """Operators that a quantized recipe leaves in float, how many, and why."""

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
    """One image of the evaluation stream against the reference, for one output.

    `max_abs_error` is None where an output is not finite, `sqnr_db` also where the two are equal.
    """

    sample: str
    output: str
    max_abs_error: float | None
    sqnr_db: float | None


@dataclass(frozen=True)
class WorstRecord:
    """One output on the worst input that a search has found, beside the stream's worst image.

    Both numbers are in `unit` ("floors", "dB", or "matched", a share of detections); `stream` is None where
    the stream was not judged. `input` says in words what the input is.
    """

    output: str
    unit: str
    stream: Number | str | None
    found: Number | str
    input: str


@dataclass(frozen=True)
class FaultRecord:
    """One fault planted in one cell's file, and the claim that noticed it.

    `observed` is how far it moves an output, in units of the network's own float32 error, "inf" where
    nothing can be compared, None where the file was refused before it ran. `strength` is the one tried,
    of faults that have one. `missing` says why the fault does not apply to the file; nothing was asked then.
    `names` are the stored numbers that were changed, `named` whether a false claim's words have one of them.
    `of_own_error`, of quantized files, is how far the fault moves an output as a share of the file's own
    error against float64 (rms over a few images, the most of any output): below 1 it hides in rounding.
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

    @property
    def survived(self) -> bool:
        return self.visible and not self.killed


@dataclass(frozen=True)
class ScoredCell:
    """What became of every fault that was planted in one cell's file.

    `sha256` names the file, `harness` the sources that judged it. `refused` is the claim that the file as
    it is failed; nothing was planted then.
    """

    id: str
    sha256: str
    harness: str
    versions: str
    refused: str = ""
    faults: tuple[FaultRecord, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Measured, so never part of a verdict. Times in seconds, memory in bytes.

    `latency_ratio` and `size_ratio` are against the fp32 cell of the same model and format. Both files ran
    in turn in one process: the ratio is the median of the pairs', `latency_interval` where that median lies
    with 95 %. `slower_than_float` flags an int8 cell whose whole interval is above 1.
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
    """One metric of a labelled dataset, of the network in PyTorch and of the cell's file.

    None where the dataset cannot give it. `interval` is where the difference lies with 95 %, and `verdict`
    what that says, for metrics that were resampled.
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
    """What a cell's file is worth on a labelled dataset; shown, and never part of a verdict."""

    dataset: str
    images: int
    metrics: tuple[TaskMetric, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """The cell's worst sample beside the reference: a WebP image in base64, and what it shows in words."""

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
    headline: str = ""  # the number that matters: "2.4 x floor", "32.9 dB"
    samples: tuple[SampleRecord, ...] = ()
    cost: Cost = field(default_factory=Cost)
    versions: Mapping[str, str] = field(default_factory=dict)
    reproduce: tuple[str, ...] = ()
    not_asked: Mapping[str, str] = field(default_factory=dict)  # claims that were left out, and why
    worst: tuple[WorstRecord, ...] = ()  # on the inputs that a search has found
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
    """What was run, on what. `weights` maps a model to the words for where its weights came from."""

    models: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # (format, quantization), in display order
    weights: Mapping[str, str]
    selection: str = ""  # the -k expression, if the run was narrowed
    machine: Mapping[str, str] = field(default_factory=dict)  # cpu, cores, memory, os
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""  # ISO 8601, UTC
    expected: tuple[str, ...] = ()  # ids of the cells that the run owes


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
        """Proof or nothing: at least one cell, none missing, every one green."""
        proven = bool(self.cells) and not self.missing and all(cell.green for cell in self.cells)
        return "pass" if proven else "fail"


def header_line(header: RunHeader) -> str:
    return _line({"kind": "run", "schema": SCHEMA, **asdict(header)})


def cell_line(cell: CellRecord) -> str:
    data = asdict(cell)
    data["outcome"] = {"status": cell.status, **asdict(cell.outcome)}
    return _line({"kind": "cell", **data})


def end_line(duration_s: float) -> str:
    return _line({"kind": "end", "duration_s": duration_s})


def _line(data: Mapping[str, Any]) -> str:
    # allow_nan=False: a NaN that reaches the record is a bug of the harness, not a result.
    # ASCII: a log tail may hold line separators and lone surrogates, which must not tear the file.
    return json.dumps(data, allow_nan=False, sort_keys=True) + "\n"


def append(path: Path, line: str) -> None:
    """Adds one line, on disk before returning, so a kill loses at most the line being written."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_run(path: Path) -> Run:
    """Raises `ValueError` naming the line for a file that is not a run. A torn last line is ignored."""
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
    header: RunHeader | None = None
    cells: dict[str, CellRecord] = {}
    duration: float | None = None
    for number, text in enumerate(lines, start=1):
        try:
            data = json.loads(text)
            kind = data.pop("kind")
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}:{number}: not a record of a run") from error
        if kind == "run":
            if data.pop("schema") != SCHEMA:
                raise ValueError(f"{path}: written by another version of modelparity; run the gate again")
            header = _header(data)
        elif kind == "cell":
            cell = cell_from_json(data)
            cells[cell.id] = cell
        elif kind == "end":
            duration = float(data["duration_s"])
    if header is None:
        raise ValueError(f"{path}: no run header; not a run of modelparity")
    order = {name: i for i, name in enumerate(header.expected)}
    ordered = sorted(cells.values(), key=lambda cell: (order.get(cell.id, len(order)), cell.id))
    return Run(header, tuple(ordered), duration)


def _header(data: dict[str, Any]) -> RunHeader:
    columns = tuple((pair[0], pair[1]) for pair in data.pop("columns"))
    models, expected = tuple(data.pop("models")), tuple(data.pop("expected"))
    return RunHeader(models=models, columns=columns, expected=expected, **data)


def cell_from_json(data: Mapping[str, Any]) -> CellRecord:
    """The inverse of `cell_line`, on its parsed JSON without `kind`."""
    data = dict(data)
    outcome = dict(data["outcome"])
    data["outcome"] = _OUTCOMES[outcome.pop("status")](**outcome)
    data["claims"] = tuple(Claim(**claim) for claim in data["claims"])
    data["samples"] = tuple(SampleRecord(**sample) for sample in data["samples"])
    data["worst"] = tuple(WorstRecord(**worst) for worst in data.get("worst", ()))
    data["cost"] = cost_from_json(data["cost"])
    data["reproduce"] = tuple(data["reproduce"])
    if data["artifact"] is not None:
        artifact = dict(data["artifact"])
        artifact["kept_float"] = tuple(KeptFloat(**kept) for kept in artifact["kept_float"])
        data["artifact"] = ArtifactRecord(**artifact)
    data["task"] = task_from_json(data["task"]) if data.get("task") else None
    data["picture"] = Picture(**data["picture"]) if data.get("picture") else None
    return CellRecord(**data)


def task_from_json(data: Mapping[str, Any]) -> TaskRecord:
    metrics = []
    for metric in data["metrics"]:
        ends = metric["interval"]
        metrics.append(TaskMetric(**{**metric, "interval": (ends[0], ends[1]) if ends else None}))
    return TaskRecord(**{**data, "metrics": tuple(metrics), "remarks": tuple(data["remarks"])})


def cost_from_json(data: Mapping[str, Any]) -> Cost:
    ends = data.get("latency_interval")
    return Cost(**{**data, "latency_interval": (ends[0], ends[1]) if ends else None})


def fault_from_json(data: Mapping[str, Any]) -> FaultRecord:
    return FaultRecord(**{**data, "names": tuple(data.get("names", ()))})


def scored_line(cell: ScoredCell) -> str:
    """A line of a kill table; what a fault's record leaves at its default is left out."""
    given = [{k: v for k, v in asdict(fault).items() if v not in (None, "", ())} for fault in cell.faults]
    return _line({"kind": "scored", "schema": SCHEMA, **asdict(cell), "faults": given})


def read_scored(path: Path) -> tuple[ScoredCell, ...]:
    """The cells of a kill table, a later line replacing an earlier one. Raises `ValueError`."""
    found: dict[str, ScoredCell] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            data = json.loads(text)
            if (data.pop("kind"), data.pop("schema")) != ("scored", SCHEMA):
                raise ValueError("another kind of record")
            data["faults"] = tuple(fault_from_json(fault) for fault in data["faults"])
            found[data["id"]] = ScoredCell(**data)
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number}: not a line of a kill table; run mutate again") from error
    return tuple(found.values())


def outcome_of(claims: Sequence[Claim] | Iterable[Claim]) -> Outcome:
    """Judged claims to an outcome: a false one outweighs an undecided one; none at all proves nothing."""
    claims = list(claims)
    if any(claim.status == "failed" for claim in claims):
        return Mismatched()
    undecided = [claim for claim in claims if claim.status == "inconclusive"]
    if undecided or not claims:
        return Inconclusive(
            "; ".join(claim.detail or claim.name for claim in undecided) or "no claim was judged"
        )
    return Passed()
