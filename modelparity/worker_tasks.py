"""What the command line asks of the torch and onnx workers; replies are plain values.

A reply with a type of a torch module would import torch into the command line itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.fixtures.specs import ModelSpec


def weights_words(spec: ModelSpec, checkpoint: Path) -> str:
    """Where the weights of a checkpoint come from. Raises `CheckpointError` for one that cannot serve."""
    from modelparity.fixtures.checkpoints.load import read_checkpoint

    return read_checkpoint(checkpoint, spec).source


def write_pretrained(checkpoint: Path, spec: ModelSpec, output: Path, folder: bool) -> list[dict[str, Any]]:
    """`modelparity.converters.pretrained.weights`'s file, or with `folder` its full set, as plain values a file of weights."""
    from modelparity.converters.pretrained import folder as pretrained_folder
    from modelparity.converters.pretrained import weights as pretrained

    results = (
        pretrained_folder.write_pretrained_folder(checkpoint, spec, output)
        if folder
        else [pretrained.write_pretrained(checkpoint, spec, output)]
    )
    return [
        {
            "path": str(result.path),
            "sha256": result.sha256,
            "bytes": result.bytes_after,
            "weights": result.source,
            "keys": len(result.keys),
            "parameters": result.parameters,
        }
        for result in results
    ]


def rename_external_data(source: Path, target: Path, name: str) -> None:
    """Writes an ONNX file again that looks for its external data in a file called `name`."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    model = onnx.load(source, load_external_data=False)
    for tensor in onnx.external_data_helper._get_all_tensors(model):
        if uses_external_data(tensor):
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = name
    target.write_bytes(model.SerializeToString(deterministic=True))


def has_cuda() -> bool:
    """Whether PyTorch can run on a CUDA device here."""
    import torch

    return torch.cuda.is_available()


def run_on_cuda(spec: ModelSpec, checkpoint: Path, feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The deployed network's outputs by name on the CUDA device, in float32 proper; one dictionary a feed."""
    import torch

    from modelparity.fixtures.checkpoints.load import weighted

    module = _ON_CUDA.get((spec, checkpoint))
    if module is None:
        _ON_CUDA.clear()
        module = _ON_CUDA[spec, checkpoint] = weighted(spec, checkpoint).to("cuda")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    names = spec.signature().output_names
    with torch.no_grad():
        outputs = [module(torch.from_numpy(feed["image"]).to("cuda")) for feed in feeds]
    return [
        {name: value.cpu().numpy() for name, value in zip(names, values, strict=True)} for values in outputs
    ]


_ON_CUDA: dict[tuple[ModelSpec, Path], Any] = {}  # the network in use


def opset(path: Path) -> int:
    """The opset that an ONNX file declares."""
    import onnx

    from modelparity.converters.onnx.opset import opset_of

    return opset_of(onnx.load(path, load_external_data=False))


def signature(path: Path) -> str:
    """The name of a TFLite file's one signature."""
    from ai_edge_litert.interpreter import Interpreter

    (name,) = Interpreter(str(path)).get_signature_list()
    return str(name)


def run_program(
    path: Path, feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]]
) -> list[list[np.ndarray[Any, Any]]]:
    """Outputs of an exported program in their order, a list a feed; one thread."""
    import torch

    network = torch.export.load(path).module()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return [
                [value.numpy().copy() for value in network(*map(torch.from_numpy, feed.values()))]
                for feed in feeds
            ]
    finally:
        torch.set_num_threads(before)
