"""The claim `kernels`: one file, two ways to compute it, the same outputs.

The fast kernels that users run vectorise, fuse and pack. Beside them runs, for TFLite, the runtime's
reference kernels, plain loops that share no code with them; for ONNX, the graph operator by operator as
it is written, with every quantize and dequantize step taken literally in float32: int8 rounding simulated.
Where the two part, the file means something that one of them computes wrongly, and an agreement with
PyTorch was luck.

Plain loops add one number after the other, whose error grows with their count where that of fast kernels
grows with its logarithm (Higham, Accuracy and Stability of Numerical Algorithms, 2002, chapter 4): a mean of
1,588 patches was 6 to 14 floors off in them, and the patches themselves 0.8. So there a float file is held to
the bound of images on which rounding errors line up, not to the stream's, to which its fast kernels are.

A cell that makes no such claim says why (`skipped`); nothing is green on its account.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modelparity.converters.converter import PlainKernels
from modelparity.converters.engine.workbench import Workbench
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.converters.recipes import JUDGED
from modelparity.fixtures.arrays import Array, Outputs
from modelparity.parity.cells import RUN_THREADS, Cell
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.claims.metamorphic import NOT_KNOWN
from modelparity.parity.metrics.detection_matching import Pair
from modelparity.parity.metrics.errors import difference
from modelparity.parity.reference import GENERATED, Reference
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

REFERENCE = "reference"  # what runners call them
IMAGES = 1  # of the stream: every operator runs in any image, and plain loops are slow


_WIDENED = "{} weights are widened before any operator runs: the kernels are those of the float32 file"
# Networks for which slow plain kernels take too long: such kernels reach some 2 to 4 GFLOP/s on a core,
# 40 times less than the fast ones. The first value says whether that holds for the float file alone.
_SKIPPED: dict[str, tuple[bool, str]] = {
    "objectformer_detection": (
        True,
        "9.6 s an image on a core; all its operators are in objectformer, whose file runs them",
    ),
    "ladeda": (
        False,
        "42 GFLOP, more than 10 s an image on a core; tiny_ladeda runs the same kinds of operators",
    ),
    "chunkyseal": (False, "39 GFLOP, more than 10 s an image on a core"),
}


def asked(
    bench: Workbench,
    cell: Cell,
    path: Path,
    exact: Reference,
    *,
    right: RoundedReference | None,
    outputs: Sequence[Outputs],
    elsewhere: bool,
    known: bool = True,
) -> tuple[list[Claim], dict[str, str]]:
    """The claims on a file, or the reason why they are not asked, by their name.

    Args:
        exact: The network in float64.
        right: What a right file computes; None if that is not known.
        outputs: The file's over the evaluation set, which may have been made `elsewhere`.
        known: The model is one of this project; another network may bear the same name.
    """
    kind = bench.converters[cell.format].plain_kernels
    if kind is None:
        return [], {}
    if elsewhere:
        return [], {"kernels": "outputs do not tell what other kernels of the same runtime give"}
    if reason := skipped(cell, kind, known):
        return [], {"kernels": reason}
    if right is None:
        return [], {"kernels": NOT_KNOWN}
    reference = right.reference
    plain = plain_outputs(bench, cell.format, path, reference.feeds[:IMAGES])
    if isinstance(plain, str):
        return [], {"kernels": plain}
    if reference.rounded:
        return agree_rounded(reference, exact, outputs, plain), {}
    return agree(reference, outputs, plain, loops=kind.sequential), {}


def skipped(cell: Cell, plain: PlainKernels, known: bool = True) -> str:
    """Why a cell makes no such claim; empty if it makes one."""
    recipe = JUDGED[cell.quantization]
    if not recipe.is_float and not recipe.rounds_activations:
        return _WIDENED.format(recipe.weights)
    float_alone, reason = _SKIPPED.get(cell.model if known else "", (False, ""))
    return reason if plain.slow and (recipe.is_float or not float_alone) else ""


def plain_outputs(
    bench: Workbench, format: str, path: Path, feeds: Sequence[Mapping[str, Array]]
) -> list[Outputs] | str:
    """A file's outputs on plain kernels, or why there are none: the runtime has none for an operator.

    Raises:
        WorkerFailedError: the file fails on them for another reason.
    """
    try:
        return bench.run(format, path, feeds, threads=RUN_THREADS, kernels=REFERENCE)
    except WorkerFailedError as error:
        plain = bench.converters[format].plain_kernels
        found = re.search(plain.lacks, str(error)) if plain is not None and plain.lacks else None
        if found is None:
            raise
        return f"the runtime has no plain kernel of {found[1]}"


def agree(
    reference: Reference, fast: Sequence[Outputs], plain: Sequence[Outputs], *, loops: bool
) -> list[Claim]:
    """One claim an output of a float file, over the first `len(plain)` images of the stream.

    `loops` says that the plain kernels add one number after the other.
    """
    because = (
        "plain loops add one number after the other: rounding errors line up instead of averaging out"
        if loops
        else "an optimised and a plain run, both right, differ by no more than either may from the reference"
    )
    return [
        _agree(
            name,
            reference,
            _paired(reference, fast, plain),
            floor=reference.floors[name],
            bound=GENERATED if loops else reference.allowed(name),
            unit="floors",
            because=because,
        )
        for name in reference.floors
    ]


def agree_rounded(
    right: Reference, exact: Reference, fast: Sequence[Outputs], plain: Sequence[Outputs]
) -> list[Claim]:
    """One claim an output of a file that rounds activations, as `agree`.

    `right` is the simulated rounding and `exact` float64. Plain kernels round otherwise than fast ones, each
    in a way that the format allows. So the two are as far apart as two independent roundings, whose size is
    the file's own error: `simulated` has proven that this is the rounding's and nothing else.
    """
    return [
        _agree(
            name,
            right,
            _paired(right, fast, plain),
            floor=max(max(right.error(pair, name) for pair in exact.paired(fast)), right.floors[name]),
            bound=right.allowed(name),
            unit="errors",
            because="the two round differently, and neither way may cost more than the rounding itself",
        )
        for name in right.floors
    ]


def _paired(reference: Reference, fast: Sequence[Outputs], plain: Sequence[Outputs]) -> list[Pair]:
    return [reference.kind.paired(got, other) for got, other in zip(fast, plain, strict=False)]


def _agree(
    name: str,
    reference: Reference,
    pairs: Sequence[Pair],
    *,
    floor: float,
    bound: float,
    unit: str,
    because: str,
) -> Claim:
    worst = max((reference.error(pair, name) for pair in pairs), key=_nan_last, default=0.0)
    greatest = max(
        (difference(p.observed[name], p.expected[name]).max_abs for p in pairs if not p.nothing),
        key=_nan_last,
        default=0.0,
    )
    ratio = worst / floor
    return Claim(
        "kernels",
        verdict(ratio <= bound),
        number(ratio),
        number(bound, 3),
        because,
        output=name,
        unit=unit,
        detail=f"over {len(pairs)} of the stream's images; greatest difference {greatest:.3g}",
        sense="<=",
    )


def _nan_last(value: float) -> float:
    return np.inf if np.isnan(value) else value
