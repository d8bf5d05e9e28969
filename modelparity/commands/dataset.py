"""`modelparity dataset`: makes a labelled data set from photographs."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.errors import BadInputError
from modelparity.fixtures.datasets.labelled import LAYOUTS, open_dataset
from modelparity.fixtures.datasets.synthetic import SETS
from modelparity.folders import folder_written
from modelparity.version import own_version

ABOUT = "about.json"
_HINT_INTERVAL_S = 2.0


def dataset(kind: str, count: int, seed: int, output: Path) -> None:
    """Writes a new folder, whole or not at all."""
    make = SETS[arguments.known_as("set", kind, SETS)]
    if count < 1:
        raise BadInputError(f"--count {count}, but should be at least 1")
    if seed < 0:
        raise BadInputError(f"--seed {seed}, but should be at least 0")
    output = output.absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInputError(f"{output}: exists already; choose a new folder")
    arguments.writable_folder(output.parent)
    if (free := shutil.disk_usage(arguments.existing_parent(output)).free) < count * (1 << 19):
        raise BadInputError(
            f"{output}: {count} images need some {count / 2000:.1f} GB, {free / 1e9:.1f} GB are free"
        )
    with (
        terminal.progress(f"making {count} {kind}", total=count) as progress,
        folder_written(output, lambda _: True) as folder,
    ):
        last_hint = time.monotonic()
        for index, _ in enumerate(make(folder, count, seed), start=1):
            progress.advance()
            if time.monotonic() - last_hint > _HINT_INTERVAL_S:
                progress.hint(f"{index} of {count} images")
                last_hint = time.monotonic()
        about = {"set": kind, "count": count, "seed": seed, "modelparity": own_version()}
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    terminal.say(f"wrote {output}: {count} images; {LAYOUTS[open_dataset(output).layout]}")
