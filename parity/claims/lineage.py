"""Makes the claims on lineage: a quantized file is its float file, rounded, and nothing else.

A faulty int8 file and a coarse one may have the same SQNR; these claims distinguish them. How far rounding to
8 bits may move a number follows from the number (Jacob et al., arXiv:1712.05877; the TFLite 8-bit
quantization specification, https://www.tensorflow.org/lite/performance/quantization_spec). So there are no
budgets, only half a step, and float32's own rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from pathlib import Path

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.constants import HALF_STEP, Compared, Constant, neighbours
from modelparity.modelfiles.graph import Ranges
from modelparity.modelfiles.lineage import CHANNEL_AXIS, Lineage, Rounded, constants_of, graph_of
from modelparity.parity.claims.basic import verdict
from modelparity.parity.results import Claim

_PAIR = 128  # steps that two weights may sum to: 255 x 128 is the greatest such product of 16 bits
_NAMED = 4  # findings that a claim's detail lists

# A scale is a float32 quotient, peak / 127: within 2^-24 of itself.
WEIGHT_SCALE = 1 + 2.0**-23
# A bias scale is a float32 product of two float32 scales, each rounded once: within 3 x 2^-24.
BIAS_SCALE = 1 + 2.0**-22
# Steps that an activation's extremes may move between two runs of the float file, by the order of sums: at
# most 0.0004 over 12 files. A zero point that is one off moves both ends by a whole step.
RUN_TO_RUN = 0.02


def claims(file: Lineage, observe: Callable[[list[str]], Ranges], *, any_scale: bool = False) -> list[Claim]:
    """All lineage claims. `observe` gives the observed ranges of the float file's activations, by name."""
    lineage = [graph(file), weights(file, any_scale), *saturation(file)]
    if names := activations(file):
        lineage.append(ranges(file, observe(names)))
    return lineage


def of_third_party_file(
    file: Lineage,
    observe: Callable[[list[str]], Ranges],
    match: Callable[[], Matched],
    saturates: Callable[[], str],
) -> tuple[list[Claim], dict[str, str]]:
    """The claims that apply to a file from elsewhere, and the others with the reason why not.

    A fault affects a few places. If the graph differs, or more than half of the constants or ranges do, the
    file was made by another toolchain, recipe or calibration, and its float file is not known.
    """
    if file.differences:
        known = match()
        share = f"{known.share:.0%} of the network's matrices and kernels are in it"
        rest = f", all but {', '.join(map(short, known.unmatched[:_NAMED]))}" if known.unmatched else ""
        more = f" and {len(known.unmatched) - _NAMED} more" if len(known.unmatched) > _NAMED else ""
        differs = f"not the graph of the float file ({file.differences[0]}); {share}{rest}{more}"
        return [], {"lineage": differs, **_told("saturation", saturates())}
    sizes = {"lineage_weights": len(file.constants), "lineage_ranges": len(file.rounded)}
    words = {"lineage_weights": "another recipe", "lineage_ranges": "other calibration images"}
    asked, not_asked = [], {}
    for claim in claims(file, observe, any_scale=True):
        of = sizes.get(claim.name, 0)
        if claim.name in words and isinstance(claim.observed, int) and claim.observed > of / 2:
            not_asked[claim.name] = f"{claim.observed} of {of} are off, so it was made by {words[claim.name]}"
        elif claim.name == "saturation" and not claim.passed:
            not_asked[claim.name] = saturates()
        else:
            asked.append(claim)
    return asked, not_asked


def _told(name: str, words: str) -> dict[str, str]:
    return {name: words} if words else {}


def graph(file: Lineage) -> Claim:
    """The same operators, attributes and edges, apart from quantize and dequantize steps."""
    return _claim(
        "lineage_graph", file.differences, "the recipe changes types, never what is computed", passed=""
    )


def weights(file: Lineage, any_scale: bool = False) -> Claim:
    """Every stored number is rounded from its float number; names and channels are the float file's.

    With `any_scale`, the scale of a weight may be coarser than its channel asks: one for all channels, say.
    """
    off = [words for constant in file.constants for words in _faults(constant, any_scale)]
    counts = Counter(constant.dtype for constant in file.constants)
    listed = ", ".join(f"{count} {dtype}" for dtype, count in sorted(counts.items()))
    worst = max((c.off for c in file.constants if c.unit == "steps"), default=0.0)
    claim = _claim(
        "lineage_weights",
        off,
        "integers are within half a step, scales no coarser than their channel asks (max |w| / 127; where "
        "products are added in 16 bits, also of two neighbours' sum), float16 the nearest number, float32 "
        "the same bits",
        passed=f"{listed} constants" + (f"; integers are up to {worst:.4g} steps off" if worst else ""),
    )
    return _unless_cut_short(claim, file)


