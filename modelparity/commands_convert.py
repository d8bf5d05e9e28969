"""`modelparity convert`: one artifact, made in the workers, kept in the store, copied out of it."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from converters import CONVERTERS
from converters.artifact import Artifact
from converters.quantization import QUANTIZATIONS
from converters.store import ENTRY, replace_with, sha256_of
from converters.workers import CONVERT_TIMEOUT_S
from fixtures.specs import ModelSpec
from modelparity import named, terminal
from modelparity.errors import BadInputError
from modelparity.faults import os_words
from modelparity.session import Session, calibration_of

_PRETRAINED_SUFFIXES = (".pth", ".safetensors")


@dataclass(frozen=True)
class Request:
    """What is wanted, every name known and every path absolute."""

    spec: ModelSpec
    format: str
    quantization: str
    output: Path
    checkpoint: Path | None
    size: str
    input_size: int
    calibration: Path | None


@dataclass(frozen=True)
class Written:
    """What was written where; `weights` says where they came from, `made` whether the store had it not."""

    path: str
    model: str
    format: str
    quantization: str
    bytes: int
    sha256: str
    weights: str
    seconds: float
    made: bool = True
    external_data: str | None = None


def request(
    model: str,
    format: str,
    quantization: str,
    output: Path,
    slash: bool,
    checkpoint: Path | None,
    size: str,
    input_size: int | None,
    calibration: Path | None,
) -> Request:
    """The arguments, checked as far as that costs nothing; `slash`: `output` was given as a folder."""
    spec = named.model_named(model)
    format = named.format_named(format)
    quantization = named.quantization_named(quantization)
    size = named.size_named(size)
    n = named.input_size_of(spec, input_size)
    checkpoint = checkpoint.absolute() if checkpoint else None
    pretrained = format == named.PRETRAINED
    suffix = _PRETRAINED_SUFFIXES[0] if pretrained else CONVERTERS[format].suffix
    path = output.absolute()
    if slash or path.is_dir():
        words = [
            spec.name,
            "" if n == spec.default_input_size else str(n),
            "" if pretrained else quantization,
        ]
        path /= "-".join(filter(None, words)) + suffix
    named.checked_output(path, checkpoint)
    if pretrained:
        _check_pretrained(path, checkpoint, quantization)
    elif path.suffix != suffix:
        terminal.warn(f"{path.name} does not end in {suffix}; other tools may go by the name")
    if calibration and (pretrained or not QUANTIZATIONS[quantization].needs_calibration):
        terminal.warn(f"{format} {quantization} is not calibrated; --calibration is not used")
        calibration = None
    calibration = calibration.absolute() if calibration else None
    return Request(spec, format, quantization, path, checkpoint, size, n, calibration)


def _check_pretrained(path: Path, checkpoint: Path | None, quantization: str) -> None:
    if checkpoint is None:
        raise BadInputError("--format pretrained needs --checkpoint PATH, the training checkpoint to clean")
    if path.suffix not in _PRETRAINED_SUFFIXES:
        among = ", ".join(_PRETRAINED_SUFFIXES)
        raise BadInputError(f"{path}: suffix {path.suffix!r}, but should be one of {among}")
    if quantization != "fp32":
        raise BadInputError(f"--quantization {quantization}: pretrained weights are float32")


def convert(wanted: Request, as_json: bool) -> None:
    """Makes and writes it, and prints what was written."""
    result = _pretrained(wanted) if wanted.format == named.PRETRAINED else _artifact(wanted)
    if as_json:
        terminal.say(json.dumps(asdict(result), indent=1))
        return
    terminal.say(f"wrote {result.path}")
    if result.external_data:
        terminal.say(f"  with its data in {result.external_data}; keep the two together")
    terminal.say(f"  {result.bytes:,} bytes, sha256 {result.sha256}")
    terminal.say(f"  weights: {result.weights}")
    terminal.say(f"  {result.seconds:.1f} s{'' if result.made else ', taken from the store'}")


def weights_words(session: Session, spec: ModelSpec, checkpoint: Path | None) -> str:
    """Where the weights come from; a checkpoint is read, so that one which cannot serve fails here."""
    if checkpoint is None:
        return named.GOLDEN_WORDS
    if not checkpoint.exists():  # known without waiting for torch
        raise BadInputError(f"{checkpoint}: no such file")
    reply = session.workers["torch"].call(
        "modelparity.in_worker:weights_words", spec, checkpoint, timeout=CONVERT_TIMEOUT_S
    )
    return str(reply.value)


def _pretrained(wanted: Request) -> Written:
    start = time.monotonic()
    with Session() as session, terminal.progress(f"cleaning {wanted.checkpoint}"):
        reply = session.workers["torch"].call(
            "modelparity.in_worker:write_pretrained",
            wanted.checkpoint,
            wanted.spec,
            wanted.output,
            timeout=CONVERT_TIMEOUT_S,
        )
    value = reply.value
    return Written(
        str(wanted.output),
        wanted.spec.name,
        wanted.format,
        wanted.quantization,
        value["bytes"],
        value["sha256"],
        value["weights"],
        round(time.monotonic() - start, 2),
    )


def _artifact(wanted: Request) -> Written:
    start = time.monotonic()
    spec, made = wanted.spec, []
    checkpoints = {spec.name: wanted.checkpoint} if wanted.checkpoint else {}
    with terminal.progress(f"{spec.name} {wanted.format} {wanted.quantization}") as progress:

        def making(label: str, _: str) -> None:
            made.append(label)
            progress.stage(f"making {label}")

        with Session(
            checkpoints=checkpoints, size=wanted.size, input_size=wanted.input_size, on_miss=making
        ) as session:
            weights = weights_words(session, spec, wanted.checkpoint)
            calibration = None
            if QUANTIZATIONS[wanted.quantization].needs_calibration:
                calibration = session.calibration(spec.name)
                if wanted.calibration:
                    from fixtures.streams import calibration_from_directory

                    stream = calibration_from_directory(spec, wanted.input_size, wanted.calibration)
                    calibration = calibration_of(stream)
            artifact, _ = session.bench.artifact(
                session.subject(spec.name), wanted.format, wanted.quantization, calibration
            )
            data = _copy(session, artifact, wanted.output)
    return Written(
        str(wanted.output),
        spec.name,
        wanted.format,
        wanted.quantization,
        wanted.output.stat().st_size,
        sha256_of(wanted.output),
        weights,
        round(time.monotonic() - start, 2),
        bool(made),
        str(data) if data else None,
    )


def _copy(session: Session, artifact: Artifact, output: Path) -> Path | None:
    """Copies an artifact out of the store; returns where its external data went, if it has any."""
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
                "modelparity.in_worker:rename_external_data", artifact.path, renamed, data.name
            )
            replace_with(data, source)
            replace_with(output, renamed)
        return data
    except OSError as error:
        raise BadInputError(os_words(error, output)) from error
