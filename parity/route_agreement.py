"""Witnesses of one network: the outputs of several toolchains, pair by pair, and who left the others.

Errors are in floors, the network's own float32 error (`modelparity.parity.reference`): the root mean square of
the worst image. Two right conversions sit a few floors apart, as each does from float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from modelparity.parity.claims.basic import unlike
from modelparity.parity.metrics.detection_matching import paired
from modelparity.parity.metrics.errors import Array, compare
from modelparity.parity.reference import Reference
from modelparity.parity.tolerances import FloatTolerance

Outputs = Mapping[str, Array]
TRUTH = "PyTorch float64"


@dataclass(frozen=True)
class Agreement:
    """`floors` maps a pair of witnesses to the distance between them by output, `bounds` is the most that
    a right one's outputs may be from float64.
    """

    bounds: Mapping[str, float]
    floors: Mapping[tuple[str, str], Mapping[str, float]]

    @property
    def witnesses(self) -> tuple[str, ...]:
        """All of them, float64 first."""
        return tuple(dict.fromkeys(name for pair in self.floors for name in pair))

    @property
    def left(self) -> tuple[str, ...]:
        """Those of which an output is further than its bound from float64."""
        return tuple(n for n in self.witnesses[1:] if not self._near(TRUTH, n, 1))

    @property
    def parted(self) -> tuple[tuple[str, str], ...]:
        """Pairs of the others that are further apart than each of two may bring them."""
        gone = {TRUTH, *self.left}
        return tuple(p for p in self.floors if not gone & {*p} and not self._near(*p, 2))

    def _near(self, first: str, second: str, bounds: int) -> bool:
        """Whether no output of one is further from the other's than so many of its bounds."""
        between = self.between(first, second)
        return all(between[name] <= bounds * bound for name, bound in self.bounds.items())

    def allowed(self, bounds: int = 1) -> str:
        """So many bounds in floors; by output where these have different ones."""
        alike = len(set(self.bounds.values())) == 1
        each = dict(list(self.bounds.items())[:1]) if alike else self.bounds
        return ", ".join(f"{'' if alike else name + ' '}{bounds * bound:g}" for name, bound in each.items())

    def distance(self, first: str, second: str) -> float:
        """Of two witnesses in either order, the greatest over the outputs."""
        return max(self.between(first, second).values())

    def between(self, first: str, second: str) -> Mapping[str, float]:
        """Of two witnesses in either order, by output."""
        return self.floors[(first, second) if (first, second) in self.floors else (second, first)]

    @property
    def holds(self) -> bool:
        return not self.left and not self.parted

    @property
    def verdict(self) -> str:
        """One line."""
        others = [name for name in self.witnesses[1:] if name not in self.left]
        if self.left:
            stayed = f", while {'; '.join(others)} agree{'' if len(others) > 1 else 's'}" if others else ""
            return f"{'; '.join(self.left)} left {TRUTH} by more than {self.allowed()} floors{stayed}"
        if self.parted:
            pairs = "; ".join(" and ".join(pair) for pair in self.parted)
            return f"{pairs} differ by more than {self.allowed(2)} floors, though each is near {TRUTH}"
        return f"All {len(others)} agree with {TRUTH} within {self.allowed()} floors, so with each other"


def agreement(
    reference: Reference, witnesses: Mapping[str, Sequence[Outputs]], tolerance: FloatTolerance
) -> Agreement:
    """Every witness against float64, then every pair of them, over the stream.

    A slow witness may have seen only its first images; two are compared where both have looked. Each is
    judged against float64 by the tolerance, and pairs by twice that.
    """
    seen = len(reference.feeds)
    if empty := [name for name, outputs in witnesses.items() if not 0 < len(outputs) <= seen]:
        raise ValueError(f"outputs of 1 to {seen} images, but not those of {', '.join(empty)}")
    truth = [{name: values[i] for name, values in reference.outputs.items()} for i in range(seen)]
    everyone = {TRUTH: truth, **witnesses}
    floors = {
        (first, second): _floors(reference, everyone[first], everyone[second], tolerance)
        for first, second in combinations(everyone, 2)
    }
    return Agreement({name: tolerance.of(name) for name in reference.floors}, floors)


def _floors(
    reference: Reference, first: Sequence[Outputs], second: Sequence[Outputs], tolerance: FloatTolerance
) -> dict[str, float]:
    """By output, `second` against `first`; infinite where more detections differ than ties explain."""
    pairs = [paired(reference.task, got, want) for want, got in zip(first, second, strict=False)]
    otherwise, allowed = unlike(reference, pairs, tolerance)
    if otherwise > allowed:
        return dict.fromkeys(reference.floors, float("inf"))
    return {
        name: _worst([p.observed[name] for p in pairs], [p.expected[name] for p in pairs], name) / floor
        for name, floor in reference.floors.items()
    }


def _worst(observed: Sequence[Array], expected: Sequence[Array], name: str) -> float:
    """Root mean square of the worst sample; infinite where shapes or numbers do not allow one."""
    if any(a.shape != b.shape for a, b in zip(observed, expected, strict=True)):
        return float("inf")
    worst = compare(name, observed, expected).worst_rms.rms
    return float("inf") if np.isnan(worst) else worst
