"""Matches tensors of a file with tensors of the network by their values, in any arrangement.

Runtimes transpose ([N, C, H, W] to [N, H, W, C]), merge and split axes. So candidates are selected by numbers
that no arrangement changes (size, rms, least, greatest). An arrangement is a permutation of the network's
axes that gives the values the file's order; it is checked on a few hundred of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, permutations
from math import prod
from operator import mul

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.activations import FileTensor, Folder, summary

_SAMPLES = 512
_ALIKE = 0.02  # relative difference of rms and span, below which a tensor is a candidate
_MOST_AXES = 6
_FEW = 8


@dataclass(frozen=True)
class Match:
    """A file's tensor and the arrangement: its numbers are the network's with axes in `order`.

    `order` counts axes longer than 1. `error` is the rms difference relative to the network's rms,
    on a sample; `correlation` is Pearson's, or of a few numbers how near they are, 1 the same.
    """

    index: int
    order: tuple[int, ...]
    error: float
    correlation: float


def axes_of(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def as_network(values: Array, shape: Sequence[int], order: Sequence[int]) -> Array:
    """A file's values in the network's arrangement."""
    axes = axes_of(shape)
    turned = values.reshape([axes[i] for i in order])
    return turned.transpose(np.argsort(order)).reshape(shape)


def as_file(values: Array, shape: Sequence[int], order: Sequence[int]) -> Array:
    """The network's values in the file's arrangement and `shape`."""
    return values.reshape(axes_of(values.shape)).transpose(order).reshape(shape)


class Pool:
    """A file's tensors; each matches at most one tensor of the network."""

    def __init__(self, tensors: Sequence[FileTensor], folder: Folder) -> None:
        self.folder = folder
        self.tensors = {tensor.index: tensor for tensor in tensors}
        self._sizes: dict[int, list[FileTensor]] = {}
        for tensor in tensors:
            if tensor.operator:
                self._sizes.setdefault(prod(tensor.shape), []).append(tensor)
        self.claimed: set[int] = set()

    def origin(self, index: int) -> int:
        """The tensor that this one rearranges, possibly by way of others."""
        while (origin := self.tensors[index].origin) != index:
            index = origin
        return index

    def claim(self, index: int) -> None:
        self.claimed.add(self.origin(index))

    def nearest(self, values: Array) -> Match | None:
        """The unclaimed tensor with the same values, apart from rounding or small faults; else None."""
        rms, low, high = summary(values)
        span = max(high - low, abs(rms)) * _ALIKE
        alike = [
            tensor
            for tensor in self._free(values.size)
            if abs(tensor.rms - rms) <= rms * _ALIKE
            and abs(tensor.low - low) <= span
            and abs(tensor.high - high) <= span
        ]
        matches = [match for tensor in alike if (match := self._arranged(values, tensor)) is not None]
        return min(matches, key=lambda match: match.error, default=None)

    def resembling(self, values: Array, most: int = 4) -> list[Match]:
        """The unclaimed tensors of this size with the greatest correlation, best first."""
        matches = [
            match
            for tensor in self._free(values.size)
            if (match := self._arranged(values, tensor)) is not None and match.correlation > 0
        ]
        return sorted(matches, key=lambda match: -match.correlation)[:most]

    def to(self, values: Array, index: int) -> Match | None:
        """The arrangement of a given tensor, whatever its values; None if there is none."""
        return self._arranged(values, self.tensors[index])

    def _free(self, size: int) -> list[FileTensor]:
        return [t for t in self._sizes.get(size, ()) if self.origin(t.index) not in self.claimed]

    def _arranged(self, values: Array, tensor: FileTensor) -> Match | None:
        """The best arrangement; None if none is possible."""
        axes = axes_of(values.shape)
        if len(axes) > _MOST_AXES:
            return None
        flat = self.folder.read(tensor.index).reshape(-1)
        if values.size <= _SAMPLES:
            chosen = np.arange(values.size)
        else:
            chosen = np.random.default_rng(0).integers(0, values.size, _SAMPLES)
        places = np.unravel_index(chosen, axes) if axes else ()
        ours = np.asarray(values.reshape(-1)[chosen], np.float64)
        scale = float(np.sqrt(np.mean(ours**2))) or 1.0
        best: Match | None = None
        for order in permutations(range(len(axes))):
            turned = [axes[i] for i in order]
            if not _regroups(turned, axes_of(tensor.shape)):
                continue
            at = np.ravel_multi_index([places[i] for i in order], turned) if axes else chosen
            theirs = np.asarray(flat[at], np.float64)
            error = float(np.sqrt(np.mean((theirs - ours) ** 2))) / scale
            if best is None or error < best.error:
                # The correlation of a few values means nothing.
                alike = _correlation(ours, theirs) if len(ours) >= _FEW else 1 / (1 + error)
                best = Match(tensor.index, order, error, alike)
        return best


def _regroups(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether merging or splitting axes of one gives those of the other."""
    ends, others = set(accumulate(one, mul)), set(accumulate(other, mul))
    return ends <= others or others <= ends


def _correlation(one: Array, other: Array) -> float:
    one, other = one - one.mean(), other - other.mean()
    product = float(np.sqrt(np.dot(one, one) * np.dot(other, other)))
    return float(np.dot(one, other)) / product if product > 0 else 0.0
