"""The command line. Nothing heavy is imported before a command needs it: `--help` and `list` stay instant."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from modelparity import terminal
from modelparity.reports.words import one_line

# Missing arguments, unknown options and commands: what the parser itself refuses.
_USAGE: type[Exception] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """The commands; whatever one of them raises ends in one line and an exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        standalone = extra.get("standalone_mode", True)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except _USAGE as error:
            from modelparity.exit_codes import BAD_INPUT

            terminal.fail(error.format_message())  # type: ignore[attr-defined]
            code = BAD_INPUT
        except Exception as error:
            code = _failed(error)
        if not standalone:
            return code
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from modelparity.exit_codes import StoppedError

            raise StoppedError("stopped; nothing was written") from None


def _failed(error: Exception) -> int:
    from modelparity.exit_codes import DEBUG, INTERNAL, STOPPED, explained, worker_traceback

    words, code = explained(error)
    if os.environ.get(DEBUG):
        print(worker_traceback(error), end="", file=sys.stderr)
        traceback.print_exception(error)
    if code in (INTERNAL, STOPPED):
        print(one_line(words), file=sys.stderr)
    else:
        terminal.fail(words)
    return code


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if terminal.live() else None,
    help="Proves converted networks, or refuses them with a reason.",
    epilog="Exit codes: 0 pass, 1 failed, 2 bad input. Work is kept in $MODELPARITY_STORE, else ~/.cache.",
)

ModelOption = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="The model that the file claims to be.")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="PATH", help="Trained weights; without, those of the goldens."),
]
Size = Annotated[str, typer.Option("--size", metavar="reduced|full", help="The definition of the network.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
InputSize = Annotated[
    int | None, typer.Option("--input-size", metavar="N", help="Height and width of the image.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the network; `list` names them."),
]
Outputs = Annotated[
    str | None, typer.Option("--outputs", metavar="A,B", help="These outputs alone, in this order.")
]


def _version(asked: bool) -> None:
    if asked:
        from modelparity.version import own_version

        terminal.say(f"modelparity {own_version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand is None:
        terminal.say(context.get_help())


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Models, what goes in and out, and what each of their cells must reach."""
    from modelparity.commands.list import list_models

    list_models(as_json)


@app.command()
def convert(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of `modelparity list`.")],
    output: Annotated[
        str | None, typer.Option("--output", metavar="PATH", help="A file, or a folder to put it in.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="onnx|tflite|pretrained", help="What to make; PATH's suffix tells."),
    ] = None,
    quantization: Annotated[str, typer.Option("--quantization", metavar="Q", help="The recipe.")] = "fp32",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--checkpoint-path",
            metavar="PATH",
            help="Trained weights; without, those of the goldens, or RUN_DIR/best_model.pth.",
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
        typer.Option("--route", metavar="onnx", help="TFLite by way of ONNX: a second witness."),
    ] = None,
    verify: Annotated[
        bool, typer.Option(" /--no-verify", help="Write the file unproven, or though it fails.")
    ] = True,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", metavar="DIR", help="A training's folder: DIR/onnx_model is made of it."),
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
        from modelparity.run_directory import convert as commands_run_directory
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
            format,
            quantization,
            Path(output) if output else None,
            checkpoint,
            image_input,
            dataset_dir,
            device or "cpu",
            evaluate,
            calibration,
            opset,
        )
        if not commands_run_directory.convert(whole, as_json):
            raise typer.Exit(1)
        return
    from modelparity.commands import convert as commands_convert
    from modelparity.errors import BadInputError

    alone = {
        "--image-input": image_input,
        "--dataset-dir": dataset_dir,
        "--device": device,
        "--evaluate": evaluate,
    }
    for option, value in alone.items():
        if value:
            raise BadInputError(f"{option} goes with --run-dir DIR, the folder of a training")
    if output is None:
        raise BadInputError("Missing option '--output'")
    slash = output.endswith(("/", os.sep))
    wanted = commands_convert.request(
        model,
        format,
        quantization,
        Path(output),
        slash,
        checkpoint,
        size,
        input_size,
        calibration,
        outputs,
        opset,
        verify,
        route,
        settings or (),
        mixed,
    )
    if not commands_convert.convert(wanted, as_json):
        raise typer.Exit(1)


@app.command()
def run(
    target: Annotated[str, typer.Argument(metavar="MODEL_OR_ARTIFACT", help="A model's name or a file.")],
    input: Annotated[Path, typer.Option("--input", metavar="IN.npz", help="Arrays by name, float32.")],
    output: Annotated[Path, typer.Option("--output", metavar="OUT.npz", help="Where the outputs go.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Hold the file against this model's names.")
    ] = None,
    checkpoint: Checkpoint = None,
    size: Size = "reduced",
    settings: Settings = None,
    raw: Annotated[bool, typer.Option("--raw", help="The published network's own outputs.")] = False,
) -> None:
    """Run a network or an artifact: arrays by name in, arrays by name out."""
    from modelparity.commands import run as commands_run

    commands_run.run(target, input, output, model, checkpoint, size, raw, settings or ())


@app.command()
def verify(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file from anywhere, by any name.")],
    model: ModelOption,
    checkpoint: Checkpoint = None,
    size: Size = "reduced",
    input_size: InputSize = None,
    settings: Settings = None,
    outputs: Outputs = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="IMAGE", help="The photograph of the quick checks.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a file as the gate would. Exit 1 if it fails, 2 if it is no model at all."""
    from modelparity.commands.verify import verify_file

    if not verify_file(
        artifact, model, checkpoint, size, input_size, outputs, as_json, image, settings or ()
    ):
        raise typer.Exit(1)


@app.command()
def gate(
    expression: Annotated[
        str, typer.Option("-k", metavar="EXPR", help="Only the cells that match, as in pytest.")
    ] = "",
    checkpoint: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", metavar="MODEL=PATH", help="Trained weights of one model."),
    ] = None,
    size: Size = "reduced",
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="MODEL=DIR", help="Labelled images: task metrics of each cell."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the report goes.")] = Path(
        "modelparity-report"
    ),
    as_json: Json = False,
) -> None:
    """Convert, prove, measure and report. Exit 0 only if everything may be released."""
    from modelparity.commands import gate as commands_gate

    if not commands_gate.gate(expression, checkpoint or [], size, output, as_json, dataset or []):
        raise typer.Exit(1)


@app.command()
def evaluate(
    target: Annotated[str, typer.Argument(metavar="MODEL_OR_ARTIFACT", help="A model's name or a file.")],
    dataset: Annotated[
        Path,
        typer.Option("--dataset", metavar="DIR", help="Labelled images; what is in it tells their layout."),
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
    """Say what a network or a file is worth on labelled images: accuracy, F1, AUC, ECE, masks, AP, bits."""
    from modelparity.commands import evaluate as commands_evaluate

    commands_evaluate.evaluate(
        target, dataset, against, checkpoint, size, input_size, settings or (), as_json
    )


@app.command()
def show(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file of this project.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")],
    output: Annotated[Path, typer.Option("--output", metavar="PICTURE.png", help="Where the picture goes.")],
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="MASK", help="The truth: white where tampered with.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="ARTIFACT", help="Another file of the network, and the difference."
        ),
    ] = None,
) -> None:
    """Draw the answer of a file on a photograph: mask, heat map, boxes or bits."""
    from modelparity.commands import show as commands_show

    commands_show.show(artifact, image, mask, against, output)


@app.command()
def dataset(
    kind: Annotated[str, typer.Argument(metavar="splices|triangles|watermarks", help="What is in it.")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="A new folder.")],
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many images.")] = 32,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed, other images.")] = 0,
) -> None:
    """Make labelled images of real photographs: masks, boxes or messages, the same ones for the same seed."""
    from modelparity.commands import dataset as commands_dataset

    commands_dataset.dataset(kind, count, seed, output)


