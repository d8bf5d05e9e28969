"""Converts a training's folder by the command line."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from meta_tests.miniatures.triangles import CONFIG
from modelparity.cli import app

MODEL_FOLDER = {"model.onnx", "labels.txt", "config.yaml", "conversion_summary.txt", "comparison.json"}
PYTORCH, ONNX = "eval_triangles_dataset_small_best_model_pth", "eval_triangles_dataset_small_model_onnx"


def convert(*arguments: object, model: str = "fasterrcnn"):
    return CliRunner().invoke(app, ["convert", model, *(str(argument) for argument in arguments)])


def refusal(*arguments: object, model: str = "fasterrcnn") -> str:
    """The one line of a command that refuses bad input; warnings and progress may stand above it."""
    result = convert(*arguments, model=model)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return error.removeprefix("error: ")


def configured(run: Path, *changes: tuple[str, str]) -> Path:
    """The configuration with `old` texts replaced."""
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (run / ".hydra" / "config.yaml").write_text(text)
    return run
