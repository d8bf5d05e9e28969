"""Makes the claim `structure`: a float file has the network's operators and weights, and no others.

Outputs on photographs do not show what no photograph wakes: a branch that acts on one rare pattern, or a
weight behind a unit that is dead on all of them. `modelparity.parity.structure` compares both with other
non-linear functions, none of which is ever silent.
"""

from __future__ import annotations

import math
from pathlib import Path

from modelparity.converters.engine.workbench import PROGRAM, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerFailedError
from modelparity.parity.cells import Cell
from modelparity.parity.claims import metamorphic
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference
from modelparity.parity.structure.result import IMAGES, Structure

NAME = "structure"
_LARGE = 200_000_000  # weights
_BECAUSE = (
    "with other non-linear functions, none of which is ever silent, a file of the network's operators and "
    "weights still computes what the network does, to 8 times the network's own float32 error"
)


def asked(
    bench: Workbench, truth: ReferenceData, cell: Cell, path: Path, *, right: RoundedReference | None
) -> tuple[list[Claim], dict[str, str]]:
    """Compares a file of float arithmetic: the claim, or the reason why it is not asked, by its name.

    Args:
        right: What a right file computes; None if that is not known.
    """
    if not bench.converters[cell.format].operator_runner:
        return [], {NAME: "operators of the format's files cannot run alone"}
    if right is None:
        return [], {NAME: metamorphic.NOT_KNOWN}
    if truth.elements["elements"] > _LARGE:
        return [], {NAME: "a network of this size takes minutes, operator by operator"}
    try:
        found = compared(bench, truth, path, is_cast=bool(right.layers))
    except WorkerFailedError as error:
        found = Structure(reason=f"this file's graph cannot be followed: {error}")
    claim, reason = structure(found)
    return [claim] if claim else [], {NAME: reason} if reason else {}


def compared(bench: Workbench, truth: ReferenceData, path: Path, *, is_cast: bool) -> Structure:
    """Compares a file, whose weights are cast to float16 if `is_cast`, with the exported program."""
    # While references are computed, or another format's file is simulated, a process of its own.
    reply = bench.workers.idle("torch", "simulation", "second simulation").call(
        "modelparity.parity.structure.compare:structure",
        bench.exported(truth.subject).path(PROGRAM),
        truth.subject.spec,
        truth.subject.checkpoint,
        path,
        feeds=truth.reference.feeds[:IMAGES],
        is_cast=is_cast,
        ports=bench.ports[path],
        timeout=CONVERT_TIMEOUT_S,
    )
    found: Structure = reply.value
    return found


def structure(found: Structure) -> tuple[Claim | None, str]:
    """The claim, or the reason why it is not asked.

    It fails only if the difference is proven: once it is mended, the outputs are the network's. A toolchain
    may write a function in a way that its substitute does not follow; then the claim is not asked, and the
    reason says where.
    """
    if found.not_asked:
        return None, found.not_asked
    behind = "" if found.whole else "; behind what orders numbers, functions are as they are"
    if found.reason:
        return None, f"whether a branch or weight is hidden in the file is not known: {found.reason}"
    holds = found.ratio <= found.bound
    place = found.difference
    if holds:
        status, detail = verdict(True), f"{found.operators} operators{behind}"
    elif place is not None and place.proven:
        status, detail = verdict(False), place.words + behind
    else:
        where = place.words if place is not None else "no place was found at which it differs"
        return None, f"whether the file is the network, written otherwise, is not known: {where}{behind}"
    observed = number(found.ratio) if math.isfinite(found.ratio) else "other shapes or numbers"
    return (
        Claim(
            NAME, status, observed, number(found.bound), _BECAUSE, unit="floors", detail=detail, sense="<="
        ),
        "",
    )
