"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="PATH", help="Trained weights; without, the goldens' test weights."),
]
Checkpoints = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", metavar="MODEL=PATH", help="Trained weights of one model."),
]
Size = Annotated[str, typer.Option("--size", metavar="reduced|full", help="The definition of the network.")]
InputSize = Annotated[
    int | None, typer.Option("--input-size", metavar="N", help="Height and width of the image.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the network; `list` names them."),
]
Outputs = Annotated[
    str | None, typer.Option("--outputs", metavar="A,B", help="Only these outputs, in this order.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
