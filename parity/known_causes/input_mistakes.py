"""Mistakes in what a file takes: BGR for RGB, other ranges of pixels, inputs exchanged, height for width.

Each is tried by running the file on inputs that are changed accordingly: if its outputs are then right, by
the bound of the claim that it failed, this is what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from modelparity.fixtures.arrays import Array, Feeds
from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

_WHITE = 255
_CHANNELS = 3  # of a picture, on axis 1
_MOST_INPUTS = 4
Change = Callable[[Array], Array]


@dataclass(frozen=True)
class OtherInput:
    """What a file may take instead of the network's input.

    Attributes:
        words: What it takes.
        fed: Makes of the network's feed the file's.
    """

    words: str
    fed: Callable[[Feeds], dict[str, Array]]


def other_inputs(feeds: Sequence[Feeds], preprocessing: Preprocessing | None) -> Iterator[OtherInput]:
    """Those that are tried, the simplest first; `preprocessing` is that of pictures, if there are any."""
    feed = feeds[0]
    pictures = [name for name, value in feed.items() if _is_picture(value)]
    floats = [name for name, value in feed.items() if value.dtype.kind == "f"]
    known = preprocessing if pictures else None
    for words, change in _of_pictures(known) if known else ():
        yield OtherInput(f"the file takes {words}", _changing(pictures, change))
    for words, change in () if known or not floats else _scales():
        yield OtherInput(f"the file takes {words}", _changing(floats, change))
    yield from _exchanged(feed)


def _is_picture(value: Array) -> bool:
    return value.ndim == 4 and value.shape[1] == _CHANNELS and value.dtype.kind == "f"


def _changing(names: Sequence[str], change: Change) -> Callable[[Feeds], dict[str, Array]]:
    def fed(feed: Feeds) -> dict[str, Array]:
        changed = {name: change(feed[name].astype(np.float64)).astype(feed[name].dtype) for name in names}
        return {name: np.ascontiguousarray(changed.get(name, value)) for name, value in feed.items()}

    return fed


def _scales() -> Iterator[tuple[str, Change]]:
    yield "its input 255 times as large", lambda x: x * _WHITE
    yield "its input 255 times as small", lambda x: x / _WHITE
    yield "its input negated", np.negative


def _of_pictures(preprocessing: Preprocessing) -> Iterator[tuple[str, Change]]:
    """Orders of channels, ranges of pixels, and both."""
    ranges = dict(_ranges(preprocessing))
    yield "BGR pictures, not RGB", _bgr
    yield from ranges.items()
    for words, change in ranges.items():
        yield f"BGR pictures and {words}", lambda x, change=change: _bgr(change(x))  # type: ignore[misc]
    yield "pictures with height and width exchanged", lambda x: x.swapaxes(2, 3)


def _bgr(x: Array) -> Array:
    return x[:, ::-1]


def _ranges(preprocessing: Preprocessing) -> Iterator[tuple[str, Change]]:
    mean, std = _columns(preprocessing.mean), _columns(preprocessing.std)
    itself = ", and normalises them itself" if preprocessing.normalises else ""
    if preprocessing.normalises:
        yield f"pixels of 0..1{itself}", lambda x: x * std + mean
    yield f"pixels of 0..{_WHITE}{itself}", lambda x: (x * std + mean) * _WHITE
    yield "pixels of -1..1", lambda x: (x * std + mean) * 2 - 1
    usual, spread = _columns(IMAGENET_MEAN), _columns(IMAGENET_STD)
    if (preprocessing.mean, preprocessing.std) != (IMAGENET_MEAN, IMAGENET_STD):
        words = "pixels normalised by the mean and deviation of ImageNet"
        yield words, lambda x: (x * std + mean - usual) / spread


def _columns(values: tuple[float, ...]) -> Array:
    return np.array(values).reshape(1, -1, 1, 1)


def _exchanged(feed: Feeds) -> Iterator[OtherInput]:
    """Inputs of one shape and type under each other's names."""
    names = tuple(feed)
    if not 1 < len(names) <= _MOST_INPUTS:
        return
    kinds = {name: (value.shape, value.dtype) for name, value in feed.items()}
    for order in permutations(names):
        taken = dict(zip(names, order, strict=True))
        moved = [name for name in names if taken[name] != name]
        if moved and all(kinds[name] == kinds[taken[name]] for name in moved):
            words = f"the file has its inputs {' and '.join(moved)} exchanged"
            yield OtherInput(words, _renaming(taken))


def _renaming(taken: Mapping[str, str]) -> Callable[[Feeds], dict[str, Array]]:
    return lambda feed: {name: feed[taken[name]] for name in taken}
