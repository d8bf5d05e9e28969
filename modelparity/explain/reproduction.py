"""Writes a folder that reproduces one layer's fault with numpy and the runtime alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelparity.arrays import write_arrays
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.fixtures.lookup import named
from modelparity.folders import folder_written
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.modelfiles.usage import Usage
from modelparity.parity.explain.layers import BAND, Layer
from modelparity.parity.session import Session

FILES = (
    "feeds.npz",
    "expected.npz",
    "reproduce.py",
    *(f"cut{format.suffix}" for format in FILE_FORMATS.values()),
)
_TEMPLATES = Path(__file__).parents[1] / "package" / "templates"


def write_reproduction(
    session: Session,
    target: Path,
    *,
    format: str,
    source: Path,
    layer: Layer,
    before: Sequence[int],
    values: Path,
) -> None:
    """Fills `target`, whole or not at all: the cut file, its feeds, what should come out, a script.

    `before` are the tensors to cut at; `values` is the probe's folder, where `expected.npy` lies too.
    """
    file_format = FILE_FORMATS[format]
    usage: Usage = named(file_format.usage)
    cut = f"cut{file_format.suffix}"
    with folder_written(target, lambda name: name in FILES) as folder:
        extract = file_format.extract_subgraph
        arguments = (source, folder / cut, list(before), layer.index)
        reply = session.workers[format].call(extract, *arguments, timeout=CONVERT_TIMEOUT_S)
        feeds = {name: np.load(values / f"{index}.npy") for name, index in reply.value.items()}
        write_arrays(folder / "feeds.npz", feeds)
        write_arrays(folder / "expected.npz", {"expected": np.load(values / "expected.npy")})
        words = {
            "title": f"{layer.module}: {layer.ratio:,.0f} floors in {source.name}",
            "file": cut,
            "source": source.name,
            "package": file_format.runtime,
            "run_part": usage.run_part,
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
