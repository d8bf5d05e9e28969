"""Copies an artifact out of the store, with its external data if there are any."""

from __future__ import annotations

import tempfile
from pathlib import Path

from modelparity.converters.engine.store import ENTRY
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.whole_files import replace_with
from modelparity.modelfiles.description import Artifact
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.parity.session import Session


def copy_artifact(session: Session, artifact: Artifact, output: Path) -> Path | None:
    """Writes `output`, whole or not at all. Returns the path of its external data, or None if it has none."""
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
            rename = FILE_FORMATS[artifact.format].rename_external_data
            session.workers[artifact.format].call(rename, artifact.path, renamed, data.name)
            replace_with(data, source)
            replace_with(output, renamed)
        return data
    except OSError as error:
        raise BadInputError(os_words(error, output)) from error
