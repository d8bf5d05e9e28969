"""`modelparity verify`: prints the verdict on a file in one line, then claim by claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelparity import arguments, terminal
from modelparity.api.model import Model
from modelparity.clean_weights import weights_words
from modelparity.commands.judging.prove import described, sampled
from modelparity.errors import BadInputError
from modelparity.exit_codes import os_words
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.formats import sniff
from modelparity.parity.session import Session
from modelparity.reports.evidence import claim_words, quality_line, ran_on_line
from modelparity.reports.failures import failure_line, failure_text, outcome_line, undecided_or_failed
from modelparity.reports.view import Entry
from modelparity.reports.words import GLYPHS, one_line, shares
from modelparity.verification.quick_checks import lines
from modelparity.verification.verify import AS_IT_IS, Meant, Verification, verify

if TYPE_CHECKING:
    from rich.table import Table


def verify_file(
    artifact: Path,
    model: str,
    *,
    checkpoint: Path | None,
    size: str,
    input_size: int | None,
    outputs: str | None,
    as_json: bool,
    image: Path | None = None,
    settings: Sequence[str] = (),
    meant: Meant = AS_IT_IS,
) -> bool:
    """Judges the file and prints the verdict; returns whether it is a pass."""
    spec = arguments.with_outputs(arguments.with_settings(arguments.model_named(model), settings), outputs)
    size = arguments.size_named(size)
    if input_size is not None:
        arguments.input_size_of(spec, input_size)
    path = _readable(artifact)
    checkpoint = checkpoint.absolute() if checkpoint else None
    verification = _verified(
        path,
        spec,
        checkpoint=checkpoint,
        size=size,
        n=input_size,
        image=image.absolute() if image else None,
        meant=_checked(meant),
    )
    if as_json:
        terminal.say(verification.as_json())
    else:
        print_verification(verification)
    return verification.verdict == "pass"


def verify_target(artifact: Path, model: Model, *, as_json: bool, meant: Meant = AS_IT_IS) -> bool:
    """Judges the file as a conversion of a user's own network, and prints the verdict."""
    from modelparity.api.verify import verify_against

    path = _readable(artifact)
    with terminal.progress(f"judging {path.name}") as progress:

        def on_spec(spec: ProgramSpec) -> None:
            for line in (*described(spec), *sampled(spec)):
                progress.line(line)

        verification = verify_against(
            path, model, meant=_checked(meant), on_stage=progress.stage, on_spec=on_spec
        )
    if as_json:
        terminal.say(verification.as_json())
    else:
        print_verification(verification)
    return verification.verdict == "pass"


def _readable(artifact: Path) -> Path:
    """The absolute path of a file that can be opened. Raises `BadInputError`."""
    path = artifact.absolute()
    try:
        with path.open("rb"):
            pass
    except IsADirectoryError:
        pass  # sniffing says so in its own words
    except OSError as error:
        raise BadInputError(os_words(error, path)) from error
    return path


def _checked(meant: Meant) -> Meant:
    """With the quantization by this project's name, and an absolute path."""
    quantization = meant.quantization and arguments.quantization_named(meant.quantization)
    feeds = meant.feeds.absolute() if meant.feeds else None
    return replace(meant, quantization=quantization, feeds=feeds)


def _verified(
    path: Path,
    spec: ModelSpec,
    *,
    checkpoint: Path | None,
    size: str,
    n: int | None,
    image: Path | None,
    meant: Meant,
) -> Verification:
    sniff(path)  # what is no model at all is refused before anything is read for it
    with terminal.progress(f"judging {path.name}") as progress:
        if checkpoint:
            progress.hint(f"reading {checkpoint.name}")
            with Session() as session:
                weights_words(session, spec, checkpoint)
        return verify(
            path,
            spec,
            checkpoint=checkpoint,
            size=size,
            input_size=n,
            on_stage=progress.stage,
            image=image,
            meant=meant,
        )


def print_verification(verification: Verification) -> None:
    """The verdict in one line, then the evidence, claim by claim."""
    from rich.text import Text

    record = verification.record
    entry = Entry(record.id, record.model, record.format, record.quantization, record)
    passed = verification.verdict == "pass"
    if passed:
        line = f"{record.id}: {len(record.claims)} claims hold, {record.headline}"
    else:
        line = (
            outcome_line(entry)
            if record.explanation
            else failure_line(record, undecided_or_failed(record)[0])
        )
    terminal.show(
        Text(f"{verification.verdict.upper()}: {line}", style="bold green" if passed else "bold red")
    )
    for remark in record.remarks:
        terminal.show(Text(f"remark: {remark}", style="yellow"))
    if verification.limitation:
        terminal.say(f"known limitation of this cell: {verification.limitation.reason}")
    if record.artifact:
        weights = record.artifact.weight_share
        terminal.say(f"{record.artifact.bytes:,} bytes, sha256 {record.artifact.sha256}")
        if weights:
            terminal.say(f"weights {shares(weights)}; arithmetic {shares(record.artifact.arithmetic_share)}")
    if line := ran_on_line(record):
        terminal.say(f"judged on: {line}")
    if quality := quality_line(record):
        terminal.say(f"quality: {quality}")
    if verification.checks:
        terminal.say()
        for text in lines(verification.checks):
            terminal.say(text)
    if record.claims:
        terminal.say()
        terminal.show(_claims(verification))
    for name, because in record.not_asked.items():
        terminal.say(f"not asked: {name}, because {one_line(because)}")
    if not passed:
        terminal.say()
        terminal.say(failure_text(entry, lines=0))


_STYLES = {"passed": "green", "failed": "red", "inconclusive": "yellow"}


def _claims(verification: Verification) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "claim", "output", "observed", "bound", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for claim in verification.record.claims:
        words = claim_words(claim)
        style = _STYLES[claim.status]
        cells = (GLYPHS[claim.status], words.name, words.output, words.observed, words.bound)
        table.add_row(*(Text(text, style=style if at == 0 else "") for at, text in enumerate(cells)))
    return table
