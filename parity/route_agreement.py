"""Compares several toolchains' outputs of one network, pair by pair, and names the outliers.

Distances are in floors, the network's own float32 error (`modelparity.parity.noise_floor`): the root mean
square of the worst image. Two right conversions are a few floors apart, as each is from float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from modelparity.fixtures.arrays import Array, Outputs
from modelparity.parity.claims.detection.matches import unlike
from modelparity.parity.metrics.errors import compare
from modelparity.parity.reference import Reference

TRUTH = "PyTorch float64"


@dataclass(frozen=True)
class Agreement:
    """How far apart several runs of one network are.

    Attributes:
        bounds: By output, the greatest distance from float64 that a right run may have.
        floors: For each pair of runs, the distance between them by output.
    """

    bounds: Mapping[str, float]
    floors: Mapping[tuple[str, str], Mapping[str, float]]

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of all runs, float64 first."""
        return tuple(dict.fromkeys(name for pair in self.floors for name in pair))

    @property
    def outliers(self) -> tuple[str, ...]:
        """Runs with an output further than its bound from float64."""
        return tuple(n for n in self.runs[1:] if not self._near(TRUTH, n, 1))

    @property
    def disagreeing(self) -> tuple[tuple[str, str], ...]:
        """Pairs of the others that are further apart than two bounds."""
        excluded = {TRUTH, *self.outliers}
        return tuple(p for p in self.floors if not excluded & {*p} and not self._near(*p, 2))

    def _near(self, first: str, second: str, bounds: int) -> bool:
        """Whether all outputs of two runs are within so many bounds of each other."""
        between = self.between(first, second)
        return all(between[name] <= bounds * bound for name, bound in self.bounds.items())

    def allowed(self, bounds: int = 1) -> str:
        """So many bounds in floors, as text; by output where the outputs' bounds differ."""
        alike = len(set(self.bounds.values())) == 1
        each = dict(list(self.bounds.items())[:1]) if alike else self.bounds
        return ", ".join(f"{'' if alike else name + ' '}{bounds * bound:g}" for name, bound in each.items())

    def distance(self, first: str, second: str) -> float:
        """Distance of two runs, in either order: the greatest of any output."""
        return max(self.between(first, second).values())

    def between(self, first: str, second: str) -> Mapping[str, float]:
        """Distances of two runs, in either order, by output."""
        return self.floors[(first, second) if (first, second) in self.floors else (second, first)]

    @property
    def holds(self) -> bool:
        return not self.outliers and not self.disagreeing

    @property
    def verdict(self) -> str:
        """One line."""
        others = [name for name in self.runs[1:] if name not in self.outliers]
        if self.outliers:
            agreeing = f", while {'; '.join(others)} agree{'' if len(others) > 1 else 's'}" if others else ""
            verb = "differs" if len(self.outliers) == 1 else "differ"
            distance = f"by more than {self.allowed()} floors"
            return f"{'; '.join(self.outliers)} {verb} from {TRUTH} {distance}{agreeing}"
        if self.disagreeing:
            pairs = "; ".join(" and ".join(pair) for pair in self.disagreeing)
            return f"{pairs} differ by more than {self.allowed(2)} floors, although each is near {TRUTH}"
        return f"All {len(others)} agree with {TRUTH} within {self.allowed()} floors, so with each other"


def agreement(reference: Reference, runs: Mapping[str, Sequence[Outputs]]) -> Agreement:
    """Compares every run with float64, and every pair of runs, over the evaluation set.

    A slow run may cover only the first images; two runs are compared on the images of both. Two runs may be
    twice as far apart as each from float64.

    Raises:
        ValueError: A run has outputs for no image, or for more than the reference.
    """
    seen = len(reference.feeds)
    if empty := [name for name, outputs in runs.items() if not 0 < len(outputs) <= seen]:
        raise ValueError(f"outputs of 1 to {seen} images, but not those of {', '.join(empty)}")
    truth = [{name: values[i] for name, values in reference.outputs.items()} for i in range(seen)]
    everyone = {TRUTH: truth, **runs}
    floors = {
        (first, second): _floors(reference, everyone[first], everyone[second])
        for first, second in combinations(everyone, 2)
    }
    return Agreement({name: float(f"{reference.allowed(name):.3g}") for name in reference.floors}, floors)


def _floors(reference: Reference, first: Sequence[Outputs], second: Sequence[Outputs]) -> dict[str, float]:
    """Distances of `second` from `first` by output; infinite if more detections differ than may by ties."""
    pairs = [reference.kind.paired(got, want) for want, got in zip(first, second, strict=False)]
    different, allowed = unlike(reference, pairs)
    if different > allowed:
        return dict.fromkeys(reference.floors, float("inf"))
    return {
        name: _worst([p.observed[name] for p in pairs], [p.expected[name] for p in pairs], name) / floor
        for name, floor in reference.floors.items()
    }


def _worst(observed: Sequence[Array], expected: Sequence[Array], name: str) -> float:
    """Root mean square of the worst image; infinite where shapes differ or a value is NaN."""
    if any(a.shape != b.shape for a, b in zip(observed, expected, strict=True)):
        return float("inf")
    worst = compare(name, observed, expected).worst_rms.rms
    return float("inf") if np.isnan(worst) else worst
