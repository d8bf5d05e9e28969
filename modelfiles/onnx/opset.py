"""Reads the opset that an ONNX file declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

STANDARD_DOMAINS = ("", "ai.onnx")  # two names of the domain of ONNX's own operators


def opset(path: Path) -> int:
    """The version of ONNX's own operators that the file declares."""
    return opset_of(onnx.load(path, load_external_data=False))


def opset_of(model: ModelProto) -> int:
    """The same of a loaded model."""
    return int(opset_entry(model).version)


def opset_entry(model: ModelProto) -> Any:
    """The model's declaration of ONNX's own operators, to read or to change."""
    return next(entry for entry in model.opset_import if entry.domain in STANDARD_DOMAINS)
