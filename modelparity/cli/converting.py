"""Commands that list models and make files: list, convert, package, extract."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from modelparity.cli.options import Checkpoint, InputSize, Json, Outputs, Settings, Size
from modelparity.converters.recipes import FLOAT


def list_(as_json: Json = False) -> None:
    """List the models, their inputs and outputs, and what each of their cells must reach."""
    from modelparity.commands.list import list_models

    list_models(as_json)


def convert(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of `modelparity list`.")],
    *,
    output: Annotated[
        str | None, typer.Option("--output", metavar="PATH", help="A file, or a folder to put it in.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="onnx|tflite|pretrained", help="What to make; without, PATH's suffix says."
        ),
    ] = None,
    quantization: Annotated[str, typer.Option("--quantization", metavar="Q", help="The recipe.")] = FLOAT,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--checkpoint-path",
            metavar="PATH",
            help="Trained weights; without, the goldens' test weights, or RUN_DIR/best_model.pth.",
        ),
    ] = None,
    size: Size = "reduced",
    input_size: InputSize = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", metavar="DIR", help="Your own images for int8_static.")
    ] = None,
    mixed: Annotated[
        Path | None,
        typer.Option("--mixed", metavar="RECIPE.json", help="Layers that stay float; `explain` writes it."),
    ] = None,
    settings: Settings = None,
    outputs: Outputs = None,
    opset: Annotated[
        int | None, typer.Option("--opset", metavar="N", help="ONNX opset, 12 to 20; 20 if not given.")
    ] = None,
    route: Annotated[
        str | None,
        typer.Option("--route", metavar="onnx", help="TFLite by way of ONNX, compared with the direct way."),
    ] = None,
    verify: Annotated[
        bool, typer.Option(" /--no-verify", help="Write the file without a proof, or even if it fails.")
    ] = True,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", metavar="DIR", help="The folder of a training; writes DIR/onnx_model."),
    ] = None,
    image_input: Annotated[
        Path | None,
        typer.Option("--image-input", metavar="IMAGE", help="With --run-dir: check the file on this image."),
    ] = None,
    dataset_dir: Annotated[
        Path | None,
        typer.Option("--dataset-dir", metavar="DIR", help="With --run-dir: dataset.jsonl and data/."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="cpu|cuda", help="With --run-dir: where PyTorch runs.")
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate",
            "--evaluate-converted-model",
            help="With --run-dir: COCO metrics of network and file on the dataset.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make one artifact, or clean weights from a training checkpoint; prove it, and write it to PATH."""
    if run_dir is not None:
        from modelparity.run_directory import convert as run_directory
        from modelparity.run_directory import request

        request.refuse(
            size=size != "reduced",
            input_size=input_size,
            outputs=outputs,
            route=route,
            set=settings,
            mixed=mixed,
        )
        whole = request.request(
            model,
            run_dir,
            format=format,
            quantization=quantization,
            output=Path(output) if output else None,
            checkpoint=checkpoint,
            image=image_input,
            dataset=dataset_dir,
            device=device or "cpu",
            evaluate=evaluate,
            calibration=calibration,
            opset=opset,
        )
        if not run_directory.convert(whole, as_json):
            raise typer.Exit(1)
        return
    from modelparity.commands import convert as command
    from modelparity.errors import BadInputError

    with_run_dir = {
        "--image-input": image_input,
        "--dataset-dir": dataset_dir,
        "--device": device,
        "--evaluate": evaluate,
    }
    for option, value in with_run_dir.items():
        if value:
            raise BadInputError(f"{option} goes with --run-dir DIR, the folder of a training")
    if output is None:
        raise BadInputError("Missing option '--output'")
    wanted = command.request(
        model,
        format=format,
        quantization=quantization,
        output=Path(output),
        is_folder=output.endswith(("/", os.sep)),
        checkpoint=checkpoint,
        size=size,
        input_size=input_size,
        calibration=calibration,
        outputs=outputs,
        opset=opset,
        verify=verify,
        route=route,
        settings=settings or (),
        mixed=mixed,
    )
    if not command.convert(wanted, as_json):
        raise typer.Exit(1)


def package(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of `modelparity list`.")
    ] = "objectformer",
    *,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="The release folder.")] = Path(
        "exports"
    ),
    checkpoint: Checkpoint = None,
    formats: Annotated[
        str | None,
        typer.Option("--formats", metavar="A,B", help="Of pytorch, onnx, tflite; all if not given."),
    ] = None,
    quantizations: Annotated[
        str | None, typer.Option("--quantizations", metavar="A,B", help="Recipes; all if not given.")
    ] = None,
    size: Size = "reduced",
    input_size: InputSize = None,
    include_failed: Annotated[
        bool, typer.Option("--include-failed", help="Package files that fail their proof, and say so.")
    ] = False,
) -> None:
    """Prove a model's files and write a release folder: files, wrapper, benchmarks, documents."""
    from modelparity.commands import package as command

    wanted = command.plan(
        model,
        output,
        checkpoint=checkpoint,
        formats=formats,
        quantizations=quantizations,
        include_failed=include_failed,
    )
    if not command.make(wanted, size, input_size):
        raise typer.Exit(1)


def extract(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model whose checkpoints hold other networks, too.")
    ],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What training left behind.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Where the part goes: .pth or .safetensors.")
    ],
) -> None:
    """Write one network's part of a large checkpoint to a file of its own, without loading the rest."""
    from modelparity.commands.extract import extract

    extract(model, checkpoint, output)
