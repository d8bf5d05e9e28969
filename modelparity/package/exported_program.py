"""Proves the exported program, which all other files are made from, against the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from modelparity.converters.engine.workbench import PROGRAM
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.converters.recipes import FLOAT
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic
from modelparity.parity.prove import blank_record
from modelparity.parity.results import ArtifactRecord, CellRecord, outcome_of
from modelparity.parity.session import Session

FORMAT = "pytorch"
_IMAGES = 4  # the same operators in the same order, so that a few images show as much as many


def program_evidence(session: Session, model: str) -> CellRecord:
    """The record of a `.pt2` file: on photographs, its outputs have the bytes of the network's in float32."""
    subject = session.subject(model)
    entry = session.bench.exported(subject)
    feeds = session.feeds(model)[:_IMAGES]
    own = session.bench.reference(subject, feeds, threads=1)
    reply = session.workers["torch"].call(
        "modelparity.worker_tasks:run_program", entry.path(PROGRAM), feeds, timeout=CONVERT_TIMEOUT_S
    )
    names = subject.signature.output_names
    got: list[dict[str, np.ndarray[Any, Any]]] = [dict(zip(names, run, strict=True)) for run in reply.value]
    because = "an export is the network's own operators, written down"
    found = [
        basic.outputs_as_declared([(str(i), outputs) for i, outputs in enumerate(got)], subject.signature),
        *(basic.same_bytes("exported", *pair, because) for pair in zip(own, got, strict=True)),
    ]
    sha256, size = entry.files[PROGRAM]
    return replace(
        blank_record(Cell(model, FORMAT, FLOAT), subject),
        outcome=outcome_of(found),
        claims=tuple(found),
        artifact=ArtifactRecord(sha256, size, entry.key),
        headline="same bytes as the network",
        reproduce=(),
    )
