"""Clean weights out of a training checkpoint: asked of the torch worker, told in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.fixtures.specs import ModelSpec
from modelparity.parity.session import Session


@dataclass(frozen=True)
class CleanFile:
    """One file of weights; `weights` says which were taken."""

    path: str
    sha256: str
    bytes: int
    weights: str
    keys: int
    parameters: int


def write_pretrained(
    session: Session, checkpoint: Path, spec: ModelSpec, output: Path, folder: bool
) -> list[CleanFile]:
    """One file at `output`, or with `folder` the full set in it; each proven bit for bit."""
    reply = session.workers["torch"].call(
        "modelparity.worker_tasks:write_pretrained",
        checkpoint,
        spec,
        output,
        folder,
        timeout=CONVERT_TIMEOUT_S,
    )
    return [CleanFile(**file) for file in reply.value]
