"""`modelparity convert`: one artifact, made in the workers, proven, and copied out of the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from modelparity import arguments as named
from modelparity import terminal
from modelparity.clean_weights import write_pretrained
from modelparity.converters.engine.store import sha256_of
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS, KeepFloat, recipe_of
from modelparity.copy_artifact import deliver
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.description import Artifact, Description, Port
from modelparity.parity.cells import Cell
from modelparity.parity.results import Passed
from modelparity.parity.session import Session
from modelparity.reports.failures import outcome_line
from modelparity.reports.view import Entry
from modelparity.routes import compare
from modelparity.verification.verify import verify_in


@dataclass(frozen=True)
class Request:
    """What is wanted, every name known and every path absolute.

    `folder`: the output is one, for clean weights. `opset` None is the exporter's own. `maker` is
    the converter: the format's own, or a second route to it.
    """

    spec: ModelSpec
    format: str
    quantization: str
    output: Path
    checkpoint: Path | None
    size: str
    input_size: int
    calibration: Path | None
    opset: int | None = None
    verify: bool = True
    folder: bool = False
    maker: str = ""
    mixed: tuple[KeepFloat, ...] | None = None


@dataclass(frozen=True)
class Written:
    """What was written where; `weights` says where they came from, `made` whether the store had it not.

    `contract` is what the file declares: inputs -> outputs. `verdict` is "pass", "fail" (nothing was
    written) or "not verified", and `evidence` says it in words.
    """

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
    contract: str = ""
    verdict: str = "pass"
    evidence: str = ""
    files: tuple[str, ...] = ()
    witnesses: str = ""


def request(
    model: str,
    format: str | None,
    quantization: str,
    output: Path,
    slash: bool,
    checkpoint: Path | None,
    size: str,
    input_size: int | None,
    calibration: Path | None,
    outputs: str | None = None,
    opset: int | None = None,
    verify: bool = True,
    route: str | None = None,
    settings: Sequence[str] = (),
    mixed: Path | None = None,
) -> Request:
    """The arguments, checked as far as that costs nothing; `slash`: `output` was given as a folder."""
    spec = named.with_outputs(named.with_settings(named.model_named(model), settings), outputs)
    folder = slash or output.is_dir()
    if format is None and folder:
        raise BadInputError(f"{output}: a folder; say what to put in it with --format")
    format = named.format_named(format) if format else named.format_of(output)
    quantization = named.quantization_named(quantization)
    size = named.size_named(size)
    n = named.input_size_of(spec, input_size)
    checkpoint = checkpoint.absolute() if checkpoint else None
    named.checked_opset(opset, format)
    maker = _maker(route, format)
    recipe = _mixed(mixed, format, quantization)
    path = output.absolute()
    if format == named.PRETRAINED:
        _check_pretrained(path, folder, checkpoint, quantization, outputs)
        return Request(spec, format, quantization, path, checkpoint, size, n, None, folder=folder)
    suffix = CONVERTERS[format].suffix
    if folder:
        path /= (
            "-".join([spec.name, *([str(n)] if n != spec.default_input_size else []), quantization]) + suffix
        )
    named.checked_output(path, checkpoint)
    if path.suffix != suffix:
        terminal.warn(f"{path.name} does not end in {suffix}; other tools may go by the name")
    if calibration and not QUANTIZATIONS[quantization].needs_calibration:
        terminal.warn(f"{format} {quantization} is not calibrated; --calibration is not used")
        calibration = None
    calibration = calibration.absolute() if calibration else None
    return Request(
        spec,
        format,
        quantization,
        path,
        checkpoint,
        size,
        n,
        calibration,
        opset,
        verify,
        maker=maker,
        mixed=recipe,
    )


def _mixed(path: Path | None, format: str, quantization: str) -> tuple[KeepFloat, ...] | None:
    """The recipe file's entries; None without one."""
    if path is None:
        return None
    if format == named.PRETRAINED or quantization == "fp32":
        raise BadInputError(
            f"--mixed {path}: says what stays float, but fp32 and weights are float throughout"
        )
    try:
        return recipe_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error


def _maker(route: str | None, format: str) -> str:
    """The converter for a route to a format; raises `BadInputError` for one that is not there."""
    if route is None:
        return format
    if route != "onnx":
        raise BadInputError(f"no such route: {route!r}; known: onnx")
    if format != "tflite":
        raise BadInputError(f"--route onnx leads to --format tflite, not to {format}")
    compare.require_extra()
    return compare.ONNX2TF


def _check_pretrained(
    path: Path, folder: bool, checkpoint: Path | None, quantization: str, outputs: str | None
) -> None:
    if checkpoint is None:
        raise BadInputError("--format pretrained needs --checkpoint PATH, the training checkpoint to clean")
    if folder:
        named.writable_folder(path)
    elif path.suffix not in named.SUFFIXES[named.PRETRAINED]:
        among = ", ".join(named.SUFFIXES[named.PRETRAINED])
        raise BadInputError(
            f"{path}: suffix {path.suffix!r}, but should be one of {among}, or a folder's name/"
        )
    else:
        named.checked_output(path, checkpoint)
    if quantization != "fp32":
        raise BadInputError(f"--quantization {quantization}: pretrained weights are float32")
    if outputs:
        raise BadInputError("--outputs is for converted files: pretrained weights have none")


def convert(wanted: Request, as_json: bool) -> bool:
    """Makes, proves and writes it, and prints what was written; returns whether it was."""
    result = _pretrained(wanted) if wanted.format == named.PRETRAINED else _artifact(wanted)
    if as_json:
        terminal.say(json.dumps(asdict(result), indent=1))
    else:
        _print(result)
    return result.verdict != "fail"


