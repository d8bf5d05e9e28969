"""Copies an artifact out of the store, with its external data if it has any."""

from __future__ import annotations

import tempfile
from pathlib import Path

from modelparity.converters.engine.store import ENTRY, replace_with
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.modelfiles.description import Artifact
from modelparity.parity.session import Session


def deliver(session: Session, artifact: Artifact, output: Path) -> Path | None:
    """Writes `output`, whole or not at all; returns where its external data went, if it has any."""
    beside = [path for path in artifact.path.parent.iterdir() if path.name not in (ENTRY, artifact.path.name)]
    try:
        if not beside:
            replace_with(output, artifact.path)
            return None
        (source,) = beside
        data = output.with_name(f"{output.name}.data")
        with tempfile.TemporaryDirectory(prefix="modelparity-") as folder:
            # The file names its data, so that two models in one folder do not share them.
            renamed = Path(folder) / artifact.path.name
            session.workers["onnx"].call(
                "modelparity.worker_tasks:rename_external_data", artifact.path, renamed, data.name
            )
            replace_with(data, source)
            replace_with(output, renamed)
        return data
    except OSError as error:
        raise BadInputError(os_words(error, output)) from error
