"""`modelparity package`: proves a model's files and writes a release folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.clean_weights import weights_words
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.errors import BadInputError, nearest
from modelparity.exit_codes import os_words
from modelparity.fixtures.models import MODELS
from modelparity.package.documents import size_words
from modelparity.package.package import FORMATS, TOP, NotProvenError, Plan, package
from modelparity.package.specs import Packaged
from modelparity.parity.results import CellRecord
from modelparity.parity.session import Session
from modelparity.reports.failures import outcome_line
from modelparity.reports.view import Entry
from modelparity.reports.words import GLYPHS


def plan(
    model: str,
    output: Path,
    *,
    checkpoint: Path | None,
    formats: str | None,
    quantizations: str | None,
    include_failed: bool,
) -> Plan:
    """Checks the arguments, as far as that costs nothing."""
    spec = arguments.model_named(model)
    output = output.absolute()
    arguments.writable_folder(output)
    if output.is_dir() and (others := sorted({path.name for path in output.iterdir()} - TOP)):
        words = f"{output}: holds {others[0]}, which belongs to no package; choose another folder"
        raise BadInputError(words)
    return Plan(
        spec.name,
        output,
        checkpoint.absolute() if checkpoint else None,
        _among("format", formats, FORMATS),
        tuple(arguments.quantization_named(name) for name in _words(quantizations, QUANTIZATIONS)),
        include_failed,
    )


def _words(text: str | None, default: Iterable[str]) -> list[str]:
    return list(default) if text is None else [word.strip() for word in text.split(",")]


def _among(kind: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    words = _words(text, known)
    for word in words:
        if word not in known:
            raise BadInputError(f"no such {kind}: {word!r}{nearest(word, known)}")
    return tuple(word for word in known if word in words)


def make(wanted: Plan, size: str, input_size: int | None) -> bool:
    """Makes the package and prints what is in it; returns False if a cell fails its proof."""
    size = arguments.size_named(size)
    n = arguments.input_size_of(MODELS[wanted.model], input_size)
    checkpoints = dict.fromkeys(wanted.variants, wanted.checkpoint) if wanted.checkpoint else {}
    with terminal.progress("packaging", total=len(wanted.cells) or None) as progress:

        def on_cell(record: CellRecord, done: int, total: int) -> None:
            words = " (cached)" if record.cached else ""
            progress.line(f"{done}/{total} {GLYPHS[record.status]} {record.id} {record.status}{words}")
            progress.advance()

        with Session(
            checkpoints={name: path for name, path in checkpoints.items() if path},
            size=size,
            input_size=n,
            on_miss=lambda label, _: progress.hint(f"making {label}"),
        ) as session:
            weights = {
                name: weights_words(session, arguments.model_named(name), wanted.checkpoint)
                for name in wanted.variants
            }
            try:
                files = package(session, wanted, weights=weights, on_cell=on_cell, on_stage=progress.stage)
            except NotProvenError as error:
                return _refused(error, wanted)
            except OSError as error:
                raise BadInputError(os_words(error)) from error
    _print(wanted, files)
    return True


def _refused(error: NotProvenError, wanted: Plan) -> bool:
    for record in error.records:
        entry = Entry(record.id, record.model, record.format, record.quantization, record)
        terminal.say(f"FAIL: {outcome_line(entry)}")
    terminal.say(
        f"{wanted.output} was not written; --include-failed packages such files all the same, and says so"
    )
    return False


def _print(wanted: Plan, files: Sequence[Packaged]) -> None:
    terminal.say(f"wrote {wanted.output}")
    for file in files:
        terminal.say(
            f"  {file.place}  {size_words(file.entry['bytes'])}  {file.record.status}, {file.record.headline}"
        )
    if wanted.checkpoint is None:
        terminal.warn("no checkpoint was given: the package holds test weights, and its documents say so")
    for file in files:
        if not file.record.green:
            terminal.warn(f"{file.place} FAILED its proof; the documents say so")
