"""`modelparity explain`: names the diverging layer of a file, and what can be done about it."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelparity import arguments, terminal
from modelparity.arrays import written
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS, recipe_text
from modelparity.errors import BadInputError
from modelparity.explain.reproduction import write_reproduction
from modelparity.explain.text import layer_lines, mixed_lines, ranking_lines, verdict_line, waterfall_lines
from modelparity.fixtures.specs import ModelSpec
from modelparity.parity.cells import Cell
from modelparity.parity.explain.error_by_stage import Stage, waterfall
from modelparity.parity.explain.explain import Followed, explain, explain_quantized, followed
from modelparity.parity.explain.mixed_precision import Mixed, smallest
from modelparity.parity.session import Session
from modelparity.verification.verify import declared_input_size

RECIPE = "mixed.json"


@dataclass(frozen=True)
class Request:
    """What to explain: a cell, whose artifact is made if need be, or a file of a model."""

    target: str
    spec: ModelSpec
    cell: Cell | None
    path: Path | None
    checkpoint: Path | None
    output: Path | None

    @property
    def again(self) -> str:
        """The command line that explains it again."""
        words = ["modelparity explain", self.target]
        words += [] if self.cell else ["--model", self.spec.name]
        words += ["--checkpoint", str(self.checkpoint)] if self.checkpoint else []
        return " ".join(words)


def request(target: str, model: str | None, checkpoint: Path | None, output: Path | None) -> Request:
    """Checks the arguments, as far as that costs nothing."""
    weights = checkpoint.absolute() if checkpoint else None
    folder = output.absolute() if output else None
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise BadInputError(f"{folder}: a file, not a folder to write the reproduction to")
        arguments.writable_folder(folder.parent)
    spec, cell, path = arguments.cell_or_file(target, model)
    return Request(target, spec, cell, path, weights, folder)


def explain_target(wanted: Request, as_json: bool) -> bool:
    """Prints the explanation; returns whether no layer diverges."""
    with terminal.progress(f"explaining {wanted.target}") as progress:
        result = _explained(wanted, progress.stage)
    explanation = result.followed.explanation
    if as_json:
        terminal.say(json.dumps(_as_data(result), indent=1))
    else:
        for line in _lines(wanted, result):
            terminal.say(line)
    return not explanation.diverging


@dataclass(frozen=True)
class _Result:
    followed: Followed
    stages: tuple[Stage, ...]
    quantization: str
    path: Path
    output: Path | None = None
    mixed: Mixed | None = None


def _explained(wanted: Request, on_stage: Callable[[str], None]) -> _Result:
    format, quantization, size, spec = _described(wanted)
    checkpoints = {spec.name: wanted.checkpoint} if wanted.checkpoint else {}
    with (
        Session(
            checkpoints=checkpoints,
            input_size=size,
            models={spec.name: spec},
            on_miss=lambda label, _: on_stage(f"making {label}"),
        ) as session,
        tempfile.TemporaryDirectory(prefix="modelparity-") as scratch,
    ):
        subject = session.subject(spec.name)
        feed = session.feeds(spec.name)[0]
        path = wanted.path or session.artifact(spec.name, format, quantization).path
        values = Path(scratch)
        original: Path | None = None
        recipe = QUANTIZATIONS[quantization]
        if recipe.is_float:
            traced = explain(
                session.bench, subject, format, path, feed=feed, folder=values, on_stage=on_stage
            )
        else:
            original = session.artifact(spec.name, format, FLOAT).path
            traced = explain_quantized(
                session.bench,
                subject,
                format,
                path,
                float_path=original,
                feed=feed,
                folder=values,
                on_stage=on_stage,
            )
        output = None
        if wanted.output and traced.explanation.diverging and traced.explanation.diverging[0].index >= 0:
            layer = traced.explanation.diverging[0]
            on_stage(f"cutting out {layer.module}")
            options = {"wanted": layer.step, "search": recipe.is_float}
            followed(
                session.bench,
                subject,
                feed,
                folder=values,
                tensors=traced.tensors,
                taken=traced.taken,
                **options,
            )
            before = traced.before(layer)
            write_reproduction(
                session,
                wanted.output,
                format=format,
                source=path,
                layer=layer,
                before=before,
                values=values,
            )
            output = wanted.output
        mixed = None
        if wanted.output and recipe.rounds_activations and CONVERTERS[format].sensitivities:
            mixed = _mixed(session, Cell(spec.name, format, quantization), wanted.output, on_stage)
        stages = waterfall(
            session.bench,
            subject,
            format,
            path,
            quantization=quantization,
            feed=feed,
            on_stage=on_stage,
            float_path=original,
        )
    return _Result(traced, stages, quantization, path, output, mixed)


def _mixed(session: Session, cell: Cell, folder: Path, on_stage: Callable[[str], None]) -> Mixed:
    """Writes the fewest layers to keep in float as a recipe file into `folder`."""
    truth, calibration = session.truth(cell.model), session.calibration(cell.model)
    mixed = smallest(session.bench, truth, cell, calibration=calibration, on_stage=on_stage)
    with written(folder / RECIPE) as file:
        file.write(recipe_text(mixed.entries).encode())
    return mixed


def _described(wanted: Request) -> tuple[str, str, int | None, ModelSpec]:
    """Format, quantization and input size of the file, and the model's spec with the file's outputs."""
    if wanted.cell is not None:
        return wanted.cell.format, wanted.cell.quantization, None, wanted.spec
    from modelparity.modelfiles.formats import sniff

    assert wanted.path is not None
    format = sniff(wanted.path)
    with Session() as session:
        description = (
            session.workers[format].call("modelparity.modelfiles.describe:describe", wanted.path).value
        )
    if description.quantization not in QUANTIZATIONS:
        raise BadInputError(f"{wanted.path}: quantized as no recipe here does: {description.quantization}")
    names, spec = [port.name for port in description.outputs], wanted.spec
    if not set(names) <= set(spec.signature().output_names):
        ours = ", ".join(spec.signature().output_names)
        raise BadInputError(
            f"{wanted.path}: outputs are {', '.join(names)}, but those of {spec.name} are {ours}"
        )
    if names != list(spec.signature().output_names):
        spec = spec.with_outputs(names)
    return format, description.quantization, declared_input_size(description, spec), spec


def _lines(wanted: Request, result: _Result) -> list[str]:
    explanation = result.followed.explanation
    quantized = not QUANTIZATIONS[result.quantization].is_float
    lines = [verdict_line(explanation, quantized)]
    if explanation.diverging:
        lines += layer_lines(explanation, wanted.again, quantized)
    lines += [
        "",
        f"{explanation.covered:,} of {explanation.steps:,} operators of {wanted.spec.name} are in the file",
    ]
    lines[-1] += f", {explanation.found:,} with a tensor of their own"
    if quantized:
        lines += ["", *ranking_lines(explanation)]
    lines += ["", *waterfall_lines(result.stages)]
    if result.output:
        lines += ["", f"wrote {result.output}: python {result.output / 'reproduce.py'}"]
    if result.mixed and wanted.output:
        lines += ["", *mixed_lines(result.mixed)]
        recipe = wanted.output / RECIPE
        make = f"modelparity convert {wanted.spec.name} --quantization {result.quantization} --mixed {recipe}"
        lines += [f"wrote {recipe}: {make} --output {wanted.spec.name}{result.path.suffix}"]
    elif wanted.output and not result.output:
        why = "its tensor could not be made out" if explanation.diverging else "no layer diverges"
        lines += ["", f"wrote nothing to {wanted.output}: {why}"]
    return lines


def _as_data(result: _Result) -> dict[str, Any]:
    explanation = result.followed.explanation
    return {
        "verdict": verdict_line(explanation, not QUANTIZATIONS[result.quantization].is_float),
        "file": str(result.path),
        "quantization": result.quantization,
        "diverging": [_finite(asdict(layer)) for layer in explanation.diverging],
        "layers": [_finite(asdict(layer)) for layer in explanation.layers],
        "operators": {"all": explanation.steps, "covered": explanation.covered, "found": explanation.found},
        "explained": explanation.explained,
        "waterfall": [_finite(asdict(stage)) for stage in result.stages],
        "mixed": _finite(asdict(result.mixed)) if result.mixed else None,
        "reproduction": str(result.output) if result.output else None,
    }


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
