"""Observes the ranges of a float TFLite file's activations, by the runtime and its fast kernels.

The interpreter can keep every tensor of a run, but then runs without its fast kernels, in six times
the memory. So a copy of the file is run that lists the wanted tensors among the subgraph's outputs: a
vector of int32 appended to the flatbuffer, and the offset that led to the old one.
"""

from __future__ import annotations

import math
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelparity.fixtures.arrays import Feeds
from modelparity.modelfiles.graph import Ranges

if TYPE_CHECKING:
    from modelparity.modelfiles.tflite.constants import File

_OUTPUTS = 8  # where SubGraph's table of fields has `outputs`: the third


def observed_ranges(path: Path, feeds: Sequence[Feeds], names: Sequence[str]) -> Ranges:
    from ai_edge_litert.interpreter import Interpreter

    from modelparity.modelfiles.tflite.constants import File

    file = File(path)
    every = file.labels[file.main]
    indices = {name: every.index(name) for name in names}
    fed = {file.names.get(i, [every[i]])[0]: i for i in file.subgraphs[file.main].inputs}
    wanted = [index for index in indices.values() if index not in fed.values()]
    found = dict.fromkeys(names, (math.inf, -math.inf))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        _give(copy, file, wanted)
        interpreter = Interpreter(str(copy), num_threads=1)
        interpreter.allocate_tensors()
        for feed in feeds:
            for name, index in fed.items():
                interpreter.set_tensor(index, feed[name])
            interpreter.invoke()
            for name, index in indices.items():
                values = interpreter.tensor(index)()
                low, high = found[name]
                found[name] = (min(low, float(values.min())), max(high, float(values.max())))
                del values  # it holds the interpreter's memory
        del interpreter  # it holds the file, which the folder is to be rid of
    return found


def _give(copy: Path, file: File, wanted: Sequence[int]) -> None:
    """Adds tensors to the outputs of the main subgraph."""
    graph = file._model.Subgraphs(file.main)._tab
    field = graph.Pos + graph.Offset(_OUTPUTS)
    outputs = list(dict.fromkeys([*file.subgraphs[file.main].outputs, *wanted]))
    with copy.open("r+b") as data:
        end = -(-data.seek(0, 2) // 4) * 4
        data.seek(end)
        data.write(struct.pack(f"<{len(outputs) + 1}i", len(outputs), *outputs))
        data.seek(field)
        data.write(struct.pack("<I", end - field))
