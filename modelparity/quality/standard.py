"""Judges a cell's quality by what somebody stated (`allow`) or accepted (`parity.lock`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelparity.errors import BadInputError
from modelparity.parity.metrics.chance import FALSE_ALARMS
from modelparity.parity.results import CellRecord, Claim, Mismatched, QualityRecord
from modelparity.quality import lock as locks
from modelparity.quality.lock import Lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHANGED = "changed_decisions"


@dataclass(frozen=True)
class Standard:
    """What quality is judged by.

    Attributes:
        changed_decisions: The greatest share of changed decisions of a kind, 0..1; None if nobody stated one.
        stated_in: Where that was stated.
        lock: The accepted run; None if there is none.
        weights: By model, where the weights of this run come from.
    """

    changed_decisions: float | None = None
    stated_in: str = ""
    lock: Lock | None = None
    weights: Mapping[str, str] | None = None

    def judged(self, record: CellRecord) -> CellRecord:
        """The record with a claim for each standard that applies; float cells have no price to judge."""
        quality = record.quality
        if quality is None or not quality.is_price:
            return record
        claims = [claim for claim in (self._allowed(quality), self._accepted(record)) if claim is not None]
        if not claims:
            return record
        by = " and ".join(claim.because.partition(":")[0] for claim in claims)
        record = replace(record, claims=(*record.claims, *claims), quality=replace(quality, judged_by=by))
        if record.green and any(not claim.passed for claim in claims):
            record = replace(record, outcome=Mismatched())
        return record

    def _allowed(self, quality: QualityRecord) -> Claim | None:
        if self.changed_decisions is None or not quality.decisions:
            return None
        worst = max(quality.decisions, key=lambda each: each.changed / each.of if each.of else 0.0)
        share = worst.changed / worst.of if worst.of else 0.0
        return Claim(
            CHANGED,
            "passed" if share <= self.changed_decisions else "failed",
            float(f"{share:.4g}"),
            self.changed_decisions,
            f"{self.stated_in}: at most this share of decisions may change",
            detail=f"{worst.changed} of {worst.of} {worst.plural} change (at most {worst.at_most:.2g})",
            sense="<=",
        )

    def _accepted(self, record: CellRecord) -> Claim | None:
        accepted = self.lock.cells.get(record.id) if self.lock else None
        if self.lock is None or accepted is None:
            return None
        if self.weights is not None and accepted.weights != self.weights.get(record.model, ""):
            return None
        try:
            losses = locks.losses(record, accepted, self.lock.margin_db)
        except ValueError:
            return None
        worst = min(losses, key=lambda loss: loss.p_value)
        least = FALSE_ALARMS / len(losses)  # shared out over the outputs
        return Claim(
            "accepted",
            "passed" if worst.p_value >= least else "failed",
            float(f"{worst.p_value:.3g}"),
            float(f"{least:.3g}"),
            f"{locks.NAME}: the mean loss over the images is at most {self.lock.margin_db:g} dB, by a paired "
            "t-test",
            output=worst.output,
            unit="(p-value)",
            detail=(
                f"{worst.output}: {worst.mean_db:+.2f} dB lost against the accepted run, on average; if the "
                f"true mean loss were {self.lock.margin_db:g} dB, as much or more would be seen with "
                f"probability {worst.p_value:.2g}, and below {least:.2g} the output counts as worse"
            ),
            sense=">=",
        )


NOTHING_STATED = Standard()


def standard_of(allow: Iterable[str], *, folder: Path, weights: Mapping[str, str] | None = None) -> Standard:
    """What `--allow`, or else `[tool.modelparity]` in the folder's pyproject.toml, and its `parity.lock` say.

    Raises:
        BadInputError: one of them cannot be understood.
    """
    stated = dict(_pair(text) for text in allow)
    where = "--allow"
    if not stated:
        stated, where = _configured(folder / "pyproject.toml"), "[tool.modelparity]"
    if unknown := stated.keys() - {CHANGED}:
        raise BadInputError(f"{where}: no such allowance: {', '.join(sorted(unknown))}; known: {CHANGED}")
    path = folder / locks.NAME
    return Standard(
        stated.get(CHANGED),
        where if stated else "",
        locks.read(path) if path.is_file() else None,
        weights,
    )


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name.strip(), _share(value, f"--allow {text}")


def _configured(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        tool: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("modelparity", {})
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: {error}") from error
    allow = tool.get("allow", {})
    if not isinstance(allow, dict):
        raise BadInputError(f"{path}: allow should be a table, such as {{ {CHANGED} = 0.01 }}")
    return {str(name): _share(value, f"{path}: allow.{name}") for name, value in allow.items()}


def _share(value: object, where: str) -> float:
    try:
        share = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise BadInputError(f"{where}: should be a share from 0 to 1, such as {CHANGED}=0.01")
    return share
