"""Defines cells: model x format x quantization, each with an id that `-k` can select."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.models import MODELS

RUN_THREADS = 1  # of a file that is proven: toolchains run in parallel, one core each


@dataclass(frozen=True)
class Cell:
    model: str
    format: str
    quantization: str

    @property
    def id(self) -> str:
        return f"{self.model}-{self.format}-{self.quantization}"


@dataclass(frozen=True)
class CheckBudget:
    """How much work a proof spends on a cell.

    Attributes:
        images: Number of images in the evaluation set.
        draws: Generated inputs.
        batches: Batch sizes that are tried; the evaluation set itself runs at 1.
        convert_again: Whether a second conversion must give the same bytes.
        replay: Whether the stored worst inputs are run.
        seed: Selects the evaluation set and the generated inputs.
        threads: Threads that the file runs on.
    """

    images: int = 12
    draws: int = 5
    batches: tuple[int, ...] = (3, 5)
    convert_again: bool = True
    replay: bool = True
    seed: int = 0
    threads: int = RUN_THREADS


def columns() -> tuple[tuple[str, str], ...]:
    """(format, quantization) of all files that can be made, in display order."""
    return tuple(
        (format, quantization)
        for format, converter in CONVERTERS.items()
        for quantization in QUANTIZATIONS
        if converter.makes(quantization)
    )


def all_cells() -> tuple[Cell, ...]:
    return tuple(Cell(model, *column) for model in MODELS for column in columns())


def select(expression: str) -> tuple[Cell, ...]:
    """The cells that a pytest `-k` expression selects.

    Raises:
        ValueError: The expression is malformed.
    """
    return matching(all_cells(), expression)


def matching(cells: Sequence[Cell], expression: str) -> tuple[Cell, ...]:
    """Those of the cells that a pytest `-k` expression selects; all of them if it is empty.

    Raises:
        ValueError: The expression is malformed.
    """
    if not expression:
        return tuple(cells)
    # pytest's own grammar, so that `gate -k` and `pytest -k` agree.
    from _pytest.mark.expression import Expression

    try:
        compiled = Expression.compile(expression)
    except SyntaxError as error:
        raise ValueError(f"-k {expression!r}: {error}") from error
    return tuple(cell for cell in cells if compiled.evaluate(_matcher(cell.id)))


def _matcher(name: str):  # type: ignore[no-untyped-def]  # its type is private to pytest
    return lambda word, **_: word.lower() in name.lower()
