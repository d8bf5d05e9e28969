"""Commands that judge files and explain verdicts: verify, gate, accept, report, mutate, explain, search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelparity.cli.options import Checkpoint, Checkpoints, InputSize, Json, Outputs, Settings, Size


def verify(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file from anywhere, by any name.")],
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="The model that the file claims to be.")
    ] = "",
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="TARGET", help="Your own network, as package.module:name or model.py:name."
        ),
    ] = "",
    example: Annotated[
        str, typer.Option("--example", metavar="MODULE:NAME", help="Its example inputs.")
    ] = "",
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="PATH", help="A state dict of your own network.")
    ] = None,
    checkpoint: Checkpoint = None,
    size: Size = "reduced",
    input_size: InputSize = None,
    settings: Settings = None,
    outputs: Outputs = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="IMAGE", help="The photograph of the quick checks.")
    ] = None,
    quantization: Annotated[
        str,
        typer.Option("--as", metavar="QUANTIZATION", help="What it is meant to be: int8_static, ..."),
    ] = "",
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="THEIRS=OURS", help="A port's name in the file, and the network's."),
    ] = None,
    input_layout: Annotated[
        str, typer.Option("--input-layout", metavar="nchw|nhwc", help="Axes of the file's images.")
    ] = "nchw",
    output_layout: Annotated[
        str, typer.Option("--output-layout", metavar="nchw|nhwc", help="Axes of the file's maps.")
    ] = "nchw",
    feeds: Annotated[
        Path | None,
        typer.Option("--feeds", metavar="NPZ", help="Your own inputs instead of the evaluation set."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a file as the gate would. Exit 1 if it fails, 2 if it is no model at all."""
    from modelparity.commands.judging.verify import verify_file, verify_target
    from modelparity.errors import BadInputError
    from modelparity.verification.verify import Meant

    if bool(model) == bool(against):
        raise BadInputError("say what the file should be: --model MODEL, or --against TARGET for your own")
    meant = Meant(quantization, tuple(rename or ()), (input_layout, output_layout), feeds)
    if against:
        from modelparity.api.model import Model

        given = {
            "--checkpoint": checkpoint,
            "--input-size": input_size,
            "--set": settings,
            "--outputs": outputs,
        }
        if option := next((option for option, value in {**given, "--image": image}.items() if value), ""):
            raise BadInputError(f"{option} is of --model; your own network takes --weights and --example")
        brought = Model(against, example or None, weights=weights)
        if not verify_target(artifact, brought, as_json=as_json, meant=meant):
            raise typer.Exit(1)
        return

    passed = verify_file(
        artifact,
        model,
        checkpoint=checkpoint,
        size=size,
        input_size=input_size,
        outputs=outputs,
        as_json=as_json,
        image=image,
        settings=settings or (),
        meant=meant,
    )
    if not passed:
        raise typer.Exit(1)


