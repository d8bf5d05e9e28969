"""Names what a device is asked to run: a cell's own file, or a file of a model from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity import arguments
from modelparity.converters.engine.store import ENTRY
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.formats import sniff
from modelparity.parity.cells import Cell
from modelparity.parity.session import Session
from modelparity.verification.verify import declared_input_size, expect_definition


@dataclass(frozen=True)
class Target:
    """A file as a cell, with the settings of its network.

    Attributes:
        own: Whether it is the cell's own file, as the gate makes it.
        path: Where the file is; None for a cell's own, which the store has or which is made.
        input_size: In pixels; None for the model's default.
    """

    spec: ModelSpec
    cell: Cell
    own: bool
    path: Path | None = None
    checkpoint: Path | None = None
    size: str = "reduced"
    input_size: int | None = None

    @contextmanager
    def session(self, on_stage: Callable[[str], None] = lambda _: None) -> Iterator[Session]:
        """A session of this target's weights and settings."""
        with Session(
            checkpoints={self.spec.name: self.checkpoint} if self.checkpoint else {},
            size=self.size,
            input_size=self.input_size,
            models={self.spec.name: self.spec},
            on_miss=lambda label, _: on_stage(f"making {label}"),
        ) as session:
            yield session

    def file(self, session: Session) -> Path:
        """The path of the file; the cell's own is made unless it is stored."""
        cell = self.cell
        return self.path or session.artifact(cell.model, cell.format, cell.quantization).path

    def files(self, path: Path) -> list[Path]:
        """The file and what lies beside it of its weights."""
        if self.own:
            others = (each for each in path.parent.iterdir() if each.name not in (ENTRY, path.name))
            beside = [each for each in others if each.is_file()]
        else:
            beside = [each for each in [path.with_name(f"{path.name}.data")] if each.is_file()]
        return [path, *sorted(beside)]

    def as_data(self, session: Session) -> dict[str, Any]:
        """What a manifest says of it, from which `of_data` makes it again."""
        subject = session.subject(self.spec.name)
        return {
            "cell": self.cell.id,
            "own": self.own,
            "model": self.cell.model,
            "format": self.cell.format,
            "quantization": self.cell.quantization,
            "settings": dict(self.spec.chosen_settings),
            "outputs": list(self.spec.signature().output_names),
            "size": self.size,
            "input_size": subject.input_size,
            "weights": subject.weights_digest,
        }

    @staticmethod
    def of_data(data: Mapping[str, Any], path: Path | None, checkpoint: Path | None) -> Target:
        """The target that a manifest names.

        Raises:
            KeyError, TypeError, ValueError: the data are no target's.
        """
        spec = MODELS[data["model"]].configured(data["settings"]).with_outputs(data["outputs"])
        cell = Cell(spec.name, data["format"], data["quantization"])
        own, size = bool(data["own"]), int(data["input_size"])
        return Target(spec, cell, own, path, checkpoint, str(data["size"]), size)


def target_named(
    name: str,
    model: str | None,
    *,
    checkpoint: Path | None,
    size: str,
    input_size: int | None,
    settings: tuple[str, ...] = (),
    outputs: str | None = None,
) -> Target:
    """The target that a user names by a cell's id, or by a file and its model."""
    spec, cell, path = arguments.cell_or_file(name, model)
    spec = arguments.with_outputs(arguments.with_settings(spec, settings), outputs)
    size = arguments.size_named(size)
    if input_size is not None:
        arguments.input_size_of(spec, input_size)
    checkpoint = checkpoint.absolute() if checkpoint else None
    if cell is not None:
        return Target(spec, cell, True, None, checkpoint, size, input_size)
    assert path is not None
    format = sniff(path)
    with Session() as session:
        description = session.workers[format].call("modelparity.modelfiles.describe:describe", path).value
    if description.quantization not in QUANTIZATIONS:
        raise BadInputError(f"{path}: quantized as no recipe here does: {description.quantization}")
    if checkpoint is None:
        expect_definition(path, description, spec, size)
    n = input_size or declared_input_size(description, spec)
    cell = Cell(spec.name, format, description.quantization)
    return Target(spec, cell, False, path, checkpoint, size, n)
