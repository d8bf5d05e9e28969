"""Makes the claim `simulated`: a quantized file computes the network with the file's own rounding.

The simulation is the network in PyTorch, rounding where the file rounds and to the file's own numbers: what
right kernels compute from the file. It distinguishes a wrong conversion from int8 that is too coarse: a
coarse file is far from float64 and near the simulation, a wrong one is far from both.

The bound is measured, too. A value on the edge between two steps falls to either side by one ULP of float32,
and through many layers such ties grow to the size of rounding itself, so that no right file can be nearer.
The simulation runs a second time, perturbed: far more values then fall to the other side than between two
right implementations (`modelparity.parity.simulation.network`). The bound is twice the perturbed run's
distance, because two random errors of one size differ; for detections, it is that of the median row.

Some detections come from another proposal, and these few would dominate a root mean square. On 24 images of
each of Faster R-CNN's int8 files, a right file's rms was up to 5.6 dB farther from the simulation than the
perturbed run's, of 6 dB allowed, and its median row up to 1.8 dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Outputs
from modelparity.parity.cells import Cell
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.metrics.detection_matching import Pair, distance
from modelparity.parity.metrics.errors import decibels
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.simulation.layers import Simulated

IMAGES = 1  # of the evaluation set: every layer rounds in any image
PERTURBED = 2.0  # distances of the perturbed run that a right file may be off
FLOORS = 8.0  # of float32, the bound where no value lies on an edge
# The distance of fewer values is mostly chance: the rms of 30 is within a third of its expectation, in two of
# three cases within an eighth.
LEAST = 30
_LARGE = 200_000_000  # weights, whose float64 copies are 1.6 GB

_WIDENED = (
    "{} weights round no activation: `lineage_weights` proves that each is its float weight, rounded, and "
    "kernels are float32's"
)
_FEW = "the distance of one value for each image is mostly chance, because ties grow to the size of rounding"
_BECAUSE = (
    "a right file is at most twice as far from the simulated rounding as a perturbed run of the simulation, "
    "in which 64 times as many ties fall to the other side"
)


def skipped(cell: Cell, weights: int) -> str:
    """Why a cell makes no such claim; empty if it makes one."""
    recipe = QUANTIZATIONS[cell.quantization]
    if not recipe.rounds_activations:
        return _WIDENED.format(recipe.weights)
    return (
        f"{weights / 1e6:.0f} M weights; the reduced network has the same layers" if weights > _LARGE else ""
    )


def agree(reference: Reference, outputs: Sequence[Outputs], simulation: Simulated) -> tuple[list[Claim], str]:
    """One claim for each output of enough values, over the first images; or why there is none."""
    if not simulation.layers:
        return [], "no layer of rounded weights is recognised in the file"
    if simulation.unmatched:
        named = _some(simulation.unmatched)
        return [], f"of {simulation.layers} rounded layers, these match none of the network's: {named}"
    if simulation.elsewhere:
        count, named = len(simulation.elsewhere), _some(simulation.elsewhere)
        return [], f"{count} activations are rounded outside the layers of rounded weights: {named}"
    expected = simulation.outputs
    pairs = [reference.kind.paired(got, due) for got, due in zip(outputs, expected, strict=False)]
    perturbed = [
        reference.kind.paired(got, due) for got, due in zip(simulation.perturbed, expected, strict=True)
    ]
    enough = [name for name in reference.floors if _numbers(pairs, name) >= LEAST]
    return [_agree(name, reference, pairs, perturbed) for name in enough], "" if enough else _FEW


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[-60:] for name in names[:3]) + more


def inconclusive(because: str) -> Claim:
    """The claim on a file of this project that cannot be simulated."""
    return Claim("simulated", "inconclusive", "not simulated", "simulated", _BECAUSE, detail=because)


def _agree(name: str, reference: Reference, pairs: Sequence[Pair], perturbed: Sequence[Pair]) -> Claim:
    signal = reference.spread(name) ** 2
    (kind, apart), (_, perturbation) = distance(pairs, name), distance(perturbed, name)
    allowed = max(PERTURBED * perturbation, FLOORS * reference.floors[name])
    near, bound = decibels(signal, apart**2), decibels(signal, allowed**2)
    detail = (
        f"over {len(pairs)} images: {kind} {apart:.3g} from the simulated rounding; "
        f"the perturbed run is {perturbation:.3g} from it"
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


def too_coarse(claims: Sequence[Claim]) -> bool:
    """Whether a budget is missed although the conversion is right, by lineage and simulation."""
    return missed(claims) and not _wrong(claims) and any(c.name == "simulated" for c in claims)


def missed(claims: Sequence[Claim]) -> bool:
    """Whether a budget is missed."""
    return any(claim.name in _BUDGETS and claim.status == "failed" for claim in claims)


def _wrong(claims: Sequence[Claim]) -> list[Claim]:
    named = [c for c in claims if c.name == "simulated" or c.name.startswith("lineage")]
    return [claim for claim in named if claim.status == "failed"]


def answer(claims: Sequence[Claim], coarsest: str = "") -> str:
    """Why a budget is missed: the conversion is wrong, or int8 is too coarse; "" if that is not known."""
    nearest = min((c for c in claims if c.name == "simulated"), key=_margin, default=None)
    if wrong := _wrong(claims):
        failed = next((c for c in wrong if c.name == "simulated"), None)
        if failed is None:
            return f"the conversion is wrong: {wrong[0].name} does not hold"
        return (
            f"the conversion is wrong: {failed.output} {_words(failed)} against the simulated rounding, "
            f"but should be >= {failed.bound} dB"
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


def explain_missed(claims: list[Claim], coarsest: str = "") -> None:
    """Adds the answer to the claims on missed budgets; `coarsest` names the layer that costs most."""
    words = answer(claims, coarsest)
    for place, claim in enumerate(claims):
        if words and claim.name in _BUDGETS and claim.status == "failed":
            claims[place] = replace(claim, detail=f"{claim.detail}; {words}")