def prove(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="package.module:name, path/to/file.py:name or model.pt2."),
    ],
    *,
    example: Annotated[
        str, typer.Option("--example", metavar="MODULE:NAME", help="Example inputs, or what returns them.")
    ] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=DTYPE:AXES", help="An input, as x=float32:batch,3,64,64."),
    ] = None,
    dims: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="NAME=LOW:HIGH", help="The extents that a dynamic axis may have."),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="NAME=LOW:HIGH", help="The values that an input may have."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="NPZ", help="Samples: an array for each input, stacked."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="PATH", help="A state dict of the network.")
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="How files are named.")] = "",
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="onnx|tflite", help="What to make; ONNX if not given."),
    ] = None,
    quantizations: Annotated[
        list[str] | None,
        typer.Option("--quantization", metavar="Q", help="fp32, fp16, int8_dynamic, int8_static."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Where proven files go.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert your own network and prove the files. Exit 0 only if all are proven."""
    from modelparity.commands.judging.prove import prove_target, request

    model = request(
        target,
        example=example,
        inputs=inputs or [],
        dims=dims or [],
        ranges=ranges or [],
        data=data,
        weights=weights,
        name=name,
    )
    passed = prove_target(
        model,
        formats=formats or [],
        quantizations=quantizations or [],
        output=output,
        as_json=as_json,
    )
    if not passed:
        raise typer.Exit(1)


def gate(
    *,
    expression: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Only the cells that match, as in pytest.")
    ] = "",
    checkpoint: Checkpoints = None,
    size: Size = "reduced",
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="MODEL=DIR", help="Labelled images: task metrics of each cell."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="changed_decisions=SHARE",
            help="The share of decisions that may change.",
        ),
    ] = None,
    require_quality: Annotated[
        bool, typer.Option("--require-quality", help="Fail where nobody stated or accepted a quality.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the report goes.")] = Path(
        "modelparity-report"
    ),
    as_json: Json = False,
) -> None:
    """Convert, prove, measure and report. Exit 0 only if everything may be released.

    In a folder whose pyproject.toml declares models, it proves these.
    """
    from modelparity.api.project import declared_models

    if declared := declared_models(Path.cwd()):
        from modelparity.commands.judging.project_gate import gate_project
        from modelparity.errors import BadInputError

        if checkpoint or dataset or size != "reduced":
            raise BadInputError(
                "--checkpoint, --dataset and --size are of the built-in models; this folder declares others"
            )

        if not gate_project(
            declared,
            expression,
            output=output,
            as_json=as_json,
            allow=allow or [],
            require_quality=require_quality,
        ):
            raise typer.Exit(1)
        return
    from modelparity.commands.judging.gate import gate

    passed = gate(
        expression,
        checkpoints=checkpoint or [],
        size=size,
        output=output,
        as_json=as_json,
        datasets=dataset or [],
        allow=allow or [],
        require_quality=require_quality,
    )
    if not passed:
        raise typer.Exit(1)


def accept(
    folder: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output folder of a gate.")],
    *,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The lock to write.")] = Path(
        "parity.lock"
    ),
    margin_db: Annotated[
        float, typer.Option("--margin-db", metavar="DB", help="The mean loss over the images that is none.")
    ] = 1.0,
) -> None:
    """Accept the quality of a run: later gates fail where an output gets worse, by a paired test."""
    from modelparity.quality.accept import accept

    accept(folder, output, margin_db)


def mutate(
    *,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="One model; all if not given.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="onnx|tflite", help="One format; both if not given.")
    ] = None,
    fault: Annotated[
        str | None, typer.Option("--fault", metavar="NAME", help="One fault; the catalogue if not given.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where the kill table goes; a report shows it.")
    ] = Path("modelparity-report"),
    as_json: Json = False,
) -> None:
    """Plant faults in the real files. Exit 0 only if the judge notices every visible one."""
    from modelparity.commands.judging.mutate import mutate

    if not mutate(model=model, format=format, fault=fault, output=output, as_json=as_json):
        raise typer.Exit(1)


def explain(
    target: Annotated[str, typer.Argument(metavar="CELL|ARTIFACT", help="A cell's id, or a file.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="The model that a file claims to be.")
    ] = None,
    checkpoint: Checkpoint = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Where a reproduction of the diverging layer goes."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which layer of a file diverges, and what error each stage adds. Exit 1 if a layer diverges."""
    from modelparity.explain import command

    wanted = command.request(target, model, checkpoint, output)
    if not command.explain_target(wanted, as_json):
        raise typer.Exit(1)


def search(
    cells: Annotated[
        str, typer.Argument(metavar="CELL|EXPR", help="A cell's id, or cells that match, as in pytest -k.")
    ],
    *,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", help="How long to search each cell.")
    ] = 60.0,
    checkpoint: Checkpoints = None,
    store: Annotated[
        bool, typer.Option(" /--no-store", help="Do not keep the inputs for the gate to replay.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Search for the input with a cell's greatest error; the gate replays it. Exit 1 if a bound breaks."""
    from modelparity.commands.judging.search import search

    if not search(cells, seconds, checkpoints=checkpoint or [], keep=store, as_json=as_json):
        raise typer.Exit(1)


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output folder of a gate.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Where the report goes; RUN_DIR if not given."),
    ] = None,
) -> None:
    """Write the report of a recorded run again. Exit 0 once it is written, whatever its verdict."""
    from modelparity.commands.judging.report import report

    report(folder, output)
