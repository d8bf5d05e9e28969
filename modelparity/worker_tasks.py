"""What the command line asks of the torch worker; replies are plain values.

A reply with a type of a torch module would import torch into the command line itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.fixtures.specs import ModelSpec


def weights_words(spec: ModelSpec, checkpoint: Path) -> str:
    """Where the weights of a checkpoint come from. Raises `CheckpointError` for an unusable one."""
    from modelparity.fixtures.checkpoints.load import read_checkpoint

    return read_checkpoint(checkpoint, spec).source


def write_pretrained(checkpoint: Path, spec: ModelSpec, output: Path, folder: bool) -> list[dict[str, Any]]:
    """Writes a file of clean weights, or with `folder` the full set; describes each file of weights."""
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


def has_cuda() -> bool:
    """Whether PyTorch can run on a CUDA device here."""
    import torch

    return torch.cuda.is_available()


def run_on_cuda(spec: ModelSpec, checkpoint: Path, feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The deployed network's outputs by name for each feed, on the CUDA device and without TF32."""
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


def run_program(
    path: Path, feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]]
) -> list[list[np.ndarray[Any, Any]]]:
    """Outputs of an exported program in their order, a list for each feed; runs on one thread."""
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
