"""The cell and the arguments that most tests of the command line use, and the arrays they read and write."""

from __future__ import annotations

from pathlib import Path

from modelparity.parity.cells import Cell

FP32 = Cell("tiny_ladeda", "onnx", "fp32")
CONVERT = ("convert", "tiny_ladeda", "--format", "onnx", "--no-verify")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def arrays_at(path: Path) -> dict:
    import numpy as np

    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def saved(path: Path, **arrays) -> Path:
    import numpy as np

    np.savez(path, **arrays)
    return path
