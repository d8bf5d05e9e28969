"""Looks up and checks what the user names on the command line; unknown names raise `BadInputError`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError, nearest
from modelparity.exit_codes import os_words
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.parity.cells import Cell, all_cells

PRETRAINED = "pretrained"
FORMATS = (*CONVERTERS, PRETRAINED)
SUFFIXES = {
    **{format: (converter.suffix,) for format, converter in CONVERTERS.items()},
    PRETRAINED: (".pth", ".safetensors"),
}
SIZES = ("reduced", "full")
ALIASES = {alias: recipe.name for recipe in QUANTIZATIONS.values() for alias in recipe.aliases}
GOLDEN_WORDS = "deterministic weights of the goldens (no checkpoint given)"


def model_named(name: str) -> ModelSpec:
    """The spec of a model."""
    return MODELS[known_as("model", name, MODELS)]


def cell_or_file(target: str, model: str | None) -> tuple[ModelSpec, Cell | None, Path | None]:
    """The model of a cell's id or of a file, and which of the two it is; a file needs its model's name."""
    cells = {cell.id: cell for cell in all_cells()}
    path = Path(target).absolute()
    if target in cells and not path.exists():
        cell = cells[target]
        if model is not None and model != cell.model:
            raise BadInputError(f"--model {model}, but {target} is a cell of {cell.model}")
        return MODELS[cell.model], cell, None
    if not path.exists():
        raise BadInputError(f"{target}: no such cell or file{nearest(target, cells)}")
    if model is None:
        raise BadInputError(f"{target}: say which model the file claims to be with --model MODEL")
    spec = model_named(model)
    try:
        with path.open("rb"):
            pass
    except IsADirectoryError:
        raise BadInputError(f"{path}: a directory, not a file") from None
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error
    return spec, None, path


def with_settings(spec: ModelSpec, pairs: Iterable[str]) -> ModelSpec:
    """The spec with settings given as `NAME=VALUE` texts."""
    known = {setting.name: setting for setting in spec.settings}
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (equals and text):
            raise BadInputError(f"--set {pair!r}, but should be NAME=VALUE")
        if name not in known:
            hint = nearest(name, known) if known else "; it has none"
            raise BadInputError(f"--set {name}: no such setting of {spec.name}{hint}")
        try:
            values[name] = known[name].parsed(text)
        except ValueError as error:
            raise BadInputError(f"--set {error}") from error
    return spec.configured(values)


def format_named(name: str) -> str:
    """A converter's format, or "pretrained"."""
    return known_as("format", name, FORMATS)


def quantization_named(name: str) -> str:
    """A quantization that recipes exist for, by its own name or another tool's."""
    return known_as("quantization", ALIASES.get(name, name), QUANTIZATIONS)


def format_of(output: Path) -> str:
    """The format of a file's suffix."""
    for format, suffixes in SUFFIXES.items():
        if output.suffix in suffixes:
            return format
    known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    raise BadInputError(f"{output.name or output}: say what to make with --format, or by a suffix: {known}")


def checked_quantization(quantization: str, format: str) -> None:
    """Raises `BadInputError` unless the format's converter makes files of that quantization."""
    if format in CONVERTERS and not CONVERTERS[format].makes(quantization):
        made = ", ".join(CONVERTERS[format].quantizations)
        raise BadInputError(f"--quantization {quantization}: {format} files are made in {made} only")


def checked_opset(opset: int | None, format: str) -> None:
    """Raises `BadInputError` unless the format can be written at `opset`."""
    if opset is None:
        return
    opsets = CONVERTERS[format].opsets if format in CONVERTERS else range(0)
    if not opsets:
        owners = " or ".join(FILE_FORMATS[each.format].title for each in CONVERTERS.values() if each.opsets)
        raise BadInputError(f"--opset {opset}: {format} has no opsets; they are {owners}'s")
    if opset not in opsets:
        raise BadInputError(f"--opset {opset}, but should be {opsets[0]} to {opsets[-1]}")


def with_outputs(spec: ModelSpec, names: str | None) -> ModelSpec:
    """The model with only the outputs of a comma-separated list; with all of them if `names` is None."""
    if names is None:
        return spec
    try:
        return spec.with_outputs([name.strip() for name in names.split(",")])
    except ValueError as error:
        raise BadInputError(f"--outputs {names}: {error}") from error


def size_named(name: str) -> str:
    """ "reduced" or "full"."""
    return known_as("size", name, SIZES)


def known_as(kind: str, name: str, known: Iterable[str]) -> str:
    """The name, if it is known. Otherwise raises `BadInputError`, with the nearest known names."""
    known = list(known)
    if name not in known:
        raise BadInputError(f"no such {kind}: {name!r}{nearest(name, known)}")
    return name


def input_size_of(spec: ModelSpec, asked: int | None) -> int:
    """The requested input size, or the model's default."""
    if asked is None:
        return spec.default_input_size
    if asked not in spec.input_sizes:
        sizes = ", ".join(map(str, spec.input_sizes))
        raise BadInputError(f"--input-size {asked}: {spec.name} takes {sizes}")
    return asked


def checkpoint_pairs(pairs: Iterable[str]) -> dict[str, Path]:
    """The `MODEL=PATH` texts of `--checkpoint` as absolute paths by model."""
    return model_paths("--checkpoint", pairs, "PATH")


def model_paths(option: str, pairs: Iterable[str], metavar: str) -> dict[str, Path]:
    """The `MODEL=metavar` texts of an option as absolute paths by model."""
    paths: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (equals and path):
            raise BadInputError(f"{option} {pair!r}, but should be MODEL={metavar}")
        if model_named(name).name in paths:
            raise BadInputError(f"{option} names {name} twice")
        paths[name] = Path(path).absolute()
    return paths


def output_path(path: Path, name: str) -> Path:
    """Where a file goes: `path`, or `name` inside it if it is a folder or ends in a slash."""
    return path.absolute() / name if path.is_dir() else path.absolute()


def checked_output(path: Path, *sources: Path | None) -> Path:
    """`path`, if a file can be written there and it is none of `sources`. Creates nothing.

    Raises:
        BadInputError: otherwise; the message says why.
    """
    if path.is_dir():
        raise BadInputError(f"{path}: a directory, not a file to write")
    if path.exists() and not path.is_file():
        raise BadInputError(f"{path}: not a regular file; it is left alone")
    for source in sources:
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise BadInputError(f"{path}: is the file that is read; choose another output")
    writable_folder(path.parent)
    return path


def existing_parent(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def writable_folder(folder: Path) -> Path:
    """`folder`, if it can be written to or made. Creates nothing. Raises `BadInputError` otherwise."""
    existing = existing_parent(folder)
    if not existing.is_dir():
        raise BadInputError(f"{folder}: {existing} is a file, not a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInputError(f"{folder}: no permission to write there")
    return folder
