"""Writes the inputs of a device as raw files with a manifest, and refuses a manifest that is not its own.

A manifest is a function of the model, the weights, the file and the harness. So nothing in it is trusted: it
is made again and compared, entry by entry.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.store import sha256_of
from modelparity.converters.engine.workbench import network_digest
from modelparity.device.runs import Asked
from modelparity.device.target import Target
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.arrays import Array
from modelparity.folders import folder_written
from modelparity.parity.proof_cache import judge_digest
from modelparity.parity.session import Session
from modelparity.version import own_version

MANIFEST = "manifest.json"
TABLE = "runs.tsv"
INPUTS = "inputs"
MODEL = "model"
SCHEMA = 1
Data = dict[str, Any]


def little_endian(array: Array) -> bytes:
    """The values in C order, little-endian, without a header; a bool is one byte."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def head_of(session: Session, target: Target, file: Path) -> Data:
    """Everything in a manifest but its runs and its digest, as JSON data."""
    subject = session.subject(target.spec.name)
    network = f"{network_digest(subject.spec)}\n{subject.definition}"
    return {
        "schema": SCHEMA,
        "byte_order": "little-endian, C order, no header",
        "harness": {"version": own_version(), "digest": judge_digest(target.cell.format)},
        "target": target.as_data(session),
        "network": hashlib.sha256(network.encode()).hexdigest(),
        "evaluation_set": session.evaluation_set(target.spec.name).digest,
        "model_files": [
            {"name": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
            for path in target.files(file)
        ],
    }


def manifest_of(head: Data, runs: Sequence[Asked]) -> Data:
    """What a device is asked to run, and how its outputs are to be laid out, as JSON data."""
    data: Data = {**head, "runs": [_run(index, run) for index, run in enumerate(runs)]}
    return {**data, "digest": digest_of(data)}


def digest_of(data: Mapping[str, Any]) -> str:
    """sha256 over everything in a manifest but its digest."""
    rest = {name: value for name, value in data.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _run(index: int, run: Asked) -> Data:
    return {
        "run": f"{index:03}",
        "about": run.words,
        "threads": run.threads,
        "load_anew": run.load_anew,
        "inputs": [
            {**_array(name, array), "file": input_file(array), "sha256": _sha256(array)}
            for name, array in run.feed.items()
        ],
        "outputs": [
            {**_array(name, array), "file": f"{index:03}-{place}-{_safe(name)}.bin"}
            for place, (name, array) in enumerate(run.outputs.items())
        ],
        "error": f"{index:03}-error.txt",
    }


def _array(name: str, array: Array) -> Data:
    return {"name": name, "dtype": str(array.dtype), "shape": list(array.shape), "bytes": array.nbytes}


def input_file(array: Array) -> str:
    """Its path in the folder; runs of the same input share it."""
    return f"{INPUTS}/{_sha256(array)[:16]}.bin"


def _sha256(array: Array) -> str:
    return hashlib.sha256(little_endian(array)).hexdigest()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def table_of(data: Mapping[str, Any]) -> str:
    """The runs of a manifest for readers without JSON: one line for each array, its fields between tabs.

    The fields are run, threads, 1 if the file is loaded anew, "input" or "output", name, dtype, axes, file.
    """
    lines = []
    for run in data["runs"]:
        for way in ("input", "output"):
            for array in run[f"{way}s"]:
                axes = ",".join(map(str, array["shape"]))
                fields = (run["run"], run["threads"], int(run["load_anew"]), way)
                lines.append((*fields, array["name"], array["dtype"], axes, array["file"]))
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def write(folder: Path, data: Data, runs: Sequence[Asked], model_files: Sequence[Path] = ()) -> None:
    """Writes the folder whole or not at all; other files that are in it stay."""

    def replaces(name: str) -> bool:
        return name in (MANIFEST, TABLE) or name.partition("/")[0] in (INPUTS, MODEL)

    with folder_written(folder, replaces) as partial:
        (partial / INPUTS).mkdir()
        for array in (array for run in runs for array in run.feed.values()):
            (partial / input_file(array)).write_bytes(little_endian(array))
        if model_files:
            (partial / MODEL).mkdir()
        for path in model_files:
            shutil.copyfile(path, partial / MODEL / path.name)
        (partial / TABLE).write_text(table_of(data), encoding="utf-8")
        (partial / MANIFEST).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Data:
    """The manifest in a folder, of this schema and with its digest; nothing else of it is checked.

    Raises:
        BadInputError: there is none, or it was edited.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error
    except ValueError as error:
        raise BadInputError(f"{path}: not a manifest: {error}") from error
    if not isinstance(data, dict) or "schema" not in data:
        raise BadInputError(f"{path}: not a manifest of `modelparity feeds`")
    if data["schema"] != SCHEMA:
        raise BadInputError(f"{path}: written by another version of modelparity; write the feeds again")
    if data.get("digest") != digest_of(data):
        raise BadInputError(f"{path}: was edited: its contents do not have the digest that it states")
    return data


def read_target(data: Data, folder: Path, artifact: Path | None, checkpoint: Path | None) -> Target:
    """The target that a manifest names; a file is `artifact`, or the copy in the folder.

    Raises:
        BadInputError: it names none, or its file is not here.
    """
    place = folder / MANIFEST
    try:
        copy = folder / MODEL / Path(str(data["model_files"][0]["name"])).name
        target = Target.of_data(data["target"], artifact or copy, checkpoint)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInputError(
            f"{place}: names no model, format and quantization known here: {error}"
        ) from error
    if artifact is not None and target.own:
        raise BadInputError(
            f"--artifact {artifact}: {place} is of the cell {target.cell.id}, which has its own"
        )
    if artifact is not None and not artifact.is_file():
        raise BadInputError(f"{artifact}: no such file")
    if artifact is None and not copy.is_file():
        if not target.own:
            raise BadInputError(f"{place}: is of a file from elsewhere; say where it is with --artifact FILE")
        return replace(target, path=None)
    return target


_AGAIN = "write the feeds again and run them on the device"
_STALE = {
    "harness": "written by another version of modelparity",
    "target": "other weights or settings (trained weights are named with --checkpoint)",
    "network": "the network's code or declaration has changed",
    "evaluation_set": "the evaluation set is another one",
    "model_files": "the model file is another one than the manifest's",
}


def expect_head(data: Data, head: Data, folder: Path) -> None:
    """Raises `BadInputError` for the first entry that is not what `head_of` gives now."""
    place = folder / MANIFEST
    for name, words in _STALE.items():
        if data.get(name) != head[name]:
            raise BadInputError(f"{place}: stale or forged: {words}; {_AGAIN}")


def expect_runs(data: Data, right: Data, folder: Path) -> None:
    """Raises `BadInputError` unless a manifest is `right`, whose head was compared before."""
    place = folder / MANIFEST
    theirs, ours = data.get("runs"), right["runs"]
    if not isinstance(theirs, list) or len(theirs) != len(ours):
        count = len(theirs) if isinstance(theirs, list) else "no"
        raise BadInputError(f"{place}: stale or forged: it has {count} runs, not {len(ours)}; {_AGAIN}")
    for their, our in zip(theirs, ours, strict=True):
        if their != our:
            odd = [name for name in our if not isinstance(their, dict) or their.get(name) != our[name]]
            what = f"{odd[0] if odd else 'an entry'} of run {our['run']} ({our['about']})"
            raise BadInputError(f"{place}: stale or forged: {what} is not what is asked for; {_AGAIN}")
    if data != right:
        odd = sorted(
            name for name in (data.keys() | right.keys()) - {"digest"} if data.get(name) != right.get(name)
        )
        raise BadInputError(f"{place}: forged: {odd[0]} is not what it should be; {_AGAIN}")
