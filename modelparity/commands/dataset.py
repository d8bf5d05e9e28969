"""`modelparity dataset`: a labelled set made of photographs, for whoever has none of their own."""

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
_SECONDS_A_HINT = 2.0


def dataset(kind: str, count: int, seed: int, output: Path) -> None:
    """Writes a new folder, whole or not at all."""
    made = SETS[arguments.known_as("set", kind, SETS)]
    if count < 1:
        raise BadInputError(f"--count {count}, but should be at least 1")
    if seed < 0:
        raise BadInputError(f"--seed {seed}, but should be at least 0")
    output = output.absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInputError(f"{output}: is there already; choose a new folder")
    arguments.writable_folder(output.parent)
    if (free := shutil.disk_usage(_standing(output)).free) < count * (1 << 19):
        raise BadInputError(
            f"{output}: {count} images need some {count / 2000:.1f} GB, {free / 1e9:.1f} GB are free"
        )
    with (
        terminal.progress(f"making {count} {kind}", total=count) as progress,
        folder_written(output, lambda _: True) as folder,
    ):
        told = time.monotonic()
        for index, _ in enumerate(made(folder, count, seed), start=1):
            progress.advance()
            if time.monotonic() - told > _SECONDS_A_HINT:
                progress.hint(f"{index} of {count} images")
                told = time.monotonic()
        about = {"set": kind, "count": count, "seed": seed, "modelparity": own_version()}
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    terminal.say(f"wrote {output}: {count} images; {LAYOUTS[open_dataset(output).layout]}")


def _standing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
