"""Names a model with its weights, from which artifacts are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import sha256_of
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import ModelSpec, NetworkSpec, Signature


@dataclass(frozen=True)
class ModelUnderTest:
    """A model with its weights at one input size.

    `checkpoint` None: the goldens' weights. Of a `ProgramSpec`, it is the program.
    """

    spec: NetworkSpec
    input_size: int
    checkpoint: Path | None = None
    weights_digest: str = ""

    @staticmethod
    def of(
        spec: NetworkSpec,
        checkpoint: Path | None = None,
        input_size: int | None = None,
        size: str = "reduced",
    ) -> ModelUnderTest:
        """Without a checkpoint, `size` says which definition of the network it is; a checkpoint tells."""
        if isinstance(spec, ProgramSpec):
            digest = spec.digest
        elif checkpoint is None:
            spec = spec.at(size)
            digest = "golden:" + source_digest("modelparity.fixtures.goldens.weights")
        else:
            checkpoint = checkpoint.resolve()
            digest = sha256_of(checkpoint)
        return ModelUnderTest(spec, input_size or spec.default_input_size, checkpoint, digest)

    @property
    def signature(self) -> Signature:
        return self.spec.signature(self.input_size)

    @property
    def photographs(self) -> ModelSpec:
        """The spec of a network of photographs.

        Raises:
            TypeError: the network takes something else.
        """
        if not isinstance(self.spec, ModelSpec):
            raise TypeError(f"{self.spec.name} does not take photographs")
        return self.spec

    @property
    def size(self) -> str:
        return self.spec.size

    @property
    def definition(self) -> str:
        """Everything declared of the model, at its settings, for keys."""
        return repr(self.spec)

    @property
    def label(self) -> str:
        return f"{self.spec.name}@{self.input_size}" if self.input_size else self.spec.name
