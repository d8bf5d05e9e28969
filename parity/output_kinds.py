"""Defines the kinds of network output: how two runs are paired, and which outputs are compared.

`NetworkSpec.task` names a kind; `OUTPUT_KINDS` has its value. What is claimed of each kind stands in
`modelparity.parity.claims.kind_claims`. The two are apart because a stored reference is kept under a hash
of the code that makes it, this module included: a changed claim must not ask for the references again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.specs import Task
from modelparity.parity.metrics.detection_matching import COMPARED, Pair, matched


@dataclass(frozen=True)
class OutputKind:
    """One kind of output.

    Attributes:
        paired: From two runs' outputs on the same images, observed and expected, their `Pair`.
        compared: From a network's output names, those that are compared number by number.
        gradient_search: Whether a search for bad inputs may follow the gradient of two runs' difference.
        rows_vary: Whether an image has as many output rows as objects, so that the published network's
            outputs for several images do not stack.
    """

    paired: Callable[[Outputs, Outputs], Pair] = Pair
    compared: Callable[[Iterable[str]], tuple[str, ...]] = tuple
    gradient_search: bool = True
    rows_vary: bool = False


# Equal places mean the same: scores, maps, bits.
ARRAYS = OutputKind()
# Rows are a set, which changes its order, so the difference of two runs has no useful gradient.
DETECTIONS = OutputKind(matched, lambda _: COMPARED, gradient_search=False, rows_vary=True)

OUTPUT_KINDS: dict[Task, OutputKind] = {
    "map": ARRAYS,
    "detection": DETECTIONS,
    "message": ARRAYS,
    "tensors": ARRAYS,
}
