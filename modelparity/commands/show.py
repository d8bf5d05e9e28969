"""`modelparity show`: draws the answer of a file, or of two, on a photograph."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.arrays import written
from modelparity.errors import BadInputError
from modelparity.fixtures.datasets.labelled import read_mask
from modelparity.fixtures.images import decode
from modelparity.serving.predictor import Predictor, load
from modelparity.serving.results import Tampering

SUFFIX = ".png"


def show(artifact: Path, image: Path, *, mask: Path | None, against: Path | None, output: Path) -> None:
    """Writes `output` and prints what is on it."""
    if output.suffix.lower() != SUFFIX:
        raise BadInputError(f"{output}: a picture is written as {SUFFIX}")
    if mask and against:
        raise BadInputError(
            "--mask shows one file beside the truth, --against two beside each other; give one"
        )
    output = arguments.checked_output(output.absolute(), artifact, image, mask, against)
    pixels = decode(image)
    truth = read_mask(mask, (pixels.shape[0], pixels.shape[1])) if mask else None
    from modelparity.pictures import compose

    with ExitStack() as stack, terminal.progress(f"running {artifact.name}"):
        predictors = [stack.enter_context(load(path)) for path in (against, artifact) if path]
        results = [predictor.predict(pixels) for predictor in predictors]
        cards = [predictor.card for predictor in predictors]
        where = f"{cards[-1].input_size[0]} × {cards[-1].input_size[1]}"
        if mask and not (isinstance(results[0], Tampering) and results[0].mask is not None):
            raise BadInputError(f"--mask: {artifact} has no mask to hold against it")
        if against:
            if type(results[0]) is not type(results[1]):
                raise BadInputError(f"{artifact} is {cards[1].model}, but {against} is {cards[0].model}")
            names = _names(predictors)
            title = f"{cards[1].title}, {where}: {image.name}"
            figure = compose.compared(title, pixels, (results[0], results[1]), names)
        else:
            title = f"{cards[0].title}, {cards[0].format} {cards[0].quantization}, {where}: {image.name}"
            figure = compose.shown(title, pixels, results[0], truth)
        data = compose.as_png(figure)
    with written(output) as file:
        file.write(data)
    terminal.say(f"wrote {output}")
    if not all(card.trained for card in cards):
        terminal.warn("the weights are untrained, so the answer says nothing about the photograph")


def _names(predictors: list[Predictor]) -> tuple[str, str]:
    """Format and quantization of each, and the input size if it differs."""
    cards = [predictor.card for predictor in predictors]
    words = [f"{card.format} {card.quantization}" for card in cards]
    if cards[0].input_size != cards[1].input_size:
        words = [f"{text}, {card.input_size[0]} px" for text, card in zip(words, cards, strict=True)]
    return words[0], words[1]
