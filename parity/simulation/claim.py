"""The claim `simulated`: a quantized file computes what its rounding makes of the network, and nothing else.

The network in PyTorch, rounding where the file rounds and to the file's own numbers, is what right kernels
would make of the file. Beside it, "the conversion is wrong" and "int8 is coarse" are two answers: a coarse
file is far from float64 and near to the simulation, a wrong one is far from both.

How near is measured, too. A number on the edge between two steps falls to either side by the last place of
float32, and through many layers such ties grow to the size of rounding itself; no right file can be asked
for more. The simulation has a twin, in which far more numbers fall to the other side than between two right
implementations (`modelparity.parity.simulation.network`). Two draws of one error differ by chance, hence twice the distance.

How far detections are apart is told by their median row: some come from another proposal, and these few make
all of a root mean square. On 24 images of each of Faster R-CNN's int8 files, a right file's rms was up to 5.6
dB farther from the simulation than its twin's, of 6 that are allowed, and its median row's distance 1.8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelparity.parity.cells import Cell
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.metrics.detection_matching import Pair, distance, paired
from modelparity.parity.metrics.errors import Array, decibels
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.simulation.layers import Simulated

Outputs = Mapping[str, Array]
IMAGES = 1  # of the stream: every layer rounds in any image
TWINS = 2.0
FLOORS = 8.0  # of float32, where no number lies at an edge
# Fewer numbers than these are near or far by chance: the rms of 30 is within a third of what it estimates,
# in two of three draws within an eighth.
LEAST = 30
_LARGE = 200_000_000  # weights, whose float64 copies are 1.6 GB

_FLOAT16 = (
    "float16 weights round no activation: each is proven its float weight's cast, and kernels are float32's"
)
_FEW = "one number an image is near or far by chance, where ties grow to the size of rounding"
_BECAUSE = (
    "a right file is no farther from the simulated rounding than twice what the simulation is from itself "
    "with 64 times as many ties fallen to the other side"
)


def skipped(cell: Cell, weights: int) -> str:
    """Why a cell makes no such claim; empty if it makes one."""
    if cell.quantization == "fp16":
        return _FLOAT16
    return (
        f"{weights / 1e6:.0f} M weights; the reduced network has the same layers" if weights > _LARGE else ""
    )


def agree(reference: Reference, outputs: Sequence[Outputs], found: Simulated) -> tuple[list[Claim], str]:
    """One claim an output of enough numbers, over the first images of the stream; or why there is none."""
    if not found.layers:
        return [], "no layer of rounded weights is recognised in the file"
    if found.unmatched:
        named = _some(found.unmatched)
        return [], f"of {found.layers} rounded layers, the network has none like {named}"
    if found.elsewhere:
        count, named = len(found.elsewhere), _some(found.elsewhere)
        return [], f"{count} activations are rounded that no layer of rounded weights reads or gives: {named}"
    pairs = [paired(reference.task, got, due) for got, due in zip(outputs, found.outputs, strict=False)]
    twins = [paired(reference.task, *both) for both in zip(found.twin, found.outputs, strict=True)]
    enough = [name for name in reference.floors if _numbers(pairs, name) >= LEAST]
    return [_agree(name, reference, pairs, twins) for name in enough], "" if enough else _FEW


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[-60:] for name in names[:3]) + more


def undecided(because: str) -> Claim:
    return Claim("simulated", "inconclusive", "not simulated", "simulated", _BECAUSE, detail=because)


def _agree(name: str, reference: Reference, pairs: Sequence[Pair], twins: Sequence[Pair]) -> Claim:
    signal = reference.spread(name) ** 2
    (kind, apart), (_, twin) = distance(pairs, name), distance(twins, name)
    allowed = max(TWINS * twin, FLOORS * reference.floors[name])
    near, bound = decibels(signal, apart**2), decibels(signal, allowed**2)
    detail = (
        f"over {len(pairs)} of the stream's images: {kind} {apart:.3g} from the simulated rounding, "
        f"whose twin is {twin:.3g} from it"
    )
    return Claim(
        "simulated",
        verdict(apart <= allowed),
        number(near),
        number(bound),
        _BECAUSE,
        output=name,
        unit="dB",
        detail=detail,
        sense=">=",
    )


def _numbers(pairs: Sequence[Pair], name: str) -> int:
    return sum(pair.expected[name].size for pair in pairs)


_BUDGETS = ("sqnr", "worst_sqnr", "detections")


def coarse(claims: Sequence[Claim]) -> bool:
    """Whether a budget is missed although all that tells a wrong conversion from a coarse one holds."""
    return missed(claims) and not _wrong(claims) and any(c.name == "simulated" for c in claims)


def missed(claims: Sequence[Claim]) -> bool:
    return any(claim.name in _BUDGETS and claim.status == "failed" for claim in claims)


def _wrong(claims: Sequence[Claim]) -> list[Claim]:
    named = [c for c in claims if c.name == "simulated" or c.name.startswith("lineage")]
    return [claim for claim in named if claim.status == "failed"]


def answer(claims: Sequence[Claim], coarsest: str = "") -> str:
    """What a missed budget means: the conversion is wrong, or int8 is coarse. Empty if that is not known."""
    nearest = min((c for c in claims if c.name == "simulated"), key=_margin, default=None)
    if wrong := _wrong(claims):
        found = next((c for c in wrong if c.name == "simulated"), None)
        if found is None:
            return f"the conversion is wrong: {wrong[0].name} does not hold"
        return (
            f"the conversion is wrong: {found.output} {_words(found)} against the simulated rounding, "
            f"but should be >= {found.bound} dB"
        )
    if nearest is None:
        return ""
    where = f", coarsest {coarsest}" if coarsest else ""
    return (
        f"the conversion itself is right: {nearest.output} {_words(nearest)} against the simulated rounding; "
        f"int8 is too coarse{where}"
    )


def _margin(claim: Claim) -> float:
    observed, bound = float(claim.observed or 0), float(claim.bound or 0)
    return observed - bound


def _words(claim: Claim) -> str:
    return f"{claim.observed} dB"


def told(claims: list[Claim], coarsest: str = "") -> None:
    """Adds the answer to the claims on budgets that are missed."""
    words = answer(claims, coarsest)
    for place, claim in enumerate(claims):
        if words and claim.name in _BUDGETS and claim.status == "failed":
            claims[place] = replace(claim, detail=f"{claim.detail}; {words}")
