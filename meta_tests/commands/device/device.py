"""What stands in for a device: reads a folder of feeds, and runs the file with a runtime of this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.device import manifest
from modelparity.device.command import verified
from modelparity.device.runs import Asked, runs_asked
from modelparity.device.target import Target
from modelparity.parity.session import Session
from modelparity.verification.verify import Verification

Outputs = dict[str, Any]


def answer(feeds: Path, outputs: Path, run: Callable[[dict, Outputs], Outputs]) -> None:
    """Writes what `run(entry of the manifest, inputs by name)` gives, as the manifest says."""
    outputs.mkdir(parents=True, exist_ok=True)
    for entry in json.loads((feeds / "manifest.json").read_text())["runs"]:
        inputs = {each["name"]: array_of(feeds, each) for each in entry["inputs"]}
        results = run(entry, inputs)
        for each in entry["outputs"]:
            array = np.asarray(results[each["name"]])
            (outputs / each["file"]).write_bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
    shutil.copyfile(feeds / "manifest.json", outputs / "manifest.json")


def array_of(folder: Path, entry: dict) -> Any:
    values = np.fromfile(folder / entry["file"], np.dtype(entry["dtype"]).newbyteorder("<"))
    return values.reshape(entry["shape"])


@dataclass
class Case:
    """A cell of the miniature, its feeds and the outputs of a device that runs it well."""

    session: Session
    target: Target
    feeds: Path
    outputs: Path
    runs: list[Asked] = field(default_factory=list)

    def write(self) -> None:
        file = self.target.file(self.session)
        self.runs = runs_asked(self.session, self.target.cell)
        data = manifest.manifest_of(manifest.head_of(self.session, self.target, file), self.runs)
        manifest.write(self.feeds, data, self.runs, [file])
        answer(self.feeds, self.outputs, self.run)

    def run(self, entry: dict, inputs: Outputs) -> Outputs:
        path, format = self.target.file(self.session), self.target.cell.format
        fresh = entry["load_anew"]
        return self.session.bench.run(format, path, [inputs], threads=entry["threads"], fresh=fresh)[0]

    def copy(self, folder: Path) -> Case:
        """The same with folders of its own, to be damaged."""
        feeds = shutil.copytree(self.feeds, folder / "feeds")
        outputs = shutil.copytree(self.outputs, folder / "outputs")
        return Case(self.session, self.target, feeds, outputs, self.runs)

    def judge(self) -> Verification:
        data = manifest.read(self.feeds)
        return verified(self.session, self.target, data, folder=self.feeds, outputs=self.outputs)

    def output(self, run: int, place: int = 0) -> Path:
        return self.outputs / self.entries[run]["outputs"][place]["file"]

    def again(self, words: str) -> int:
        """The number of the run whose description has these words."""
        (number,) = [n for n, entry in enumerate(self.entries) if words in entry["about"]]
        return number

    @property
    def entries(self) -> list[dict]:
        return json.loads((self.feeds / "manifest.json").read_text())["runs"]

    def edit(self, change: Callable[[dict], None], *, forged: bool) -> None:
        """Changes the manifest of the feeds and its copy; `forged` gives it the digest of its contents."""
        data = json.loads((self.feeds / "manifest.json").read_text())
        change(data)
        if forged:
            data["digest"] = manifest.digest_of(data)
        for folder in (self.feeds, self.outputs):
            (folder / "manifest.json").write_text(json.dumps(data, indent=1) + "\n")


def failed(verification: Verification) -> set[str]:
    return {claim.name for claim in verification.record.claims if claim.status == "failed"}
