"""What the command line asks of the torch and onnx workers; replies are plain values.

A reply with a type of a torch module would import torch into the command line itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fixtures.specs import ModelSpec


def weights_words(spec: ModelSpec, checkpoint: Path) -> str:
    """Where the weights of a checkpoint come from. Raises `CheckpointError` for one that cannot serve."""
    from fixtures.checkpoints import read_checkpoint

    return read_checkpoint(checkpoint, spec).source


def write_pretrained(checkpoint: Path, spec: ModelSpec, output: Path) -> dict[str, Any]:
    """`converters.pretrained.write_pretrained`, its result as plain values."""
    from converters import pretrained

    result = pretrained.write_pretrained(checkpoint, spec, output)
    return {
        "sha256": result.sha256,
        "bytes": result.bytes_after,
        "weights": result.source,
        "keys": len(result.keys),
        "parameters": result.parameters,
    }


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
