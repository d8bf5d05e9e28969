"""`modelparity serve`: serves a released file over HTTP. Needs no converter if a file is named."""

from __future__ import annotations

import os
from pathlib import Path

from modelparity import terminal
from modelparity.errors import BadInputError

API_KEY = "MODELPARITY_API_KEY"
# The fastest first.
_DEFAULTS = ("objectformer-tflite-int8_dynamic", "objectformer-onnx-int8_dynamic")


def serve(
    artifact: Path | None,
    *,
    host: str,
    port: int,
    threads: int,
    copies: int,
    queue: int,
    rate: float,
    release: bool,
) -> None:
    """Serves until SIGTERM; with `release`, only writes the answer to the golden image beside the file."""
    if threads < 1 or copies < 1 or queue < 0 or rate < 0:
        raise BadInputError("--threads and --copies are at least 1, --queue and --rate at least 0")
    path = _from_the_store() if artifact is None else artifact
    from modelparity import serving
    from modelparity.serving.http.golden import read_verdict, verdict_path

    predictor = serving.load(path, threads)
    card = predictor.card
    terminal.say(f"{path}: {card.title}, {card.format} {card.quantization}, sha256 {card.sha256}")
    if not card.trained:
        terminal.warn("these weights are untrained: the answers mean nothing")
    if release:
        _release(path, predictor)
        return
    from dataclasses import replace

    from modelparity.serving.http.app import Server
    from modelparity.serving.http.limits import Limits
    from modelparity.serving.http.server import listening
    from modelparity.serving.http.server import serve as run
    from modelparity.version import own_version

    try:
        released = read_verdict(verdict_path(path))
    except ValueError as error:
        raise BadInputError(str(error)) from error
    limits = Limits()
    limits = replace(
        limits, workers=max(limits.workers, copies), queue=queue, rate=rate, burst=max(1, round(2 * rate))
    )
    predictors = [predictor, *(serving.load(path, threads) for _ in range(copies - 1))]
    server = Server(predictors, limits, os.environ.get(API_KEY), released)
    try:
        at = listening(host, port)
    except OSError as error:
        raise BadInputError(f"{host} port {port}: {(error.strerror or str(error)).lower()}") from error
    run(server, at, own_version(), terminal.say)


def _release(path: Path, predictor: object) -> None:
    from modelparity.arrays import written
    from modelparity.serving.http.golden import verdict_of, verdict_path

    verdict, target = verdict_of(predictor), verdict_path(path)
    with written(target) as file:
        file.write(verdict.as_json().encode())
    terminal.say(f"{target}: {verdict.label}, {verdict.score}")


def _from_the_store() -> Path:
    """ObjectFormer in int8, if the store holds a proof of its cell."""
    from modelparity.parity.cells import Cell
    from modelparity.parity.session import Session

    with Session() as session:
        for name in _DEFAULTS:
            cell = Cell(*name.split("-"))
            record = session.cached(cell)
            if record is not None and record.green:
                return session.artifact(cell.model, cell.format, cell.quantization).path
    raise BadInputError(
        "no ObjectFormer in int8 is proven in the store: make one with "
        "`modelparity gate -k objectformer-tflite-int8_dynamic`, or name a file"
    )
