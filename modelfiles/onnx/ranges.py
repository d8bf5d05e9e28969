"""Observes the ranges of a float ONNX file's activations, by the runtime.

Of each activation only the least and the greatest value leave the run, so that memory stays low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from modelparity.fixtures.arrays import Feeds
from modelparity.modelfiles.graph import Ranges


def observed_ranges(path: Path, feeds: Sequence[Feeds], names: Sequence[str]) -> Ranges:
    import onnxruntime

    model = onnx.load(path, load_external_data=False)
    fed = {value.name for value in model.graph.input}
    inner = [name for name in names if name not in fed]
    del model.graph.output[:]
    for place, name in enumerate(inner):
        for kind in ("ReduceMin", "ReduceMax"):
            output = f"observed {kind} {place}"
            model.graph.node.append(helper.make_node(kind, [name], [output], output, keepdims=0))
            model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    folder = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(folder, str(path.parent))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = dict.fromkeys(names, (math.inf, -math.inf))
    for feed in feeds:
        values = [float(value) for value in session.run(None, dict(feed))] if inner else []
        seen = dict(zip(inner, zip(values[::2], values[1::2], strict=True), strict=True))
        seen |= {name: (float(feed[name].min()), float(feed[name].max())) for name in names if name in fed}
        found = {
            name: (min(low, seen[name][0]), max(high, seen[name][1])) for name, (low, high) in found.items()
        }
    return found
