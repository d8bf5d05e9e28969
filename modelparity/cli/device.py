"""Commands for devices that run no Python: feeds, judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelparity.cli.options import Checkpoint, InputSize, Json, Outputs, Settings, Size


def feeds(
    target: Annotated[str, typer.Argument(metavar="CELL|ARTIFACT", help="A cell's id, or a file.")],
    *,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the inputs go.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="The model that a file claims to be.")
    ] = None,
    with_model: Annotated[bool, typer.Option("--with-model", help="The file, too.")] = False,
    checkpoint: Checkpoint = None,
    size: Size = "reduced",
    input_size: InputSize = None,
    settings: Settings = None,
    outputs: Outputs = None,
) -> None:
    """Write the inputs that a judge asks for as raw files, for a device that runs no Python."""
    from modelparity.device import command
    from modelparity.device.target import target_named

    wanted = target_named(
        target,
        model,
        checkpoint=checkpoint,
        size=size,
        input_size=input_size,
        settings=tuple(settings or ()),
        outputs=outputs,
    )
    command.feeds(wanted, output, with_model=with_model)


def judge(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `feeds` wrote.")],
    outputs: Annotated[Path, typer.Argument(metavar="OUTPUTS", help="What the device wrote.")],
    *,
    artifact: Annotated[
        Path | None,
        typer.Option(
            "--artifact", metavar="FILE", help="The file that ran, if it is no cell's and not in DIR."
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Judge the outputs of a device as `verify` judges a file. Exit 1 if they fail, 2 if they are refused."""
    from modelparity.device.command import judge

    if not judge(folder, outputs, artifact=artifact, checkpoint=checkpoint, as_json=as_json):
        raise typer.Exit(1)
