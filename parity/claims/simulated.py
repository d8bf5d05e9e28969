"""Makes the claims `simulated` and `network_weights`: a quantized file is the network with its own rounding.

The simulation (`modelparity.parity.simulation.network`) is what right kernels compute from the file. It
distinguishes a wrong conversion from int8 that is too coarse: a coarse file is far from float64 and near the
simulation, a wrong one is far from both. The bound is measured on the simulation itself
(`modelparity.parity.rounded_reference`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from modelparity.parity.claims.basic import float_parity, number, verdict
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import decibels
from modelparity.parity.reference import ROUNDED, Reference
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

_NEIGHBOUR = 1.0  # step
_SEVERAL = 3  # layers, of which one that is off is not most


def agree(reference: Reference, pairs: Sequence[Pair]) -> list[Claim]:
    """One claim for each output: on its worst image, or on all together where an image has few values."""
    return [
        (_together if reference.few(name) else _worst)(name, reference, pairs) for name in reference.floors
    ]


def weights(right: RoundedReference, third_party: bool) -> tuple[Claim | None, str]:
    """Each layer's weights are the network's own, with its norms multiplied in, rounded to the nearest step.

    Of a file from elsewhere most of whose layers are off, the claim is left out, with the reason, if no
    number is off by more than a step: it was rounded to the other neighbour. Otherwise another recipe cannot
    be told from weights of another network, and the claim is not decided. Of fewer than three layers, one
    that is off is a fault.
    """
    wrong = right.wrong
    status = verdict(not wrong)
    if third_party and 2 * len(wrong) > right.layers:
        off = f"{len(wrong)} of {right.layers} layers are not rounded to the nearest"
        if all(steps <= _NEIGHBOUR for _, _, steps in wrong):
            return None, f"another recipe rounded the weights: {off}"
        if right.layers >= _SEVERAL:
            status = "inconclusive"
    farthest = sorted(wrong, key=lambda each: -each[2])[:3]
    named = "; ".join(
        f"{name[-60:]}: {count} off, up to {steps:.3g} steps" for name, count, steps in farthest
    )
    claim = Claim(
        "network_weights",
        status,
        len(wrong),
        0,
        "the simulation rounds to the file's own numbers, so these must be the network's: raw weights in the "
        "place of averaged ones, or a layer of another epoch, would agree with themselves",
        unit="layers",
        detail=f"of {right.layers} layers{': ' + named if named else ' all hold'}",
    )
    return claim, ""


def unrounded(right: RoundedReference) -> list[Claim]:
    """One claim for each output: without its rounding, the file's graph computes what the network does.

    None for a file that is simulated as the network.
    """
    network = right.network
    if network is None:
        return []
    because = (
        "the file's own graph is simulated, so it must be the network's: an operand that is missing, or a "
        "constant of another layer, would agree with itself"
    )
    shapes = [
        {name: (outputs[name].shape, due[index].shape) for name, due in network.outputs.items()}
        for index, outputs in enumerate(right.unrounded)
    ]
    wrong = {name: pair for each in shapes for name, pair in each.items() if pair[0] != pair[1]}
    if wrong:
        return [
            Claim("unrounded", "failed", str(list(got)), str(list(due)), because, output=name)
            for name, (got, due) in wrong.items()
        ]
    made = []
    for error in network.errors(network.paired(right.unrounded)):
        like = float_parity(network, error)
        claim = Claim("unrounded", like.status, like.observed, like.bound, because, output=like.output)
        made.append(
            replace(claim, unit=like.unit, detail=like.detail, sense=like.sense, figures=like.figures)
        )
    return made


def explained(claims: Sequence[Claim], coarsest: Callable[[], str]) -> list[Claim]:
    """The claims; a lost output of a right conversion names the layer that costs most."""
    proofs = [
        c
        for c in claims
        if c.name in ("simulated", "unrounded", "network_weights") or c.name.startswith("lineage")
    ]
    wrong = not all(c.passed for c in proofs)
    lost = [c for c in claims if c.name == "better_than_constant" and c.status == "failed"]
    if wrong or not lost:
        return list(claims)
    words = f"the conversion itself is right, but int8 is too coarse: worst {coarsest()}"
    return [replace(c, detail=f"{c.detail}; {words}") if c in lost else c for c in claims]


def not_decided(because: str) -> Claim:
    """The claim on a file whose right outputs are not known."""
    return Claim(
        "simulated",
        "inconclusive",
        "not known",
        "what a right file computes",
        ROUNDED.because,
        detail=f"whether the conversion is right is not decided: {because}",
    )


def _worst(name: str, reference: Reference, pairs: Sequence[Pair]) -> Claim:
    errors = [reference.error(pair, name) for pair in pairs]
    worst = int(np.argmax(errors))  # the first NaN, if there is one
    where = f"worst of {len(pairs)} images, {reference.names[worst]}"
    return _claim(name, reference, errors[worst], allowed=reference.allowed(name), where=where)


def _together(name: str, reference: Reference, pairs: Sequence[Pair]) -> Claim:
    compared = [pair for pair in pairs if not pair.nothing]
    squares = [pair.rms(name) ** 2 for pair in compared]
    error = float(np.sqrt(np.mean(squares))) if squares else 0.0
    allowed = reference.allowed(name, images=len(pairs))
    return _claim(name, reference, error, allowed=allowed, where=f"{len(pairs)} images together")


def _claim(name: str, reference: Reference, error: float, *, allowed: float, where: str) -> Claim:
    signal, noise = reference.spread(name) ** 2, reference.floors[name]
    near, bound = decibels(signal, error**2), decibels(signal, (allowed * noise) ** 2)
    claim = Claim(
        "simulated",
        verdict(error <= allowed * noise),
        number(near),
        number(bound),
        reference.multiples.because,
        output=name,
        unit="dB",
        detail=(
            f"{where}: {error:.3g} from the simulated rounding; {reference.noise_words} is {noise:.3g} from "
            f"it, and a right file may be {allowed * noise:.3g}"
        ),
        sense=">=",
    )
    if claim.passed and not bound > 0:
        words = (
            f"whether {name} is right is not decided: ties alone move it by as much as it varies "
            f"({bound:.1f} dB), so a wrong file would pass; trained weights would decide it"
        )
        return replace(claim, status="inconclusive", detail=f"{words}; {claim.detail}")
    return claim
