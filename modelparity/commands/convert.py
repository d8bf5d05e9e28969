"""`modelparity convert`: makes one file in the workers, proves it, and copies it out of the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.clean_weights import weights_words, write_pretrained
from modelparity.converters.engine.store import sha256_of
from modelparity.converters.formats import CONVERTERS, ROUTES
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS, recipe_of
from modelparity.copy_artifact import copy_artifact
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.description import Artifact, Description, Port
from modelparity.parity.cells import Cell
from modelparity.parity.prove import OWN, Variant
from modelparity.parity.results import CellRecord, Passed
from modelparity.parity.session import Session
from modelparity.reports.failures import outcome_line
from modelparity.reports.view import Entry
from modelparity.routes import compare
from modelparity.verification.verify import reference_data


@dataclass(frozen=True)
class Request:
    """Checked arguments: every name is known and every path absolute.

    `folder` says that the output is one, for clean weights. `opset` None is the exporter's own. `maker` is
    the converter: the format's own, or a second route to the format.
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
    """What was written where.

    `weights` says where the weights came from, `made` whether the file was made now rather than taken from
    the store, `contract` which inputs and outputs the file declares. `verdict` is "pass", "fail" (nothing was
    written) or "not verified", with the `evidence` in words. `witnesses` compares the two routes.
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
    *,
    format: str | None,
    quantization: str,
    output: Path,
    is_folder: bool,
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
    """Checks the arguments, as far as that costs nothing.

    `is_folder`: `output` was written with a slash at its end. It may be a folder without one.
    """
    spec = arguments.with_outputs(arguments.with_settings(arguments.model_named(model), settings), outputs)
    folder = is_folder or output.is_dir()
    if format is None and folder:
        raise BadInputError(f"{output}: a folder; say what to put in it with --format")
    format = arguments.format_named(format) if format else arguments.format_of(output)
    quantization = arguments.quantization_named(quantization)
    size = arguments.size_named(size)
    n = arguments.input_size_of(spec, input_size)
    checkpoint = checkpoint.absolute() if checkpoint else None
    arguments.checked_quantization(quantization, format)
    arguments.checked_opset(opset, format)
    maker = _maker(route, format)
    recipe = _mixed(mixed, format, quantization)
    path = output.absolute()
    if format == arguments.PRETRAINED:
        _check_pretrained(
            path, folder=folder, checkpoint=checkpoint, quantization=quantization, outputs=outputs
        )
        return Request(spec, format, quantization, path, checkpoint, size, n, None, folder=folder)
    suffix = CONVERTERS[format].suffix
    if folder:
        path /= (
            "-".join([spec.name, *([str(n)] if n != spec.default_input_size else []), quantization]) + suffix
        )
    arguments.checked_output(path, checkpoint)
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
    if format == arguments.PRETRAINED or QUANTIZATIONS[quantization].is_float:
        raise BadInputError(
            f"--mixed {path}: says what stays float, but {FLOAT} and weights are float throughout"
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
    routes = {name: entry for name, entry in ROUTES.items() if entry.source == route}
    if not routes:
        known = ", ".join(dict.fromkeys(entry.source for entry in ROUTES.values()))
        raise BadInputError(f"no such route: {route!r}; known: {known}")
    maker = next((name for name, entry in routes.items() if entry.format == format), None)
    if maker is None:
        leads = " or ".join(entry.format for entry in routes.values())
        raise BadInputError(f"--route {route} leads to --format {leads}, not to {format}")
    compare.require_extra(maker)
    return maker


def _check_pretrained(
    path: Path, *, folder: bool, checkpoint: Path | None, quantization: str, outputs: str | None
) -> None:
    if checkpoint is None:
        raise BadInputError("--format pretrained needs --checkpoint PATH, the training checkpoint to clean")
    if folder:
        arguments.writable_folder(path)
    elif path.suffix not in arguments.SUFFIXES[arguments.PRETRAINED]:
        among = ", ".join(arguments.SUFFIXES[arguments.PRETRAINED])
        raise BadInputError(
            f"{path}: suffix {path.suffix!r}, but should be one of {among}, or a folder's name/"
        )
    else:
        arguments.checked_output(path, checkpoint)
    if not QUANTIZATIONS[quantization].is_float:
        raise BadInputError(f"--quantization {quantization}: pretrained weights are float32")
    if outputs:
        raise BadInputError("--outputs is for converted files: pretrained weights have none")


def convert(wanted: Request, as_json: bool) -> bool:
    """Makes and proves the file, writes it, and prints what was written; returns whether it was written."""
    result = _pretrained(wanted) if wanted.format == arguments.PRETRAINED else _artifact(wanted)
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


def _pretrained(wanted: Request) -> Written:
    assert wanted.checkpoint is not None
    start = time.monotonic()
    with Session() as session, terminal.progress(f"cleaning {wanted.checkpoint}"):
        files = write_pretrained(session, wanted.checkpoint, wanted.spec, wanted.output, folder=wanted.folder)
    first = files[0]
    return Written(
        path=str(wanted.output),
        model=wanted.spec.name,
        format=wanted.format,
        quantization=wanted.quantization,
        bytes=first.bytes,
        sha256=first.sha256,
        weights=first.weights,
        seconds=round(time.monotonic() - start, 2),
        evidence=f"{first.parameters:,} parameters, outputs bit for bit those of the checkpoint",
        files=tuple(sorted(path.name for path in wanted.output.iterdir())) if wanted.folder else (),
    )


def _artifact(wanted: Request) -> Written:
    start = time.monotonic()
    spec = wanted.spec
    missing: list[str] = []
    checkpoints = {spec.name: wanted.checkpoint} if wanted.checkpoint else {}
    with terminal.progress(f"{spec.name} {wanted.format} {wanted.quantization}") as progress:

        def making(label: str, _: str) -> None:
            missing.append(label)
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
                images=wanted.calibration,
                opset=wanted.opset,
                mixed=wanted.mixed,
            )
            made = bool(missing)  # before the proof, which makes other entries of the store
            description = (
                session.workers[wanted.format]
                .call("modelparity.modelfiles.describe:describe", artifact.path)
                .value
            )
            verdict, evidence = "not verified", "--no-verify was given"
            if wanted.verify:
                verdict, evidence = _proven(session, wanted, artifact, progress.stage)
            data = copy_artifact(session, artifact, wanted.output) if verdict != "fail" else None
            witnesses = ""
            if wanted.maker in ROUTES and QUANTIZATIONS[wanted.quantization].is_float and wanted.verify:
                progress.stage("comparing the two routes")
                witnesses = compare.words(compare.compared(session, spec.name, wanted.maker, progress.stage))
    return Written(
        path=str(wanted.output),
        model=spec.name,
        format=wanted.format,
        quantization=wanted.quantization,
        bytes=artifact.bytes if verdict == "fail" else wanted.output.stat().st_size,
        sha256=artifact.sha256 if verdict == "fail" else sha256_of(wanted.output),
        weights=weights,
        seconds=round(time.monotonic() - start, 2),
        made=made,
        external_data=str(data) if data else None,
        contract=contract_words(description),
        verdict=verdict,
        evidence=evidence,
        witnesses=witnesses,
    )


def _proven(
    session: Session, wanted: Request, artifact: Artifact, on_stage: Callable[[str], None]
) -> tuple[str, str]:
    """The verdict and the evidence in words. The proof is the gate's own, from an earlier run or made now."""
    cell = Cell(wanted.spec.name, wanted.format, wanted.quantization)
    stage = f"judging {artifact.path.name}"
    record = _record(session, cell, variant=_variant(session, wanted), stage=stage, on_stage=on_stage)
    if isinstance(record.outcome, Passed):
        before = "; proven before" if record.cached else ""
        return "pass", f"{len(record.claims)} claims hold, {record.headline}{before}"
    words = outcome_line(Entry(record.id, record.model, record.format, record.quantization, record))
    limitation = session.limitations.get(cell)
    return "fail", f"{words}; known limitation: {limitation.reason}" if limitation else words


def _variant(session: Session, wanted: Request) -> Variant:
    images, model = wanted.calibration, wanted.spec.name
    return Variant(
        maker=wanted.maker if wanted.maker != wanted.format else "",
        calibration=session.calibration_from(model, images) if images else None,
        opset=wanted.opset,
        mixed=wanted.mixed,
    )


def _record(
    session: Session, cell: Cell, *, variant: Variant, stage: str, on_stage: Callable[[str], None]
) -> CellRecord:
    if variant == OWN:
        record = session.cached(cell)
        if record is not None and isinstance(record.outcome, Passed):
            return record
    reference_data(session, cell.model)  # a network that cannot be run is no fault of the file
    session.workers.close(cell.format)  # as in the gate, the process that converted does not judge
    on_stage(f"{stage} as {cell.id}")
    return session.prove_file(cell, variant)


def contract_words(description: Description) -> str:
    """Such as `image float32 (1,3,256,256) -> score float32 (1,1)`."""

    def words(ports: Sequence[Port]) -> str:
        return ", ".join(f"{port.name} {port.dtype} ({','.join(map(str, port.shape))})" for port in ports)

    return f"{words(description.inputs)} -> {words(description.outputs)}"
