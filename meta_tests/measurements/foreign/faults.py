"""Plants a fault in a file of another tool: the first of a few that applies and that moves an output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerCrashedError, WorkerFailedError
from modelparity.fixtures.arrays import Outputs
from modelparity.modelfiles.description import Description
from modelparity.parity.mutation.catalogue import FAULTS
from modelparity.parity.session import Session

_FLOAT = (("weight_row_scaled", 1.02), ("bias_dropped", None), ("channels_swapped", None), ("epsilon", None))
_HALF = (
    ("half_place", None),
    ("channels_swapped", None),
    ("bias_dropped", None),
    ("activation_dropped", None),
)
_INTEGERS = (
    ("weight_scale", 1.02),
    ("channels_swapped", None),
    ("activation_read_otherwise", 1.02),
    ("int8_step", None),
    ("bias_dropped", None),
    ("activation_dropped", None),
)
# For a file in which none of these finds a weight.
_ANY = (("wrong_mean", None), ("bgr_for_rgb", None), ("output_renamed", None))


def planted(session: Session, network: str, description: Description, path: Path, target: Path) -> str:
    """Writes `path` with a fault to `target`; the fault's name and place, or "" if none applies."""
    by_name = {"fp32": _FLOAT, "fp16": _HALF}
    truth = session.truth(network)
    feeds = truth.reference.feeds[:2]
    right = session.bench.run(description.format, path, feeds)
    for name, strength in (*by_name.get(description.quantization, _INTEGERS), *_ANY):
        fault = FAULTS[name]
        options = dict(fault.options(truth)) | ({} if strength is None else {"strength": strength})
        try:
            reply = session.workers[description.format].call(
                "modelparity.modelfiles.mutations.plant:plant",
                description.format,
                path,
                target,
                fault.plant,
                options=options,
                timeout=CONVERT_TIMEOUT_S,
            )
            moved = _moved(right, session.bench.run(description.format, target, feeds))
        except WorkerFailedError:
            continue  # it does not apply
        except WorkerCrashedError:
            moved = True
        if moved:
            return f"{name}: {reply.value.where}"
    return ""


def _moved(one: Sequence[Outputs], other: Sequence[Outputs]) -> bool:
    """Whether an output differs by more than the order of sums makes."""
    for before, after in zip(one, other, strict=True):
        if before.keys() != after.keys():
            return True
        for name, value in before.items():
            if value.shape != after[name].shape:
                return True
            apart = np.abs(value.astype(np.float64) - after[name])
            if not apart.max(initial=0.0) <= 1e-5 * np.abs(value).max(initial=0.0):
                return True
    return False
