"""Whoever answers: a file, the network in PyTorch, a cell's artifact; all asked and read in one way."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelparity.converters.engine.workbench import ModelUnderTest
from modelparity.fixtures.images import Pixels, preprocess
from modelparity.modelfiles.model_card import ModelCard, card_for
from modelparity.parity.session import Session
from modelparity.serving.answers import answer
from modelparity.serving.predictor import Predictor
from modelparity.serving.results import Result

Outputs = Mapping[str, NDArray[Any]]
Feed = NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """`run` takes feeds [1, 3, h, w] and gives outputs by name, one dictionary a feed."""

    name: str
    card: ModelCard
    run: Callable[[Sequence[Feed]], Sequence[Outputs]]

    def prepare(self, pixels: Pixels) -> Feed:
        """RGB uint8 [H, W, 3] to what the network is fed."""
        return preprocess(pixels, self.card.preprocessing, self.card.input_size)[None]

    def answer(self, outputs: Outputs, pixels: Pixels, threshold: float | None = None) -> Result:
        """What the outputs say of the photograph."""
        return answer(self.card, outputs, (pixels.shape[0], pixels.shape[1]), threshold=threshold)


def of_file(predictor: Predictor, path: Path) -> Side:
    """A file, as its users run it."""
    return Side(path.name, predictor.card, lambda feeds: [predictor.run(feed) for feed in feeds])


def of_network(session: Session, model: str) -> Side:
    """The network in PyTorch, float32."""
    subject = session.subject(model)
    threads = os.cpu_count() or 1

    def run(feeds: Sequence[Feed]) -> Sequence[Outputs]:
        return session.bench.reference(subject, [{"image": feed} for feed in feeds], threads=threads)

    return Side(f"{model} in PyTorch", card_of(subject), run)


def of_artifact(session: Session, model: str, format: str, path: Path, name: str) -> Side:
    """A cell's artifact, run in its format's worker."""
    threads = os.cpu_count() or 1

    def run(feeds: Sequence[Feed]) -> Sequence[Outputs]:
        return session.bench.run(format, path, [{"image": feed} for feed in feeds], threads=threads)

    return Side(name, card_of(session.subject(model)), run)


def card_of(subject: ModelUnderTest) -> ModelCard:
    """What the network's outputs mean, whoever computes them."""
    return card_for(
        subject.spec, subject.signature, "pytorch", "fp32", subject.weights_digest, {}, dynamic_batch=True
    )
