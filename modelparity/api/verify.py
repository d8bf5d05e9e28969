"""Judges a file from anywhere against a user's own network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modelparity.api.model import Model
from modelparity.api.prove import bring, program_claims, session_of, with_program
from modelparity.converters.engine.workers import Workers
from modelparity.fixtures.programs import ProgramSpec
from modelparity.modelfiles.formats import sniff
from modelparity.verification.verify import AS_IT_IS, Meant, Verification, verify


def verify_against(
    path: Path,
    model: Model,
    *,
    meant: Meant = AS_IT_IS,
    folder: Path | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    on_spec: Callable[[ProgramSpec], None] = lambda _: None,
) -> Verification:
    """Judges the file at an absolute path as a conversion of the network.

    Args:
        folder: Where relative targets are found; the current folder by default.
        on_spec: Called once the network is captured.

    Raises:
        NotAModelError: the file is no model of a known format.
        BadInputError, OSError: something that the user can correct.
        WorkerFailedError: the network cannot be captured; the message says why.
    """
    sniff(path)
    with Workers() as workers:
        brought = bring(model, workers, folder or Path.cwd(), on_stage=on_stage)
        on_spec(brought.spec)
        with session_of([brought], None, workers, on_stage=on_stage) as session:
            program = program_claims(session, brought)
    verification = verify(
        path,
        brought.spec,
        checkpoint=brought.program,
        data=brought.data,
        on_stage=on_stage,
        meant=meant,
    )
    return replace(verification, record=with_program(verification.record, program))
