"""Claims on lineage: a quantized file is its float file, rounded, and nothing else.

A faulty file and a merely coarse one lose the same decibels; here they part. What rounding to 8 bits may
do to a number follows from the number (Jacob et al., arXiv:1712.05877; the TFLite 8-bit quantization
specification, https://www.tensorflow.org/lite/performance/quantization_spec): so there are no budgets, only
half a step, and what float32 itself rounds away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from pathlib import Path

import numpy as np

from modelparity.modelfiles.constants import Array, Compared, Constant
from modelparity.modelfiles.graph import Ranges
from modelparity.modelfiles.lineage import Lineage, Rounded, constants_of, graph_of
from modelparity.parity.claims.basic import verdict
from modelparity.parity.results import Claim

_NAMED = 4  # findings that a claim's detail spells out

HALF_STEP = 0.5
# A scale is a float32 quotient, max |w| / 127: within 2^-24 of itself.
WEIGHT_SCALE = 1 + 2.0**-23
# A bias scale is a float32 product of two float32 scales, each rounded once: within 3 x 2^-24.
BIAS_SCALE = 1 + 2.0**-22
# Steps that an activation's ends may move between two runs of the float file, which add in another order:
# 0.0004 was the most over 12 files. A zero point one off moves both ends by a whole step.
RUN_TO_RUN = 0.02


def claims(found: Lineage, observe: Callable[[list[str]], Ranges]) -> list[Claim]:
    """All of them. `observe` says between what the float file's activations of some names were seen."""
    made = [graph(found), weights(found)]
    if names := activations(found):
        made.append(ranges(found, observe(names)))
    return made


def of_third_party_file(
    found: Lineage, observe: Callable[[list[str]], Ranges], match: Callable[[], Matched]
) -> tuple[list[Claim], dict[str, str]]:
    """The claims as far as the file shows that it was made from this float file, and why not the others.

    A fault sits in a few places. Where the graph is another, or more than half of the constants or ranges
    are off, the file has another maker, recipe or calibration, and its own lineage is not known.
    """
    if found.differences:
        known = match()
        share = f"{known.share:.0%} of the network's matrices and kernels are in it by content"
        rest = f", all but {', '.join(map(short, known.unmatched[:_NAMED]))}" if known.unmatched else ""
        more = f" and {len(known.unmatched) - _NAMED} more" if len(known.unmatched) > _NAMED else ""
        return [], {
            "lineage": f"not the graph of the float file ({found.differences[0]}); {share}{rest}{more}"
        }
    made = claims(found, observe)
    sizes = {"lineage_weights": len(found.constants), "lineage_ranges": len(found.rounded)}
    words = {"lineage_weights": "another recipe", "lineage_ranges": "other calibration images"}
    kept, left = [], {}
    for claim in made:
        of = sizes.get(claim.name, 0)
        if claim.name in words and isinstance(claim.observed, int) and claim.observed > of / 2:
            left[claim.name] = f"{claim.observed} findings in {of} places, so by {words[claim.name]}"
        else:
            kept.append(claim)
    return kept, left


def graph(found: Lineage) -> Claim:
    """The same operators, attributes and edges, once quantize and dequantize steps are left out."""
    return _claim("lineage_graph", found.differences, "the recipe changes types, never what is computed", "")


def weights(found: Lineage) -> Claim:
    """Every stored number comes from its float one; names and channels are the float file's."""
    off = [words for constant in found.constants for words in _faults(constant)]
    counts = Counter(constant.dtype for constant in found.constants)
    listed = ", ".join(f"{count} {dtype}" for dtype, count in sorted(counts.items()))
    worst = max((c.off for c in found.constants if c.unit == "steps"), default=0.0)
    claim = _claim(
        "lineage_weights",
        off,
        "integers are within half a step, scales no coarser than max |w| / 127 of their channel, float16 the "
        "nearest number, float32 the same bits",
        f"{listed} constants" + (f"; integers are up to {worst:.4g} steps off" if worst else ""),
    )
    return _unless_cut_short(claim, found)


def activations(found: Lineage) -> list[str]:
    """The names that `ranges` needs to know the observed ranges of."""
    return sorted({name for rounded in found.rounded for name in rounded.names})


def ranges(found: Lineage, observed: Ranges) -> Claim:
    """Ranges of rounded activations end where the float file's do.

    `observed` are those over all calibration images: the quantizer saw all, and one image's extremes
    are what a range is made of.
    """
    off = [words for rounded in found.rounded for words in _misfits(rounded, observed)]
    claim = _claim(
        "lineage_ranges",
        off,
        "a calibrated range ends within half a step of what the float file shows on the calibration images",
        f"{len(found.rounded)} roundings of {len(activations(found))} activations",
    )
    return _unless_cut_short(claim, found)


def _claim(name: str, off: Sequence[str], because: str, passed: str) -> Claim:
    more = [f"and {len(off) - _NAMED} more"] if len(off) > _NAMED else []
    detail = "; ".join([*off[:_NAMED], *more]) or passed
    return Claim(name, verdict(not off), len(off), 0, because, unit="off", detail=detail)


def _unless_cut_short(claim: Claim, found: Lineage) -> Claim:
    if not claim.passed or not found.differences:
        return claim
    detail = f"what lies behind a difference of the graphs was not reached; {claim.detail}"
    return Claim(
        claim.name, "inconclusive", claim.observed, claim.bound, claim.because, unit="off", detail=detail
    )


