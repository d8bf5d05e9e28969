"""Loads a released model file and runs it on photographs."""

from __future__ import annotations

import hashlib
import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelparity.converters.formats import CONVERTERS
from modelparity.converters.runner import Runner
from modelparity.fixtures.images import Pixels, decode, preprocess
from modelparity.fixtures.models import MODELS
from modelparity.modelfiles.description import BrokenModelError, NotAModelError, whole
from modelparity.modelfiles.formats import sniff
from modelparity.modelfiles.model_card import ModelCard, card_for, card_of
from modelparity.serving.answers import Outputs, answer
from modelparity.serving.results import Result

Batch = NDArray[np.float32]


class ModelFileError(ValueError):
    """The file cannot be used; the message is one line with the reason and what to do."""

    def __init__(self, words: str) -> None:
        super().__init__(" ".join(words.split()))


def load(path: Path | str, threads: int = 2, model: str | None = None) -> Predictor:
    """Opens a model file; its format is recognised by its bytes.

    `model` is the name of the model, for a file without a model card.

    Raises:
        ModelFileError: the file does not exist, is no model or is damaged, or it has no model card and no
            `model` is given.
    """
    path = Path(path)
    try:
        format = sniff(path)
        card = card_of(path)
    except (NotAModelError, BrokenModelError) as error:
        raise ModelFileError(str(error)) from error
    except OSError as error:
        raise ModelFileError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if card is None and model is None:
        known = ", ".join(MODELS)
        raise ModelFileError(
            f"{path}: has no model card, so it was not made by this project, or by an early version of it; "
            f'name the model: load(path, model="...") with one of {known}'
        )
    if card is not None and model is not None and card.model != model:
        raise ModelFileError(f"{path}: is {card.model} according to its model card, not {model}")
    try:
        runner = CONVERTERS[format].call("runner", path, threads)
    except ModuleNotFoundError:  # not the fault of the file
        raise
    except Exception as error:  # runtimes raise anything
        raise ModelFileError(f"{path}: cannot be loaded: {str(error) or type(error).__name__}") from error
    if card is None:
        assert model is not None
        try:
            card = _third_party(path, format, model, runner)
        except BaseException:
            runner.__exit__(None, None, None)
            raise
    return Predictor(replace(card, sha256=_sha256(path)), runner)


class Predictor:
    """One loaded file, for one thread at a time. A context manager; `close` unloads the file."""

    def __init__(self, card: ModelCard, runner: Runner) -> None:
        self.card = card
        self._runner: Runner | None = runner

    def prepare(self, pixels: Pixels) -> Batch:
        """Preprocesses RGB uint8 [H, W, 3] to the input of the network, float32 [1, 3, h, w]."""
        return preprocess(pixels, self.card.preprocessing, self.card.input_size)[None]

    def run(self, images: Batch) -> dict[str, NDArray[Any]]:
        """The outputs of the network by name, for images float32 [N, 3, h, w].

        A file with batch 1 is run N times.

        Raises:
            ValueError: the images have another dtype or shape, or the predictor is closed.
        """
        if self._runner is None:
            raise ValueError("the predictor is closed")
        wanted = self.card.inputs[0]
        fits = (
            images.ndim == 4
            and len(images) > 0
            and all(
                isinstance(axis, str) or axis == n
                for axis, n in zip(wanted.shape[1:], images.shape[1:], strict=True)
            )
        )
        if images.dtype != np.float32 or not fits:
            shape = ", ".join(map(str, ("batch", *wanted.shape[1:])))
            raise ValueError(
                f"images are {images.dtype} {list(images.shape)}, but should be float32 [{shape}]"
            )
        if self.card.batch is None or len(images) == self.card.batch:
            return self._runner.run({wanted.name: images})
        runs = [self._runner.run({wanted.name: images[i : i + 1]}) for i in range(len(images))]
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}

    def answer(
        self,
        outputs: Outputs,
        original_size: tuple[int, int],
        index: int = 0,
        threshold: float | None = None,
    ) -> Result:
        """The result for photograph `index` of a batch, whose height and width are `original_size`.

        `threshold` is the smallest probability (of an object, the smallest score) that counts; 0.5 by
        default.
        """
        return answer(self.card, outputs, original_size, index, threshold=threshold)

    def predict(
        self, image: Path | str | bytes | Image.Image | Pixels, threshold: float | None = None
    ) -> Result:
        """The result for one photograph: a file, its bytes, a PIL image or RGB uint8 [H, W, 3].

        Raises:
            ImageError: the image cannot be read.
        """
        times = [time.perf_counter()]
        pixels = decode(image)
        times.append(time.perf_counter())
        fed = self.prepare(pixels)
        times.append(time.perf_counter())
        outputs = self.run(fed)
        times.append(time.perf_counter())
        result = self.answer(outputs, (pixels.shape[0], pixels.shape[1]), threshold=threshold)
        times.append(time.perf_counter())
        stages = (after - before for before, after in itertools.pairwise(times))
        return replace(result, seconds=dict(zip(("decode", "prepare", "run", "answer"), stages, strict=True)))

    def close(self) -> None:
        """Unloads the file; may be called again."""
        if self._runner is not None:
            self._runner.__exit__(None, None, None)
            self._runner = None

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _third_party(path: Path, format: str, model: str, runner: Runner) -> ModelCard:
    """A card for a file without one, from the model's defaults and the inputs and outputs of the file."""
    if model not in MODELS:
        raise ModelFileError(f"model {model!r}: known are {', '.join(MODELS)}")
    spec = MODELS[model]
    inputs, outputs = runner.ports()
    wanted = [port.name for port in spec.outputs]
    if len(inputs) != 1 or not set(outputs) <= set(wanted) or not outputs:
        raise ModelFileError(
            f"{path}: inputs are {', '.join(inputs)} and outputs {', '.join(outputs)}, "
            f"but those of {model} are image and {', '.join(wanted)}"
        )
    ((name, shape),) = inputs.items()
    spec = spec.with_outputs([port for port in wanted if port in outputs])
    if model == "chunkyseal" and isinstance(width := outputs[wanted[0]][-1], int):
        spec = spec.configured({"bits": width - 1})
    sides = [axis for axis in shape[2:] if isinstance(axis, int)]
    size = (sides[0], sides[1]) if len(sides) == 2 else None
    spec = replace(spec, prepared_size=size)
    dynamic = not isinstance(shape[0], int)
    card = card_for(
        spec,
        spec.signature(size and size[0]),
        format,
        "unknown",
        checkpoint="",
        versions={},
        dynamic_batch=dynamic,
    )
    return replace(card, inputs=(replace(card.inputs[0], name=name, shape=shape),))


def _sha256(path: Path) -> str:
    """The sha256 of a file, or of a file together with its external data."""
    files = [path, *(p for p in [path.with_name(f"{path.name}.data")] if p.is_file())]
    digests = {}
    for file in files:
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
        digests[file.name] = (digest.hexdigest(), file.stat().st_size)
    return whole(digests)[0]