def _print(result: Written) -> None:
    if result.witnesses:
        terminal.say(f"{result.witnesses}\n")
    if result.verdict == "fail":
        terminal.say(f"FAIL: {result.evidence}")
        terminal.say(f"{result.path} was not written; --no-verify writes it all the same")
        return
    terminal.say(f"wrote {result.path}")
    for name in result.files:
        terminal.say(f"  {name}")
    if result.external_data:
        terminal.say(f"  with its data in {result.external_data}; keep the two together")
    terminal.say(f"  {result.bytes:,} bytes{f', sha256 {result.sha256}' if result.sha256 else ''}")
    terminal.say(f"  weights: {result.weights}")
    label = "verified" if result.verdict == "pass" else result.verdict
    for words in filter(None, (result.contract, result.evidence)):
        terminal.say(f"  {label}: {words}")
    terminal.say(f"  {result.seconds:.1f} s{'' if result.made else ', taken from the store'}")


def weights_words(session: Session, spec: ModelSpec, checkpoint: Path | None) -> str:
    """Where the weights come from; a checkpoint is read, so that one which cannot serve fails here."""
    if checkpoint is None:
        return named.GOLDEN_WORDS
    if not checkpoint.exists():  # known without waiting for torch
        raise BadInputError(f"{checkpoint}: no such file")
    reply = session.workers["torch"].call(
        "modelparity.worker_tasks:weights_words", spec, checkpoint, timeout=CONVERT_TIMEOUT_S
    )
    return str(reply.value)


def _pretrained(wanted: Request) -> Written:
    assert wanted.checkpoint is not None
    start = time.monotonic()
    with Session() as session, terminal.progress(f"cleaning {wanted.checkpoint}"):
        files = write_pretrained(session, wanted.checkpoint, wanted.spec, wanted.output, wanted.folder)
    first = files[0]
    return Written(
        str(wanted.output),
        wanted.spec.name,
        wanted.format,
        wanted.quantization,
        first.bytes,
        first.sha256,
        first.weights,
        round(time.monotonic() - start, 2),
        evidence=f"{first.parameters:,} parameters, outputs bit for bit those of the checkpoint",
        files=tuple(sorted(path.name for path in wanted.output.iterdir())) if wanted.folder else (),
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
            checkpoints=checkpoints,
            size=wanted.size,
            input_size=wanted.input_size,
            models={spec.name: spec},
            converters=compare.CONVERTERS_AND_ROUTES,
            on_miss=making,
        ) as session:
            weights = weights_words(session, spec, wanted.checkpoint)
            artifact = session.artifact(
                spec.name,
                wanted.maker,
                wanted.quantization,
                wanted.calibration,
                wanted.opset,
                wanted.mixed,
            )
            anew = bool(made)  # what proving makes is not the artifact
            description = (
                session.workers[wanted.format]
                .call("modelparity.modelfiles.describe:describe", artifact.path)
                .value
            )
            verdict, evidence = "not verified", "--no-verify was given"
            if wanted.verify:
                verdict, evidence = _proven(session, wanted, artifact, progress.stage)
            data = deliver(session, artifact, wanted.output) if verdict != "fail" else None
            witnesses = ""
            if wanted.maker == compare.ONNX2TF and wanted.quantization == "fp32" and wanted.verify:
                progress.stage("comparing the two routes")
                found = compare.compared(session, spec.name, progress.stage)
                witnesses = compare.words(found)
    return Written(
        str(wanted.output),
        spec.name,
        wanted.format,
        wanted.quantization,
        artifact.bytes if verdict == "fail" else wanted.output.stat().st_size,
        artifact.sha256 if verdict == "fail" else sha256_of(wanted.output),
        weights,
        round(time.monotonic() - start, 2),
        anew,
        str(data) if data else None,
        contract_words(description),
        verdict,
        evidence,
        witnesses=witnesses,
    )


def _proven(
    session: Session, wanted: Request, artifact: Artifact, on_stage: Callable[[str], None]
) -> tuple[str, str]:
    """The verdict, and the evidence in words; that of an earlier run, if it was about this very file."""
    own = wanted.opset is None and wanted.calibration is None and wanted.mixed is None
    if own and wanted.maker == wanted.format:
        cell = Cell(wanted.spec.name, wanted.format, wanted.quantization)
        try:
            record = session.cached(cell)
        except KeyError as error:  # nobody has declared what it must reach
            raise BadInputError(str(error.args[0])) from error
        if record is not None and isinstance(record.outcome, Passed):
            return "pass", f"{len(record.claims)} claims hold, {record.headline}; proven before"
    found = verify_in(session, artifact.path, wanted.format, wanted.spec, on_stage)
    if found.verdict == "pass":
        return "pass", f"{len(found.record.claims)} claims hold, {found.record.headline}"
    record = found.record
    words = outcome_line(Entry(record.id, record.model, record.format, record.quantization, record))
    return "fail", f"{words}{f'; known limitation: {found.limitation.reason}' if found.limitation else ''}"


def contract_words(description: Description) -> str:
    """Such as `image float32 (1,3,256,256) -> score float32 (1,1)`."""

    def words(ports: Sequence[Port]) -> str:
        return ", ".join(f"{port.name} {port.dtype} ({','.join(map(str, port.shape))})" for port in ports)

    return f"{words(description.inputs)} -> {words(description.outputs)}"