def _faults(constant: Compared) -> list[str]:
    """What is wrong with one constant, in words."""
    name, at, off = short(constant.name), list(constant.at), constant.off
    if constant.note:
        return [f"{name} {constant.note}"]
    if constant.unit == "places":
        return [f"{name} at {at} is {off:g} float16 numbers from the nearest one"] if off else []
    if constant.unit == "bits":
        return [f"{name} has {off:g} other numbers than the float file, the first at {at}"] if off else []
    faults, bias = [], constant.dtype == "int32"
    if off > HALF_STEP:
        channel = at[constant.axis] if at else 0
        faults.append(f"{name}, channel {channel}, is {off:.4g} steps off at {at}, but should be within 0.5")
    if constant.coarse > (BIAS_SCALE if bias else WEIGHT_SCALE):
        due = "input scale x weight scale" if bias else "max |w| / 127"
        factor, channel = constant.coarse, constant.channel
        faults.append(f"{name}, channel {channel}, has a scale {factor:.7g} times off from {due}")
    return faults


def _misfits(rounded: Rounded, observed: Ranges) -> list[str]:
    """What is wrong with one rounding, in words. Zero belongs to every range, so that padding is exact."""
    rounding, name = rounded.rounding, " = ".join(map(short, rounded.names))
    scale, zero = rounding.scale, rounding.zero_point
    if rounding.fixed is not None:
        fixed = "but the format fixes {:g} and {}".format(*rounding.fixed)
        right = (scale, zero) == rounding.fixed
        return [] if right else [f"{name} has scale {scale:.7g} and zero point {zero}, {fixed}"]
    if unseen := [n for n in rounded.names if n not in observed]:
        return [f"{short(unseen[0])} was not observed"]
    low = min(0.0, *(observed[n][0] for n in rounded.names))
    high = max(0.0, *(observed[n][1] for n in rounded.names))
    if low == high:
        return []  # zero throughout: any scale holds it
    if not scale > 0:
        return [f"{name} has the scale {scale:g}"]
    ends = [("low", rounding.low, low), ("high", rounding.high, high)]
    return [
        f"{name} is observed from {low:.6g} to {high:.6g}, but its {end} end is {off:+.4g} steps off"
        for end, integer, value in ends
        if not abs(off := ((integer - zero) * scale - value) / scale) <= HALF_STEP + RUN_TO_RUN
    ]


def short(name: str) -> str:
    """A name's last part: one format's converter joins them to hundreds of letters."""
    return name if len(name) <= 60 else f"…{name[-59:]}"


# --- files of another toolchain ---------------------------------------------------------------

_FOLDED = 2.0**-21  # eight roundings of float32, relative


@dataclass(frozen=True)
class Matched:
    """Of the float file's matrices and kernels, the share of elements found, and the names of the rest."""

    share: float
    constants: int
    unmatched: tuple[str, ...]


def matched(path: Path, source: Path) -> Matched:
    """Looks for each matrix and kernel of `source` in `path`, of either format, by content.

    Axes may be in another order and reshaped. float32 numbers agree to 2^-21 of themselves: what both
    toolchains fold into a kernel (a batch norm) they compute in different orders. float16 numbers are the
    nearest ones, int8 numbers within half a step. What one toolchain folded and the other did not does
    not match: its content is another.
    """
    wanted = [c for c in constants_of(graph_of(source)) if _is_matrix(c)]
    by_size: dict[int, list[Constant]] = {}
    for constant in constants_of(graph_of(path)):
        if constant.dtype in ("float32", "float16", "int8", "uint8"):
            by_size.setdefault(prod(constant.shape), []).append(constant)
    missed = [c for c in wanted if not _found(c, by_size.get(prod(c.shape), []))]
    total = sum(prod(c.shape) for c in wanted)
    share = 1 - sum(prod(c.shape) for c in missed) / total if total else 0.0
    return Matched(round(share, 6), len(wanted), tuple(c.name for c in missed))


def _is_matrix(constant: Constant) -> bool:
    return constant.dtype == "float32" and sum(n > 1 for n in constant.shape) >= 2


def _found(wanted: Constant, stored: Sequence[Constant]) -> bool:
    due = wanted.read().reshape([n for n in wanted.shape if n > 1])
    turned = [due.transpose(axes) for axes in permutations(range(due.ndim))]
    sample = np.linspace(0, due.size - 1, 512).astype(np.int64)
    samples = [array[np.unravel_index(sample, array.shape)] for array in turned]
    return any(
        _near(part, constant, sample) and _near(array.reshape(-1), constant)
        for constant in stored
        for array, part in zip(turned, samples, strict=True)
    )


def _near(due: Array, constant: Constant, places: Array | None = None) -> bool:
    """Whether `constant`, in the order in which it is stored (or at places of it), is `due`, rounded."""

    def flat(array: Array) -> Array:
        array = np.broadcast_to(array, constant.shape)
        return array.reshape(-1) if places is None else array[np.unravel_index(places, array.shape)]

    values = flat(constant.read())
    if constant.scale is None:
        if values.dtype.kind != "f":
            return False
        relative, least = (_FOLDED, 0.0) if values.dtype == np.float32 else (2.0**-11 + _FOLDED, 2.0**-25)
        return bool((np.abs(values - due) <= relative * np.abs(due) + least).all())
    zero_point = 0 if constant.zero_point is None else flat(constant.zero_point).astype(np.float64)
    steps = due / flat(constant.scale).astype(np.float64) - (values.astype(np.float64) - zero_point)
    return bool((np.abs(steps) <= HALF_STEP + 127 * _FOLDED).all())
