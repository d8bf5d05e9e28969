"""`modelparity run`: runs a network or a file on named arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelparity import arguments, terminal
from modelparity.arrays import Wanted, check_arrays, not_finite, read_arrays, write_arrays
from modelparity.clean_weights import weights_words
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.errors import BadInputError, nearest
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.description import Description
from modelparity.modelfiles.formats import sniff
from modelparity.parity.output_kinds import OUTPUT_KINDS
from modelparity.parity.session import Session

Arrays = Mapping[str, np.ndarray[Any, Any]]


def run(
    target: str,
    input: Path,
    output: Path,
    *,
    model: str | None,
    checkpoint: Path | None,
    size: str,
    raw: bool,
    settings: Sequence[str] = (),
) -> None:
    """Runs a model by name, or an artifact by path, and prints what came out."""
    input = input.absolute()
    output = arguments.checked_output(output.absolute(), input)
    spec = arguments.model_named(model) if model else None
    size = arguments.size_named(size)
    if target in MODELS:
        if spec and spec.name != target:
            raise BadInputError(f"--model {spec.name}, but {target} is to be run")
        network = arguments.with_settings(MODELS[target], settings)
        checkpoint = checkpoint.absolute() if checkpoint else None
        outputs = _network(network, input, checkpoint=checkpoint, size=size, raw=raw)
    elif settings:
        raise BadInputError(f"--set goes with a model's name, not with the file {target}")
    else:
        outputs = _artifact(_file(target), input, spec=spec, checkpoint=checkpoint, raw=raw)
    for words in not_finite(outputs):
        terminal.warn(f"output {words}")
    write_arrays(output, outputs)
    terminal.say(f"wrote {output}")
    for name, value in outputs.items():
        span = f", {np.min(value):.6g} to {np.max(value):.6g}" if value.size else ""
        terminal.say(f"  {name} {value.dtype} {list(value.shape)}{span}")


def _file(target: str) -> Path:
    path = Path(target).absolute()
    if not path.exists():
        # A bare word is a mistyped model rather than a file that is missing.
        hint = nearest(target, MODELS) if path.parent == Path.cwd() and not path.suffix else ""
        raise BadInputError(f"{target}: no such {'model or file' if hint else 'file'}{hint}")
    return path


def _network(spec: ModelSpec, input: Path, *, checkpoint: Path | None, size: str, raw: bool) -> Arrays:
    """The PyTorch network: the deployed outputs, or with `raw` the published ones."""
    arrays = read_arrays(input)
    sides = ("height", "width") if spec.free_size else ("N", "N")
    wanted = [Wanted("image", ("batch", 3, *sides), "float32", spec.input_sizes)]
    check_arrays(arrays, wanted, input)
    _warn(arrays)
    checkpoints = {spec.name: checkpoint} if checkpoint else {}
    n = None if spec.free_size else arrays["image"].shape[-1]
    if raw and OUTPUT_KINDS[spec.task].rows_vary and len(arrays["image"]) != 1:
        count = len(arrays["image"])
        raise BadInputError(
            f"{input}: --raw gives what {spec.name} finds in one image, but there are {count}"
        )
    with (
        terminal.progress(f"running {spec.name}"),
        Session(checkpoints=checkpoints, size=size, input_size=n, models={spec.name: spec}) as session,
    ):
        weights_words(session, spec, checkpoint)
        if raw:
            reply = session.workers["torch"].call(
                "modelparity.converters.engine.network:run_published",
                session.subject(spec.name).spec,
                checkpoint,
                arrays,
                timeout=CONVERT_TIMEOUT_S,
            )
            return dict(reply.value)
        threads = os.cpu_count() or 1
        (outputs,) = session.bench.reference(session.subject(spec.name), [arrays], threads=threads)
        return outputs


def _artifact(
    path: Path, input: Path, *, spec: ModelSpec | None, checkpoint: Path | None, raw: bool
) -> Arrays:
    """A file by its runtime; `spec` holds the file against a model's signature first."""
    if raw:
        raise BadInputError(f"--raw is for a model's name: {path.name} has no outputs but its own")
    if checkpoint:
        raise BadInputError(f"--checkpoint is for a model's name: {path.name} has its own weights")
    format = sniff(path)
    arrays = read_arrays(input)
    with Session(run_timeout_s=CONVERT_TIMEOUT_S) as session, terminal.progress(f"running {path.name}"):
        reply = session.workers[format].call("modelparity.modelfiles.describe:describe", path)
        description: Description = reply.value
        if spec:
            _same_names(description, spec, path)
        batch = description.inputs[0].shape[:1] if description.inputs else ()
        if batch == (1,):
            _refuse_batch(arrays, description, path)
        check_arrays(
            arrays, [Wanted(port.name, port.shape, port.dtype) for port in description.inputs], input
        )
        _warn(arrays)
        (outputs,) = session.bench.run(format, path, [arrays], threads=os.cpu_count() or 1)
        return outputs


def _same_names(description: Description, spec: ModelSpec, path: Path) -> None:
    signature = spec.signature()
    for way, ports, wanted in (
        ("inputs", description.inputs, signature.inputs),
        ("outputs", description.outputs, signature.outputs),
    ):
        names, expected = [port.name for port in ports], [port.name for port in wanted]
        if names != expected:
            theirs, ours = ", ".join(names) or "none", ", ".join(expected)
            raise BadInputError(f"{path}: {way} are {theirs}, but those of {spec.name} are {ours}")


def _refuse_batch(arrays: Arrays, description: Description, path: Path) -> None:
    port = description.inputs[0]
    array = arrays.get(port.name)
    if array is not None and array.shape[1:] == port.shape[1:] and array.shape[0] > 1:
        raise BadInputError(
            f"{path} takes batch 1, but {port.name} has a batch of {len(array)}; run its images one at a time"
        )


def _warn(arrays: Arrays) -> None:
    for words in not_finite(arrays):
        terminal.warn(f"input {words}")
