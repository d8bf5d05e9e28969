"""Reads and writes `parity.lock`: what each quantized file cost in a run that a person accepted.

The file is TOML, made for review in a diff: a table for each cell in the order of names, with the weights,
the changed decisions, and for each output the SQNR in dB of each image. A later run is compared with it image
by image. It is worse only if a paired, one-sided t-test over the images says that the mean loss is greater
than the lock's margin.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelparity.errors import BadInputError
from modelparity.fixtures.whole_files import written
from modelparity.parity.results import CellRecord, Run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "parity.lock"
MARGIN_DB = 1.0  # of a new lock; whoever accepts a run may state another
_HEADER = """\
# What each quantized file costs against float64, accepted with `modelparity accept`. A gate compares its own
# run with this, image by image; edit margin_db, the mean loss in dB that is tolerated, or accept another run.
"""


@dataclass(frozen=True)
class LockedCell:
    """One cell as it was accepted; `sqnr_db` has a number for each image, by output. inf: no error."""

    weights: str
    images: tuple[str, ...]
    changed: Mapping[str, str]
    sqnr_db: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Lock:
    """An accepted run; `margin_db` is the mean loss over the images that counts as none."""

    margin_db: float = MARGIN_DB
    cells: Mapping[str, LockedCell] = field(default_factory=dict)


def locked(run: Run, margin_db: float = MARGIN_DB) -> Lock:
    """The lock of a run's green, quantized cells.

    Raises:
        BadInputError: the run failed, or no cell of it is quantized.
    """
    if run.verdict != "pass":
        raise BadInputError("the run failed, so nothing of it can be accepted")
    cells = {
        cell.id: LockedCell(
            run.header.weights.get(cell.model, ""),
            tuple(dict.fromkeys(sample.sample for sample in cell.samples)),
            {each.name: f"{each.changed} of {each.of}" for each in cell.quality.decisions},
            sqnr_of(cell),
        )
        for cell in sorted(run.cells, key=lambda cell: cell.id)
        if cell.quality is not None and cell.quality.is_price and cell.status == "passed"
    }
    if not cells:
        raise BadInputError("the run has no quantized cell that passed")
    return Lock(margin_db, cells)


def sqnr_of(cell: CellRecord) -> dict[str, tuple[float, ...]]:
    """By output, the SQNR in dB of each image; inf where there is no error."""
    found: dict[str, list[float]] = {}
    for sample in cell.samples:
        lossless = sample.sqnr_db is None and sample.max_abs_error == 0
        value = math.inf if lossless else -math.inf if sample.sqnr_db is None else sample.sqnr_db
        found.setdefault(sample.output, []).append(round(value, 2))
    return {output: tuple(values) for output, values in found.items()}


def text_of(lock: Lock) -> str:
    """The lock as TOML, the same text for the same lock."""
    lines = [_HEADER, f"margin_db = {lock.margin_db:g}"]
    for name, cell in lock.cells.items():
        lines += ["", f"[{_quoted(name)}]", f"weights = {_quoted(cell.weights)}"]
        lines += [f"images = [{', '.join(map(_quoted, cell.images))}]"]
        lines += [f"changed.{_quoted(kind)} = {_quoted(words)}" for kind, words in cell.changed.items()]
        lines += [
            f"sqnr_db.{_quoted(output)} = [{', '.join(map(_number, values))}]"
            for output, values in cell.sqnr_db.items()
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML one


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else str(value)


def write(lock: Lock, path: Path) -> None:
    """Writes the file whole or not at all."""
    with written(path) as file:
        file.write(text_of(lock).encode())


def read(path: Path) -> Lock:
    """Reads a lock.

    Raises:
        BadInputError: the file is no lock; the message says where.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        margin = float(data.pop("margin_db"))
        cells = {
            name: LockedCell(
                str(cell["weights"]),
                tuple(map(str, cell["images"])),
                {str(kind): str(words) for kind, words in cell.get("changed", {}).items()},
                {str(output): tuple(map(float, values)) for output, values in cell["sqnr_db"].items()},
            )
            for name, cell in data.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{path}: not a lock of `modelparity accept` ({type(error).__name__}: {error})"
        ) from error
    return Lock(margin, cells)


@dataclass(frozen=True)
class Loss:
    """How much an output lost against the accepted run: the mean over the images in dB, and the p-value."""

    output: str
    mean_db: float
    p_value: float


def losses(cell: CellRecord, accepted: LockedCell, margin_db: float) -> Sequence[Loss]:
    """Each output's mean loss in dB, and the p-value of its exceeding the margin.

    The test is a paired, one-sided t-test over the images.

    Raises:
        ValueError: the cell was run on other images, or has other outputs.
    """
    from scipy import stats

    now = sqnr_of(cell)
    images = tuple(dict.fromkeys(sample.sample for sample in cell.samples))
    if images != accepted.images or now.keys() != accepted.sqnr_db.keys():
        raise ValueError("accepted on other images or outputs")
    found = []
    for output, before in accepted.sqnr_db.items():
        pairs = [(old, new) for old, new in zip(before, now[output], strict=True) if old != new]
        lost = [min(old, 200.0) - max(new, -200.0) for old, new in pairs] + [0.0] * (len(before) - len(pairs))
        mean = math.fsum(lost) / len(lost)
        if len(lost) < 2 or max(lost) == min(lost):
            p_value = 0.0 if mean > margin_db else 1.0
        else:
            p_value = float(stats.ttest_1samp(lost, margin_db, alternative="greater").pvalue)
        found.append(Loss(output, mean, p_value))
    return found
