"""What `convert --run-dir` is asked for, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity import arguments as named
from modelparity.converters.formats import CONVERTERS
from modelparity.errors import BadInputError
from modelparity.fixtures.checkpoints.run_directory import RunDirectory, read_run_directory

MODEL = "fasterrcnn"
SUMMARY, COMPARISON = "conversion_summary.txt", "comparison.json"
LABELS, CONFIGURATION = "labels.txt", "config.yaml"
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Request:
    """What is wanted: every name known, every path absolute, what must be there seen to be there."""

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
        """model.onnx; a quantized one says what it is, since evaluations go by the file's name."""
        words = "model" if self.quantization == "fp32" else f"model_{self.quantization}"
        return words + CONVERTERS[self.format].suffix


def refuse(**given: Any) -> None:
    """Options that a run directory's conversion does not take."""
    for name, value in given.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise BadInputError(f"{option}: not with --run-dir, whose configuration says what to make")


def request(
    model: str,
    run_dir: Path,
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
    """The arguments, checked as far as that costs nothing."""
    if named.model_named(model).name != MODEL:
        raise BadInputError(f"--run-dir: currently only FasterRCNN models are supported, not {model}")
    format = named.format_named(format or "onnx")
    if format not in CONVERTERS:
        raise BadInputError(f"--run-dir makes {' or '.join(CONVERTERS)}, not {format}")
    quantization = named.quantization_named(quantization)
    named.checked_opset(opset, format)
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
    suffix = "" if quantization == "fp32" else f"_{quantization}"
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
    """A model folder is replaced whole, so it may hold nothing but what a conversion leaves."""
    folder = named.writable_folder(wanted.output)
    if not folder.exists():
        return
    ours = {wanted.file, f"{wanted.file}.data", SUMMARY, COMPARISON, LABELS, CONFIGURATION}
    if third_party := sorted(path.name for path in folder.iterdir() if path.name not in ours):
        raise BadInputError(
            f"{folder}: holds {', '.join(third_party[:3])}, which no conversion wrote and which would go; "
            "move it away or choose another --output"
        )
