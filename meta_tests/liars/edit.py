"""Changes an ONNX file in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx


@contextmanager
def edited(path: Path) -> Iterator[onnx.ModelProto]:
    """The file's model, written back afterwards."""
    model = onnx.load(path)
    yield model
    onnx.save(model, path)
