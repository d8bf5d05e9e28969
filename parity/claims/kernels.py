"""The claim `kernels`: one file, two ways to compute it, the same outputs.

The fast kernels that users run vectorise, fuse and pack. Beside them runs, for TFLite, the runtime's
reference kernels, plain loops that share no code with them; for ONNX, the graph operator by operator as
it is written, with every quantize and dequantize step taken literally in float32: int8 rounding simulated.
Where the two part, the file means something that one of them computes wrongly, and an agreement with
PyTorch was luck.

Plain loops add one number after the other, whose error grows with their count where that of fast kernels
grows with its logarithm (Higham, Accuracy and Stability of Numerical Algorithms, 2002, chapter 4): a mean of
1,588 patches was 6 to 14 floors off in them, and the patches themselves 0.8. So there a float file is held to
the bound of images on which rounding errors line up, not to the stream's, to which its fast kernels are. Int8
detections are held to the distance of their median row
(`modelparity.parity.metrics.detection_matching.distance`).

A cell that makes no such claim says why (`skipped`); nothing is green on its account.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelparity.converters.converter import PlainKernels
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.parity.cells import Cell
from modelparity.parity.claims.basic import number, verdict
from modelparity.parity.metrics.detection_matching import Pair, distance
from modelparity.parity.metrics.errors import decibels, difference
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim

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


def skipped(cell: Cell, plain: PlainKernels) -> str:
    """Why a cell makes no such claim; empty if it makes one."""
    recipe = QUANTIZATIONS[cell.quantization]
    if not recipe.is_float and not recipe.rounds_activations:
        return _WIDENED.format(recipe.weights)
    if reason := plain.not_asked.get(recipe.activations, ""):
        return reason
    float_alone, reason = _SKIPPED.get(cell.model, (False, ""))
    return reason if plain.slow and (recipe.is_float or not float_alone) else ""


def agree(
    reference: Reference,
    fast: Sequence[Outputs],
    plain: Sequence[Outputs],
    tolerance: FloatTolerance | QuantizedTolerance,
    *,
    loops: bool,
) -> list[Claim]:
    """One claim an output, over the first `len(plain)` images of the stream.

    `loops` says that the plain kernels add one number after the other.
    """
    pairs = [reference.kind.paired(got, other) for got, other in zip(fast, plain, strict=False)]
    return [_agree(name, reference, pairs, tolerance=tolerance, loops=loops) for name in reference.floors]


def _agree(
    name: str,
    reference: Reference,
    pairs: Sequence[Pair],
    *,
    tolerance: FloatTolerance | QuantizedTolerance,
    loops: bool,
) -> Claim:
    found = [difference(pair.observed[name], pair.expected[name]) for pair in pairs if not pair.nothing]
    greatest = max((one.max_abs for one in found), key=_nan_last, default=0.0)
    detail = f"over {len(pairs)} of the stream's images; greatest difference {greatest:.3g}"
    if isinstance(tolerance, FloatTolerance):
        worst = max((one.rms for one in found), key=_nan_last, default=0.0)
        ratio, bound = (
            worst / reference.floors[name],
            tolerance.generated_floors if loops else tolerance.floors,
        )
        return Claim(
            "kernels",
            verdict(ratio <= bound),
            number(ratio),
            bound,
            "plain loops add one number after the other: rounding errors line up instead of averaging out"
            if loops
            else "an optimised and a plain run, both right, differ by no more than either may from float64",
            output=name,
            unit="floors",
            detail=detail,
            sense="<=",
        )
    kind, apart = distance(pairs, name)
    sqnr, bound = decibels(reference.spread(name) ** 2, apart**2), tolerance.worst_sqnr_db[name]
    return Claim(
        "kernels",
        verdict(sqnr >= bound),
        number(sqnr),
        bound,
        "the two round int8 activations differently, which may cost no more than int8 itself",
        output=name,
        unit="dB",
        detail=f"{detail}, {kind} {apart:.3g}",
        sense=">=",
    )


def _nan_last(value: float) -> float:
    return np.inf if np.isnan(value) else value
