"""Common interface to the models that are evaluated: a file, the network in PyTorch, a cell's artifact."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.recipes import FLOAT
from modelparity.fixtures.images import Pixels, preprocess
from modelparity.modelfiles.model_card import ModelCard, card_for
from modelparity.parity.cells import Cell
from modelparity.parity.session import Session
from modelparity.serving.answers import answer
from modelparity.serving.predictor import Predictor
from modelparity.serving.results import Result

Outputs = Mapping[str, NDArray[Any]]
Feed = NDArray[np.float32]


@dataclass(frozen=True)
class EvaluatedModel:
    """`run` takes feeds [1, 3, h, w] and returns outputs by name, one dictionary for each feed."""

    name: str
    card: ModelCard
    run: Callable[[Sequence[Feed]], Sequence[Outputs]]

    def prepare(self, pixels: Pixels) -> Feed:
        """The network's input [1, 3, h, w] for RGB uint8 pixels [H, W, 3]."""
        return preprocess(pixels, self.card.preprocessing, self.card.input_size)[None]

    def answer(self, outputs: Outputs, pixels: Pixels, threshold: float | None = None) -> Result:
        """The outputs as an answer about the photograph, at its size."""
        return answer(self.card, outputs, (pixels.shape[0], pixels.shape[1]), threshold=threshold)


def of_file(predictor: Predictor, path: Path) -> EvaluatedModel:
    """A file, run as its users run it."""
    return EvaluatedModel(path.name, predictor.card, lambda feeds: [predictor.run(feed) for feed in feeds])


def of_network(session: Session, model: str) -> EvaluatedModel:
    """The network in PyTorch, float32."""
    subject = session.subject(model)
    threads = os.cpu_count() or 1

    def run(feeds: Sequence[Feed]) -> Sequence[Outputs]:
        return session.bench.reference(subject, [{"image": feed} for feed in feeds], threads=threads)

    return EvaluatedModel(f"{model} in PyTorch", card_of(subject), run)


def of_artifact(session: Session, cell: Cell, path: Path) -> EvaluatedModel:
    """A cell's artifact, run in its format's worker."""
    threads = os.cpu_count() or 1

    def run(feeds: Sequence[Feed]) -> Sequence[Outputs]:
        return session.bench.run(cell.format, path, [{"image": feed} for feed in feeds], threads=threads)

    return EvaluatedModel(cell.id, card_of(session.subject(cell.model)), run)


def card_of(subject: ModelUnderTest) -> ModelCard:
    """The card of the network itself, which says what its outputs mean."""
    return card_for(
        subject.photographs,
        subject.signature,
        "pytorch",
        FLOAT,
        checkpoint=subject.weights_digest,
        versions={},
        dynamic_batch=True,
    )
