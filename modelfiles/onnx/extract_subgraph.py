"""Extracts the part of an ONNX file that computes one tensor, as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, ValueInfoProto, helper
from onnx.utils import Extractor

from modelparity.modelfiles.onnx import external_data
from modelparity.modelfiles.onnx.activations import tensor_names


def extract(path: Path, target: Path, inputs: Sequence[int], output: int) -> dict[str, int]:
    """Writes the nodes between `inputs` and `output`, float tensors numbered as in `probe`.

    Returns which tensor each input of the new file stands for, by the input's name. The file's own
    inputs stay inputs; an input that no node reads is left out.
    """
    model = onnx.load(path, load_external_data=False)
    names = list(tensor_names(model))
    indices = {name: index for index, name in enumerate(names)}
    boundary = [names[index] for index in inputs] + [value.name for value in model.graph.input]
    boundary = [name for name in dict.fromkeys(boundary) if name != names[output]]
    extractor = Extractor(model)
    # It takes the types of the new ports from here, where a quantized file lists few of its tensors.
    for name in boundary:
        extractor.value_infos[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    extractor.value_infos[names[output]] = ValueInfoProto(name=names[output])
    part = extractor.extract_model(boundary, [names[output]])
    read = {name for node in part.graph.node for name in node.input}
    ports = [value for value in part.graph.input if value.name in read]
    del part.graph.input[:], part.graph.value_info[:]
    part.graph.input.extend(ports)
    external_data.embed(part, path.parent)
    onnx.save(part, target)
    return {value.name: indices[value.name] for value in ports}
