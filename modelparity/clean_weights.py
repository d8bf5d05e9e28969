"""Weights of a training checkpoint: where they come from, and clean files of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelparity.arguments import GOLDEN_WORDS
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.errors import BadInputError
from modelparity.fixtures.specs import ModelSpec
from modelparity.parity.session import Session


@dataclass(frozen=True)
class CleanFile:
    """One file of weights; `weights` says where they come from."""

    path: str
    sha256: str
    bytes: int
    weights: str
    keys: int
    parameters: int


def weights_words(session: Session, spec: ModelSpec, checkpoint: Path | None) -> str:
    """Where the weights come from. The checkpoint is read, so that an unusable one fails here."""
    if checkpoint is None:
        return GOLDEN_WORDS
    if not checkpoint.exists():  # known without waiting for torch
        raise BadInputError(f"{checkpoint}: no such file")
    reply = session.workers["torch"].call(
        "modelparity.worker_tasks:weights_words", spec, checkpoint, timeout=CONVERT_TIMEOUT_S
    )
    return str(reply.value)


def write_pretrained(
    session: Session, checkpoint: Path, spec: ModelSpec, output: Path, *, folder: bool
) -> list[CleanFile]:
    """Writes one file at `output`, or with `folder` the full set into it; each is proven bit for bit."""
    reply = session.workers["torch"].call(
        "modelparity.worker_tasks:write_pretrained",
        checkpoint,
        spec,
        output,
        folder,
        timeout=CONVERT_TIMEOUT_S,
    )
    return [CleanFile(**file) for file in reply.value]