@app.command()
def mutate(
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
    """Plant faults in the real files. Exit 0 only if the judge notices every one that can be seen."""
    from modelparity.commands import mutate as commands_mutate

    if not commands_mutate.mutate(model, format, fault, output, as_json):
        raise typer.Exit(1)


@app.command()
def explain(
    target: Annotated[str, typer.Argument(metavar="CELL|ARTIFACT", help="A cell's id, or a file.")],
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
    """Say which layer of a file diverges, and what each stage adds. Exit 1 if a layer is named."""
    from modelparity.explain import command as commands_explain

    wanted = commands_explain.request(target, model, checkpoint, output)
    if not commands_explain.explain_target(wanted, as_json):
        raise typer.Exit(1)


@app.command()
def search(
    cells: Annotated[
        str, typer.Argument(metavar="CELL|EXPR", help="A cell's id, or cells that match, as in pytest -k.")
    ],
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", help="How long to climb, a cell.")
    ] = 60.0,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", metavar="MODEL=PATH", help="Trained weights of one model."),
    ] = None,
    store: Annotated[bool, typer.Option(" /--no-store", help="Keep no input for the gate to replay.")] = True,
    as_json: Json = False,
) -> None:
    """Search towards the input on which a cell errs most; the gate replays it. Exit 1 if a bound breaks."""
    from modelparity.commands import search as commands_search

    if not commands_search.search(cells, seconds, checkpoint or [], store, as_json):
        raise typer.Exit(1)


@app.command()
def package(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of `modelparity list`.")
    ] = "objectformer",
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
    from modelparity.commands import package as commands_package

    wanted = commands_package.plan(model, output, checkpoint, formats, quantizations, include_failed)
    if not commands_package.make(wanted, size, input_size):
        raise typer.Exit(1)


@app.command()
def extract(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model whose checkpoints hold others too.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What training left behind.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The part: .pth or .safetensors.")],
) -> None:
    """Write one network's part of a large checkpoint to a file of its own, without loading the rest."""
    from modelparity.commands import extract as commands_extract

    commands_extract.extract(model, checkpoint, output)


@app.command()
def predict(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="An ONNX or TFLite file.")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="What a file is that does not say it.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="P", help="From where on something counts; 0.5.")
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
    from modelparity.commands import predict as commands_predict

    commands_predict.predict(artifact, image, model, threshold, expected, output, as_json)


@app.command()
def serve(
    artifact: Annotated[
        Path | None,
        typer.Argument(metavar="ARTIFACT", help="An ONNX or TFLite file; ObjectFormer in int8 if not given."),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0: a free one.")] = 8000,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Cores for one image.")] = 2,
    copies: Annotated[
        int, typer.Option("--copies", metavar="N", help="Images looked at at once, each on its cores.")
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
    """Serve a released file over HTTP. $MODELPARITY_API_KEY, if set, is asked of clients."""
    from modelparity.commands import serve as commands_serve

    commands_serve.serve(artifact, host, port, threads, copies, queue, rate, release)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output folder of a gate.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Where the report goes; RUN_DIR if not given."),
    ] = None,
) -> None:
    """Write the report of a recorded run again. Exit 0 once it is written, whatever its verdict."""
    from modelparity.commands import report as commands_report

    commands_report.report(folder, output)


def main() -> NoReturn:
    """The `modelparity` command."""
    app()
    raise AssertionError("unreachable")  # the group exits