def saturation(file: Lineage) -> list[Claim]:
    """No sum of two products of an int8 weight saturates in 16 bits; no claim where kernels add in 32."""
    paired = [constant for constant in file.constants if constant.neighbours]
    if not paired:
        return []
    worst = max(paired, key=lambda constant: constant.neighbours)
    beyond = sum(constant.neighbours > _PAIR for constant in paired)
    detail = f"{short(worst.name)} has the greatest sum of two neighbours, of {len(paired)} weights"
    if beyond:
        detail += f"; {beyond} weights may saturate on x86 CPUs without VNNI"
    return [
        Claim(
            "saturation",
            verdict(not beyond),
            int(worst.neighbours),
            _PAIR,
            "x86 CPUs without VNNI add two products of uint8 and int8 in 16 bits, which hold 255 x 128; such "
            "a file is right on the machine where it is proven, and wrong on another",
            unit="steps",
            detail=detail,
            sense="<=",
        )
    ]


def activations(file: Lineage) -> list[str]:
    """Names of the activations whose observed ranges `ranges` needs."""
    return sorted({name for rounded in file.rounded for name in rounded.names})


def ranges(file: Lineage, observed: Ranges) -> Claim:
    """Ranges of rounded activations are those of the float file's activations.

    `observed` covers all calibration images, because a single image's extremes make a range.
    """
    off = [words for rounded in file.rounded for words in _misfits(rounded, observed)]
    claim = _claim(
        "lineage_ranges",
        off,
        "a calibrated range ends within half a step of the float file's extremes on the calibration images",
        passed=f"{len(file.rounded)} roundings of {len(activations(file))} activations",
    )
    return _unless_cut_short(claim, file)


def _claim(name: str, off: Sequence[str], because: str, *, passed: str) -> Claim:
    more = [f"and {len(off) - _NAMED} more"] if len(off) > _NAMED else []
    detail = "; ".join([*off[:_NAMED], *more]) or passed
    return Claim(name, verdict(not off), len(off), 0, because, unit="off", detail=detail)


def _unless_cut_short(claim: Claim, file: Lineage) -> Claim:
    if not claim.passed or not file.differences:
        return claim
    detail = f"operators behind a difference of the graphs were not compared; {claim.detail}"
    return Claim(
        claim.name, "inconclusive", claim.observed, claim.bound, claim.because, unit="off", detail=detail
    )


def _faults(constant: Compared, any_scale: bool) -> list[str]:
    """Describes what is wrong with one constant."""
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
    if constant.scale_ratio > (BIAS_SCALE if bias else WEIGHT_SCALE) and (bias or not any_scale):
        due = "input scale x weight scale" if bias else "what its channel asks"
        factor, channel = constant.scale_ratio, constant.channel
        faults.append(f"{name}, channel {channel}, has a scale {factor:.7g} times off from {due}")
    return faults


def _misfits(rounded: Rounded, observed: Ranges) -> list[str]:
    """Describes what is wrong with one rounding. Zero belongs to every range, so that padding is exact."""
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
    """The end of a long name: one format's converter makes names of hundreds of characters."""
    return name if len(name) <= 60 else f"…{name[-59:]}"


def may_saturate(path: Path) -> str:
    """How many pairs of neighbouring weights of a file may saturate, in words; "" if none can."""
    weights: dict[Constant, int] = {}
    for operator in graph_of(path).operators():
        axis, edge = CHANNEL_AXIS.get(operator.kind), next(iter(operator.inputs[1:]), None)
        if axis is not None and edge is not None and isinstance(edge.source, Constant):
            constant = edge.source
            if constant.paired and constant.dtype == "int8" and len(constant.shape) > 1:
                weights[constant] = axis
    beyond, several, pairs = 0, 0, 0
    for constant, axis in weights.items():
        sums = list(neighbours(constant.read().astype(np.float64), axis))
        found = max(int(np.count_nonzero(each > _PAIR)) for each in sums)
        beyond, several, pairs = beyond + found, several + bool(found), pairs + sums[0].size
    if not beyond:
        return ""
    return (
        f"its recipe does not rule it out: on x86 CPUs without VNNI, {beyond:,} of {pairs:,} pairs of "
        f"neighbouring weights may saturate, in {several} of {len(weights)} weights"
    )


# --- files of another toolchain ---------------------------------------------------------------

_FOLDED = 2.0**-21  # eight roundings of float32, relative


@dataclass(frozen=True)
class Matched:
    """The share of elements of the float file's matrices that are in a file, and the names of the others."""

    share: float
    constants: int
    unmatched: tuple[str, ...]


def matched(path: Path, source: Path) -> Matched:
    """Looks for each matrix and kernel of `source` in `path`, of either format, by content.

    Axes may be in another order and reshaped. float32 numbers agree to a relative 2^-21, because toolchains
    that fold a batch norm into a kernel compute it in different orders. float16 numbers are the nearest ones,
    int8 numbers within half a step. A kernel that only one of two toolchains folded a norm into does not
    match.
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
