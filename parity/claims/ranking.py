"""Makes the claims on rankings of patches: which are pooled into the score, and their order.

Two patches take part in any exchange, so the bound is that of the error in their difference: a patch leaves
the K greatest only if another, below it by its margin or more, gets at least its value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.parity.claims.margins import Decided, Decisions
from modelparity.parity.reference import Reference


def pooled_count(patches: int) -> int:
    """K: the score is the mean of the K greatest patch logits.

    Defined in `modelparity.fixtures.networks.ladeda.network.pooled`.
    """
    return max(5, math.ceil(0.1 * patches))


def top_patches(reference: Reference, name: str, observed: Sequence[Array]) -> Decisions:
    """Which patches are the K greatest; margins are distances to the boundary."""
    decided = tuple(
        chosen(name, expected, got) for expected, got in zip(reference.outputs[name], observed, strict=True)
    )
    shares = [
        1 - int((sample.flipped > 0).sum()) / 2 / pooled_count(sample.margin.size) for sample in decided
    ]
    worst = int(np.argmin(shares))
    shown = f"{shares[worst]:.4g} of the top patches are the same at worst, in {reference.names[worst]}"
    return Decisions("top_patches", name, "patches", decided, differences=True, shown=shown)


def chosen(name: str, expected: Array, got: Array) -> Decided:
    """Which patches are among the K greatest, K as in `pooled_count`; arrays are flat.

    The margin of a patch inside is its distance to the greatest value outside, that of one outside its
    distance to the least inside. A patch must be on its side however equal values are ordered: if the
    reference distinguishes two patches and the file does not, the decision has flipped.
    """
    truth, seen = expected.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    k = min(pooled_count(truth.size), truth.size - 1)
    ordered = np.sort(truth)[::-1]
    inside = truth >= ordered[k - 1]
    margin = np.where(inside, truth - ordered[k], ordered[k - 1] - truth)
    ascending = np.sort(seen)  # NaN last
    greater = seen.size - np.searchsorted(ascending, seen, side="right")
    not_less = seen.size - np.searchsorted(ascending, seen, side="left")
    same_side = np.where(inside, not_less <= k, greater >= k)
    flipped = np.where(same_side, 0.0, margin)
    flipped[~np.isfinite(seen)] = np.inf
    return Decided(margin, flipped, _words(name, expected.shape, truth, seen))


def ranking(reference: Reference, name: str, observed: Sequence[Array]) -> Decisions:
    """The order of patches; Kendall's tau is shown.

    The order among patches that are pooled in both runs is not judged (`exchanged`).
    """
    from scipy.stats import kendalltau

    pairs = list(zip(reference.outputs[name], observed, strict=True))
    decided = tuple(exchanged(name, expected, got) for expected, got in pairs)
    tau = [float(kendalltau(expected.ravel(), got.ravel()).statistic) for expected, got in pairs]
    worst = int(np.argmin(tau))  # the first NaN, if there is one
    shown = f"Kendall's tau at worst {tau[worst]:.4g} in {reference.names[worst]}, mean {np.mean(tau):.4g}"
    plural = "patches by the greatest gap above each"
    return Decisions("ranking", name, plural, decided, differences=True, shown=shown)


def exchanged(name: str, expected: Array, got: Array) -> Decided:
    """For each patch, flat, the gap to the greatest reference value that the file puts strictly below it.

    In the reference's order, the file's running minimum shows from where on a patch of greater reference
    value is below; the first such place has the widest gap. This takes n log n steps instead of n^2. `margin`
    is the widest gap possible.

    Two patches with equal values in the file are not exchanged, nor are two that are among the K greatest
    (`pooled_count`) in both runs: their mean does not depend on their order, and static int8 saturates there.
    """
    truth, seen = expected.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    sound = np.nan_to_num(seen, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    top = _greatest(truth) & _greatest(sound)
    order = np.argsort(-truth, kind="stable")
    best = truth[order]
    of_all = _first_below(sound[order], sound)
    of_others = _first_below(np.where(top, np.inf, sound)[order], sound)
    first = np.where(top, of_others, of_all)
    at = np.minimum(first, seen.size - 1)
    gap = np.where(first < seen.size, np.maximum(best[at] - truth, 0.0), 0.0)
    gap[~np.isfinite(seen)] = np.inf
    words = _words(name, expected.shape, truth, seen)

    def both(index: int) -> str:
        if not np.isfinite(seen[index]):
            return words(index)
        return f"{words(int(order[at[index]]))}, below {words(index)}"

    return Decided(best[0] - truth, gap, both)


def _first_below(values: Array, limits: Array) -> Array:
    """For each limit, the first index of `values` that is below it; their count if none is."""
    lowest = np.minimum.accumulate(values)
    return np.searchsorted(-lowest, -limits, side="right")


def _greatest(values: Array) -> Array:
    """Marks the K greatest values, and those that equal the least of them."""
    k = min(pooled_count(values.size), values.size)
    return values >= np.partition(values, values.size - k)[values.size - k]


def _words(name: str, shape: tuple[int, ...], truth: Array, seen: Array) -> Callable[[int], str]:
    def words(index: int) -> str:
        at = [int(i) for i in np.unravel_index(index, shape)]
        return f"{name}{at}: reference {truth[index]:.6g}, observed {seen[index]:.6g}"

    return words
