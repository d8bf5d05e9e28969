"""Witnesses of one network: the outputs of several toolchains, pair by pair, and who left the others.

Errors are in floors, the network's own float32 error (`parity.reference`): the root mean square of
the worst image. Two right conversions sit a few floors apart, as each does from float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from parity.metrics import Array, compare
from parity.reference import Reference

Outputs = Mapping[str, Array]
TRUTH = "PyTorch float64"


@dataclass(frozen=True)
class Agreement:
    """`floors` maps a pair of witnesses to the distance between them by output; `left` are those that
    are further than `bound` from float64, `parted` the pairs of the others that far from each other.
    """

    bound: float
    floors: Mapping[tuple[str, str], Mapping[str, float]]
    left: tuple[str, ...]
    parted: tuple[tuple[str, str], ...]

    @property
    def holds(self) -> bool:
        return not self.left and not self.parted

    @property
    def verdict(self) -> str:
        """One line."""
        names = [name for pair in self.floors for name in pair if name != TRUTH]
        others = [name for name in dict.fromkeys(names) if name not in self.left]
        if self.left:
            stayed = f", while {', '.join(others)} agree{'' if len(others) > 1 else 's'}" if others else ""
            return f"{', '.join(self.left)} left {TRUTH} by more than {self.bound:g} floors{stayed}"
        if self.parted:
            pairs = "; ".join(" and ".join(pair) for pair in self.parted)
            return f"{pairs} differ by more than {2 * self.bound:g} floors, though each is near {TRUTH}"
        return f"{', '.join(others)} agree with {TRUTH} within {self.bound:g} floors, so with each other"


def agreement(reference: Reference, witnesses: Mapping[str, Sequence[Outputs]], bound: float) -> Agreement:
    """Every witness against float64, then every pair of them, over the whole stream.

    Each is judged against float64 by `bound`, and pairs by twice that: each of two may use it up.
    """
    truth = [
        {name: values[index] for name, values in reference.outputs.items()}
        for index in range(len(reference.feeds))
    ]
    everyone = {TRUTH: truth, **witnesses}
    floors = {
        pair: {
            name: _worst(
                [out[name] for out in everyone[pair[1]]], [out[name] for out in everyone[pair[0]]], name
            )
            / reference.floors[name]
            for name in reference.outputs
        }
        for pair in combinations(everyone, 2)
    }
    left = tuple(n for n in witnesses if not max(floors[TRUTH, n].values()) <= bound)
    parted = tuple(
        pair
        for pair, found in floors.items()
        if not {TRUTH, *left} & {*pair} and not max(found.values()) <= 2 * bound
    )
    return Agreement(bound, floors, left, parted)


def _worst(observed: Sequence[Array], expected: Sequence[Array], name: str) -> float:
    """Root mean square of the worst sample; infinite where shapes or numbers do not allow one."""
    if any(a.shape != b.shape for a, b in zip(observed, expected, strict=True)):
        return float("inf")
    worst = compare(name, observed, expected).worst_rms.rms
    return float("inf") if np.isnan(worst) else worst
