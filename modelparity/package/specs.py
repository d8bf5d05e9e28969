"""Describes the files of a package, from the files themselves: `model_specs.json` in each folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity.converters.engine.store import sha256_of
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.specs import ModelSpec, TensorSpec
from modelparity.modelfiles.description import Description
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.package.exported_program import FORMAT as PYTORCH
from modelparity.parity.results import CellRecord
from modelparity.parity.session import Session

SPECS = "model_specs.json"


@dataclass(frozen=True)
class Packaged:
    """One model file of the package; `entry` is its description in `model_specs.json`."""

    path: Path
    format: str
    quantization: str
    spec: ModelSpec
    record: CellRecord
    entry: dict[str, Any]

    @property
    def place(self) -> str:
        """Its path within the package."""
        return f"{self.format}/{self.path.name}"


def packaged(
    session: Session, model: str, *, format: str, quantization: str, path: Path, record: CellRecord
) -> Packaged:
    """Describes a file that is in the package already."""
    subject = session.subject(model)
    signature, spec = subject.signature, subject.photographs
    declared: Description | None = None
    opset = None
    if format != PYTORCH:
        reads_opset = FILE_FORMATS[format].opset
        declared = session.workers[format].call("modelparity.modelfiles.describe:describe", path).value
        opset = session.workers[format].call(reads_opset, path).value if reads_opset else None
    data = path.with_name(f"{path.name}.data")
    entry = {
        "model": spec.name,
        "title": spec.title,
        "format": format,
        "quantization": quantization,
        "quantization_meaning": QUANTIZATIONS[quantization].title,
        "settings": spec.values,
        "opset": opset,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "external_data": {"file": data.name, "bytes": data.stat().st_size, "sha256": sha256_of(data)}
        if data.exists()
        else None,
        "inputs": [
            {**_port(tensor, declared.inputs[i].shape if declared else None), "size": list(tensor.shape[-2:])}
            for i, tensor in enumerate(signature.inputs)
        ],
        "outputs": [
            _port(tensor, declared.outputs[i].shape if declared else None)
            for i, tensor in enumerate(signature.outputs)
        ],
        "verdict": record.status,
        "evidence": record.headline,
    }
    return Packaged(path, format, quantization, spec, record, entry)


def _port(tensor: TensorSpec, shape: tuple[int | str, ...] | None) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(shape or tensor.shape),
        "dtype": tensor.dtype,
        "meaning": tensor.meaning,
        "range": list(tensor.range) if tensor.range else None,
        "scale": scale_of(tensor),
    }


def scale_of(tensor: TensorSpec) -> str | None:
    """ "probability" or "logit"; None for an output that is neither."""
    if tensor.range == (0.0, 1.0) and tensor.meaning.startswith("probability"):
        return "probability"
    return "logit" if tensor.range is None and "logit" in tensor.meaning else None


def preprocessing_of(spec: ModelSpec) -> dict[str, Any]:
    return {
        "colour": "RGB",
        "layout": "[batch, 3, height, width]",
        "resize": "the whole image, to the input's size",
        "resample": spec.preprocessing.resample,
        "scale": "divided by 255",
        "mean": list(spec.preprocessing.mean),
        "std": list(spec.preprocessing.std),
    }


def write_specs(folder: Path, files: Sequence[Packaged], weights: str, trained: bool) -> None:
    """Writes `model_specs.json` for the files of one folder, all of one network."""
    content = {
        "weights": {"source": weights, "trained": trained},
        "preprocessing": preprocessing_of(files[0].spec),
        "models": {file.path.name: file.entry for file in files},
    }
    (folder / SPECS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
