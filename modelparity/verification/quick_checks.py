"""Five quick checks of a file with one photograph, before it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerCrashedError, WorkerFailedError
from modelparity.exit_codes import explained
from modelparity.fixtures.arrays import Shape
from modelparity.fixtures.images import decode, preprocess
from modelparity.fixtures.specs import Signature, Task
from modelparity.modelfiles.description import Description
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.parity.session import Session

SHOWN_BITS = 32
Shapes = dict[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    words: str


@dataclass(frozen=True)
class Message:
    """What a watermark detector reads: the logit that a watermark is present, and the bits."""

    confidence: float
    bits: str
    ones: int


@dataclass(frozen=True)
class Checks:
    """Shapes have 1 for a free batch axis; `message` is for watermark detectors only."""

    format: str
    photograph: str
    inputs: Shapes
    outputs: Shapes
    bytes: int
    results: tuple[Check, ...]
    message: Message | None = None


def photograph_of(session: Session, model: str, image: Path | None) -> tuple[str, dict[str, Any]]:
    """Name and feed of the user's picture, or of the first photograph of the evaluation set."""
    if image is None:
        return session.inputs(model).names[0], dict(session.feeds(model)[0])
    subject = session.subject(model)
    pixels = preprocess(decode(image), subject.photographs.preprocessing, subject.input_size)
    return image.name, {"image": pixels[None]}


def checked(
    session: Session, model: str, *, path: Path, description: Description, image: Path | None = None
) -> Checks:
    """Runs the file twice and checks the outputs. Raises `ImageError` for a picture that cannot be read."""
    name, feed = photograph_of(session, model, image)
    signature = session.subject(model).signature
    results = [_shapes(description, signature)]
    outputs: Mapping[str, Any] = {}
    step = "Model Loading"
    try:
        _load(session, description.format, path)
        results.insert(0, Check(step, True, "Model loaded successfully"))
        step = "Inference Test"
        first, second = (session.bench.run(description.format, path, [feed])[0] for _ in range(2))
    except (WorkerFailedError, WorkerCrashedError) as error:
        results.append(Check(step, False, explained(error)[0]))
    else:
        outputs = first
        results += [
            Check("Inference Test", True, "Inference complete"),
            _range(first, signature),
            _consistency(first, second),
        ]
    read_message = _MESSAGES.get(session.subject(model).spec.task)
    return Checks(
        description.format,
        name,
        _ports(description.inputs),
        _ports(description.outputs),
        path.stat().st_size,
        tuple(results),
        read_message(outputs) if read_message else None,
    )


def _load(session: Session, format: str, path: Path) -> None:
    session.workers[format].call(
        "modelparity.converters.engine.tasks:run",
        session.bench.converters[format].module,
        path,
        [],
        fresh=True,
        timeout=CONVERT_TIMEOUT_S,
    )


def _ports(ports: Any) -> Shapes:
    return {port.name: tuple(1 if axis == "batch" else axis for axis in port.shape) for port in ports}


def _shapes(description: Description, signature: Signature) -> Check:
    wrong = []
    for have, wanted in (
        (description.inputs, signature.inputs),
        (description.outputs, signature.outputs),
    ):
        shapes = {port.name: port.shape for port in have}
        for port in wanted:
            if not _fits(shapes.get(port.name), port.shape):
                seen, due = _ports(have).get(port.name, "missing"), _ports([port])[port.name]
                wrong.append(f"{port.name} is {seen}, but should be {due}")
    return Check("Shape Validation", not wrong, "; ".join(wrong) or "Shapes as they should be")


def _fits(shape: Shape | None, wanted: Shape) -> bool:
    """Whether the fixed extents are equal; a dynamic axis may be fixed, or have any name."""
    if shape is None or len(shape) != len(wanted):
        return False
    return all(isinstance(due, str) or axis == due for axis, due in zip(shape, wanted, strict=True))


def _range(outputs: Mapping[str, Any], signature: Signature) -> Check:
    words, passed = [], True
    for spec in signature.outputs:
        value = outputs.get(spec.name)
        if value is None or not np.isfinite(value).all():
            words.append(f"{spec.name} {'is missing' if value is None else 'is not finite'}")
            passed = False
            continue
        low, high = float(value.min()), float(value.max())
        within = spec.range is None or (
            low >= spec.range[0] and (spec.range[1] is None or high <= spec.range[1])
        )
        words.append(f"{spec.name} {low:.6g} to {high:.6g}" + ("" if within else f", outside {spec.range}"))
        passed = passed and within
    return Check("Output Range", passed, "; ".join(words))


def _consistency(first: Mapping[str, Any], second: Mapping[str, Any]) -> Check:
    differing = [name for name in first if first[name].tobytes() != second[name].tobytes()]
    words = f"{', '.join(differing)} differ between two runs" if differing else "Two runs, the same bytes"
    return Check("Consistency", not differing, words)


def _message(outputs: Mapping[str, Any]) -> Message | None:
    """The first of `preds` is the confidence; each of the others is a bit, 1 where positive."""
    preds = outputs.get("preds")
    if preds is None or preds.size < 2:
        return None
    confidence, *logits = preds.reshape(-1).tolist()
    bits = "".join("1" if logit > 0 else "0" for logit in logits)
    return Message(confidence, bits, bits.count("1"))


_MESSAGES: dict[Task, Callable[[Mapping[str, Any]], Message | None]] = {"message": _message}


def lines(checks: Checks) -> list[str]:
    """The checks as lines of text."""
    title = FILE_FORMATS[checks.format].title
    by_name = {check.name: check for check in checks.results}

    def said(name: str) -> list[str]:
        check = by_name.get(name)
        return [f"{'✓' if check.passed else '✗'} {check.words}"] if check else []

    return [
        f"Loading {title} model...",
        *said("Model Loading"),
        "",
        "Model Information:",
        *(f"  Input shape: {_tuple(shape)}" for shape in checks.inputs.values()),
        *(f"  Output shape: {_tuple(shape)}" for shape in checks.outputs.values()),
        f"  Model size: {checks.bytes / 2**20:.2f} MiB",
        *said("Shape Validation"),
        "",
        f"Running inference on {checks.photograph}...",
        *said("Inference Test"),
        *said("Output Range"),
        *said("Consistency"),
        *_message_lines(checks.message),
        "",
        "✓ Verification complete" if all(c.passed for c in checks.results) else "✗ Verification failed",
    ]


def _message_lines(message: Message | None) -> list[str]:
    if message is None:
        return []
    shown = " ".join(message.bits[:SHOWN_BITS]) + (" ..." if len(message.bits) > SHOWN_BITS else "")
    return [
        "",
        "Results:",
        f"  Confidence: {message.confidence:.6f}",
        f"  Message (first {min(SHOWN_BITS, len(message.bits))} bits): [{shown}]",
        f"  Total 1 bits: {message.ones}/{len(message.bits)}",
    ]


def _tuple(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
