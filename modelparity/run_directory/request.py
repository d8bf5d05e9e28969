"""Checks the arguments of `convert --run-dir` before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity import arguments
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError
from modelparity.fixtures.checkpoints.run_directory import RunDirectory, read_run_directory

MODEL = "fasterrcnn"
SUMMARY, COMPARISON = "conversion_summary.txt", "comparison.json"
LABELS, CONFIGURATION = "labels.txt", "config.yaml"
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Request:
    """Checked arguments: every name is known, every path is absolute, and every input exists."""

    run: RunDirectory
    format: str
    quantization: str
    output: Path
    image: Path | None
    dataset: Path | None
    device: str
    evaluate: bool
    calibration: Path | None
    opset: int | None = None

    @property
    def file(self) -> str:
        """Such as `model.onnx`. A quantized one names its recipe: evaluations are named after the file."""
        return f"model{QUANTIZATIONS[self.quantization].stem_suffix}{CONVERTERS[self.format].suffix}"


def refuse(**given: Any) -> None:
    """Raises `BadInputError` for an option that does not go with --run-dir."""
    for name, value in given.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise BadInputError(f"{option}: not with --run-dir, whose configuration says what to make")


def request(
    model: str,
    run_dir: Path,
    *,
    format: str | None,
    quantization: str,
    output: Path | None,
    checkpoint: Path | None,
    image: Path | None,
    dataset: Path | None,
    device: str,
    evaluate: bool,
    calibration: Path | None,
    opset: int | None = None,
) -> Request:
    """Checks the arguments, as far as that costs nothing."""
    if arguments.model_named(model).name != MODEL:
        raise BadInputError(f"--run-dir: currently only FasterRCNN models are supported, not {model}")
    format = arguments.format_named(format or next(iter(CONVERTERS)))
    if format not in CONVERTERS:
        raise BadInputError(f"--run-dir makes {' or '.join(CONVERTERS)}, not {format}")
    quantization = arguments.quantization_named(quantization)
    arguments.checked_quantization(quantization, format)
    arguments.checked_opset(opset, format)
    if device not in DEVICES:
        raise BadInputError(f"--device {device}, but should be {' or '.join(DEVICES)}")
    run = read_run_directory(run_dir.absolute(), checkpoint.absolute() if checkpoint else None)
    height, width = run.input_size
    if height != width and not CONVERTERS[format].dynamic_batch:
        raise BadInputError(
            f"{run.config}: input_size {height} x {width}; {format} files are made square only"
        )
    if evaluate and dataset is None:
        raise BadInputError("--evaluate-converted-model requires --dataset-dir")
    if image is None and dataset is None:
        raise BadInputError("Either --image-input or --dataset-dir must be provided")
    suffix = QUANTIZATIONS[quantization].stem_suffix
    wanted = Request(
        run,
        format,
        quantization,
        output.absolute() if output else run.path / f"{format}_model{suffix}",
        image.absolute() if image else None,
        dataset.absolute() if dataset else None,
        device,
        evaluate,
        calibration.absolute() if calibration else None,
        opset,
    )
    _check_replaceable(wanted)
    return wanted


def _check_replaceable(wanted: Request) -> None:
    """Raises `BadInputError` if the folder, which is replaced whole, holds anything but an earlier result."""
    folder = arguments.writable_folder(wanted.output)
    if not folder.exists():
        return
    ours = {wanted.file, f"{wanted.file}.data", SUMMARY, COMPARISON, LABELS, CONFIGURATION}
    if others := sorted(path.name for path in folder.iterdir() if path.name not in ours):
        raise BadInputError(
            f"{folder}: holds {', '.join(others[:3])}, which no conversion wrote and which would go; "
            "move it away or choose another --output"
        )
