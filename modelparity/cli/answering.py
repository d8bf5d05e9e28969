"""Commands that run networks and files on data: run, evaluate, show, dataset, predict, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelparity.cli.options import Checkpoint, InputSize, Json, Settings, Size


def run(
    target: Annotated[str, typer.Argument(metavar="MODEL_OR_ARTIFACT", help="A model's name or a file.")],
    *,
    input: Annotated[Path, typer.Option("--input", metavar="IN.npz", help="Arrays by name, float32.")],
    output: Annotated[Path, typer.Option("--output", metavar="OUT.npz", help="Where the outputs go.")],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Compare the file's names with those of this model."),
    ] = None,
    checkpoint: Checkpoint = None,
    size: Size = "reduced",
    settings: Settings = None,
    raw: Annotated[bool, typer.Option("--raw", help="The published network's own outputs.")] = False,
) -> None:
    """Run a network or an artifact: arrays by name in, arrays by name out."""
    from modelparity.commands.run import run

    run(
        target,
        input,
        output,
        model=model,
        checkpoint=checkpoint,
        size=size,
        raw=raw,
        settings=settings or (),
    )


def evaluate(
    target: Annotated[str, typer.Argument(metavar="MODEL_OR_ARTIFACT", help="A model's name or a file.")],
    *,
    dataset: Annotated[
        Path,
        typer.Option("--dataset", metavar="DIR", help="Labelled images; the layout is recognised."),
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL_OR_ARTIFACT", help="Its metrics too, and the differences."),
    ] = None,
    checkpoint: Checkpoint = None,
    size: Size = "reduced",
    input_size: InputSize = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Measure a network or a file on labelled images: accuracy, F1, AUC, ECE, masks, AP, bits."""
    from modelparity.commands.evaluate import evaluate

    evaluate(
        target,
        dataset,
        against=against,
        checkpoint=checkpoint,
        size=size,
        input_size=input_size,
        settings=settings or (),
        as_json=as_json,
    )


def show(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file of this project.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")],
    *,
    output: Annotated[Path, typer.Option("--output", metavar="PICTURE.png", help="Where the picture goes.")],
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="MASK", help="The ground truth: white where tampered with."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="ARTIFACT", help="Another file of the network, and the difference."
        ),
    ] = None,
) -> None:
    """Draw the answer of a file on a photograph: mask, heat map, boxes or bits."""
    from modelparity.commands.show import show

    show(artifact, image, mask=mask, against=against, output=output)


def dataset(
    kind: Annotated[
        str, typer.Argument(metavar="splices|triangles|watermarks", help="What the images show.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="A new folder.")],
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many images.")] = 32,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed, other images.")] = 0,
) -> None:
    """Make labelled images from photographs: masks, boxes or messages, the same ones for the same seed."""
    from modelparity.commands.dataset import dataset

    dataset(kind, count, seed, output)


def predict(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="An ONNX or TFLite file.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="The model, if the file does not name it.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="P", help="The decision threshold; 0.5.")
    ] = None,
    expected: Annotated[
        str | None, typer.Option("--expected", metavar="BITS|HEX", help="The message that should be there.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="PNG", help="Where the mask or heat map goes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer one photograph with a released file. Needs no PyTorch."""
    from modelparity.commands.predict import predict

    predict(
        artifact,
        image,
        model=model,
        threshold=threshold,
        expected=expected,
        output=output,
        as_json=as_json,
    )


def serve(
    artifact: Annotated[
        Path | None,
        typer.Argument(metavar="ARTIFACT", help="An ONNX or TFLite file; ObjectFormer in int8 if not given."),
    ] = None,
    *,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0: a free one.")] = 8000,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Cores for one image.")] = 2,
    copies: Annotated[
        int, typer.Option("--copies", metavar="N", help="Images processed at once, each on its own cores.")
    ] = 1,
    queue: Annotated[int, typer.Option("--queue", metavar="N", help="Requests that may wait.")] = 2,
    rate: Annotated[
        float, typer.Option("--rate", metavar="N", help="Requests a second of one address; 0: any number.")
    ] = 20.0,
    release: Annotated[
        bool,
        typer.Option("--release", help="Write the verdict on the golden image beside the file, and end."),
    ] = False,
) -> None:
    """Serve a released file over HTTP. Clients must send $MODELPARITY_API_KEY if it is set."""
    from modelparity.commands.serve import serve

    serve(
        artifact,
        host=host,
        port=port,
        threads=threads,
        copies=copies,
        queue=queue,
        rate=rate,
        release=release,
    )
