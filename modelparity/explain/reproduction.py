"""A folder that shows one layer's fault to whoever has numpy and the runtime, and nothing of this project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelparity.arrays import write_arrays
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.folders import folder_written
from modelparity.modelfiles.activations import FileTensor
from modelparity.parity.explain.layers import BAND, Layer
from modelparity.parity.session import Session

FILES = ("feeds.npz", "expected.npz", "reproduce.py", "cut.onnx", "cut.tflite")
_TEMPLATES = Path(__file__).parents[1] / "package" / "templates"
_PACKAGES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}


def write_reproduction(
    session: Session,
    target: Path,
    format: str,
    source: Path,
    layer: Layer,
    before: Sequence[int],
    tensors: Sequence[FileTensor],
    values: Path,
) -> None:
    """Fills `target`, whole or not at all: the cut file, its feeds, what should come out, a script.

    `before` are the tensors to cut at; `values` is the probe's folder, where `expected.npy` lies too.
    """
    by_index = {tensor.index: tensor for tensor in tensors}
    cut = f"cut{source.suffix if source.suffix in ('.onnx', '.tflite') else f'.{format}'}"
    call = session.workers[format].call
    with folder_written(target, lambda name: name in FILES) as folder:
        if format == "onnx":
            names = [by_index[index].name for index in before]
            by_name = {tensor.name: tensor.index for tensor in tensors}
            arguments = (source, folder / cut, names, layer.tensor)
            reply = call(
                "modelparity.modelfiles.onnx.extract_subgraph:extract", *arguments, timeout=CONVERT_TIMEOUT_S
            )
            feeds = {name: np.load(values / f"{by_name[name]}.npy") for name in reply.value}
        else:
            arguments_ = (source, folder / cut, list(before), layer.index)
            reply = call(
                "modelparity.modelfiles.tflite.extract_subgraph:extract",
                *arguments_,
                timeout=CONVERT_TIMEOUT_S,
            )
            feeds = {f"input_{i}": np.load(values / f"{index}.npy") for i, index in enumerate(reply.value)}
        write_arrays(folder / "feeds.npz", feeds)
        write_arrays(folder / "expected.npz", {"expected": np.load(values / "expected.npy")})
        words = {
            "title": f"{layer.module}: {layer.ratio:,.0f} floors in {source.name}",
            "file": cut,
            "source": source.name,
            "package": _PACKAGES[format],
            "format": format,
            "bound": repr(BAND * layer.floor),
            "band": f"{BAND:g}",
            "floor": f"{layer.floor:.3g}",
            "layer": json.dumps(layer.module)[1:-1],
        }
        environment = Environment(  # plain text, no HTML
            loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
        )
        text = environment.get_template("reproduce.py.jinja").render(words)
        (folder / "reproduce.py").write_text(text, encoding="utf-8")
