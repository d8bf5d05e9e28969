"""Writes the weights of a training checkpoint alone: the published keys and their metadata.

The file is written under a temporary name, read back, and renamed only if the network computes the same bits
with it as with the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from modelparity.converters.pretrained.metadata import described
from modelparity.fixtures.checkpoints.layouts import METADATA_ENTRY
from modelparity.fixtures.checkpoints.load import Checkpoint, read_checkpoint
from modelparity.fixtures.goldens.weights import golden_image
from modelparity.fixtures.specs import ModelSpec
from modelparity.fixtures.whole_files import replaced

SUFFIXES = (".pth", ".safetensors")
PROOF_SHAPE = (1, 3, 64, 64)


class ProofError(RuntimeError):
    """The network computes other bits with the written file, which was removed."""


@dataclass(frozen=True)
class PretrainedResult:
    """The written file, and the proof.

    `spec` has the settings read from the checkpoint, `source` says which of its weights were used, and
    `metadata` holds its other plain values. `outputs` maps each output of the network to the SHA-256 of its
    bytes for noise of `PROOF_SHAPE`, the same with the checkpoint's weights and with those read back from
    `path`.
    """

    path: Path
    spec: ModelSpec
    source: str
    source_sha256: str
    metadata: dict[str, Any]
    sha256: str
    bytes_before: int
    bytes_after: int
    shapes: dict[str, tuple[int, ...]]
    parameters: int
    outputs: dict[str, str]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.shapes)


def write_pretrained(checkpoint_path: Path | str, spec: ModelSpec, output: Path | str) -> PretrainedResult:
    """Writes the weights of a training checkpoint alone, as `.pth` or `.safetensors` by `output`'s suffix.

    A `.pth` holds epoch (-1 if unknown, which the published loader reads as "none"), model_state and
    metadata. All published keys of the source are kept, those that `spec` does not use too; floating
    weights are float32. Same checkpoint, same bytes.

    Raises:
        CheckpointError: the checkpoint cannot be read as weights of `spec`.
        ValueError: another suffix, or `output` is the checkpoint itself.
        ProofError: the written file does not reproduce the outputs bit for bit.
    """
    checkpoint_path, output = Path(checkpoint_path), Path(output)
    if output.suffix not in SUFFIXES:
        raise ValueError(f"{output}: suffix {output.suffix!r}, but should be one of {', '.join(SUFFIXES)}")
    checkpoint = read_checkpoint(checkpoint_path, spec)
    spec = checkpoint.spec
    if output.exists() and output.samefile(checkpoint_path):
        raise ValueError(f"{output}: is the checkpoint itself, whose training state would be lost")
    # The proof runs the published network where all its keys are there, the variant's elsewhere.
    published = spec.build_published()
    whole = published.get_submodule("network").state_dict().keys() == checkpoint.everything.keys()
    module, names = (
        (published, spec.published_outputs) if whole else (spec.build(), spec.signature().output_names)
    )
    parameters = sum(parameter.numel() for parameter in module.parameters())
    with replaced(output) as (partial,):
        with partial.open("wb") as file:
            _write(file, checkpoint, _metadata(checkpoint, spec, parameters), output.suffix)
        written = read_checkpoint(partial, spec)
        expected, actual = checkpoint.everything, written.everything
        differing = [k for k in expected if k not in actual or not torch.equal(expected[k], actual[k])]
        before, after = (
            _outputs(module, names, weights.everything if whole else weights.state_dict)
            for weights in (checkpoint, written)
        )
        differing += [name for name in names if before[name] != after[name]]
        if differing:
            raise ProofError(f"{output}: not written: {', '.join(differing[:5])} differ when read back")
    return PretrainedResult(
        path=output,
        spec=spec,
        source=checkpoint.source,
        source_sha256=checkpoint.sha256,
        metadata=checkpoint.metadata,
        sha256=written.sha256,
        bytes_before=checkpoint_path.stat().st_size,
        bytes_after=output.stat().st_size,
        shapes={key: tuple(tensor.shape) for key, tensor in written.everything.items()},
        parameters=parameters,
        outputs=after,
    )


def _metadata(checkpoint: Checkpoint, spec: ModelSpec, parameters: int) -> dict[str, Any]:
    """The source's own metadata, and under "modelparity" those of the network."""
    return {
        **checkpoint.metadata,
        **described(checkpoint.metadata, spec),
        "modelparity": {
            "model": spec.name,
            "title": spec.title,
            "parameters": parameters,
            "input_sizes": list(spec.input_sizes),
            "source": checkpoint.source,
            "source_sha256": checkpoint.sha256,
        },
    }


def _write(file: IO[bytes], checkpoint: Checkpoint, metadata: dict[str, Any], suffix: str) -> None:
    # Cloned, since torch.save writes the whole storage under a view.
    state = {key: tensor.clone() for key, tensor in checkpoint.everything.items()}
    if suffix == ".safetensors":
        from safetensors.torch import save

        # One entry only: the order of several would vary from run to run.
        file.write(save(state, metadata={METADATA_ENTRY: json.dumps(metadata)}))
    else:
        # To an open file, since torch.save to a path writes that path's name into the file.
        epoch = metadata.get("epoch", -1)
        torch.save({"epoch": epoch, "model_state": state, "metadata": metadata}, file)


def _outputs(module: nn.Module, names: tuple[str, ...], weights: dict[str, Tensor]) -> dict[str, str]:
    module.get_submodule("network").load_state_dict(weights, strict=True)
    image = torch.from_numpy(2 * golden_image(PROOF_SHAPE) - 1)
    with torch.inference_mode():
        outputs = module.eval()(image)
    return {
        name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        for name, value in zip(names, outputs, strict=True)
    }
