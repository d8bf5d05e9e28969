"""Finds the known mistake that explains a wrong file, in one line.

Nothing is guessed: without the mistake, the file must pass the very claim that it failed, by the same bound.
A file that no known mistake explains gets no explanation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelparity.converters.engine.workbench import Workbench
from modelparity.converters.engine.workers import (
    CONVERT_TIMEOUT_S,
    WorkerCrashedError,
    WorkerFailedError,
)
from modelparity.fixtures.arrays import Outputs
from modelparity.fixtures.programs import ProgramSpec
from modelparity.modelfiles.description import Description
from modelparity.parity.claims.metamorphic import Run, batch_of
from modelparity.parity.known_causes.input_mistakes import other_inputs
from modelparity.parity.known_causes.output_mistakes import exchanged, holds, of_single_outputs
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

_FAR = {
    "outputs",
    "float_parity",
    "simulated",
    "unrounded",
    "detections",
}  # other numbers than a right file's
_LARGE = 200_000_000  # weights of a network whose other states are not tried: each takes minutes
_TRIED_FIRST = 1  # image: what does not explain it need not run on the others


@dataclass(frozen=True)
class WrongFile:
    """A file that failed a claim.

    Attributes:
        outputs: Over the evaluation set.
        right: What a right file computes; None where that is not known.
        batch: The size of the batches that were tried; 0 for none.
        runs: It can be run on other inputs: its outputs were not recorded elsewhere.
    """

    bench: Workbench
    truth: ReferenceData
    description: Description
    run: Run
    claims: Sequence[Claim]
    outputs: Sequence[Outputs]
    right: RoundedReference | None
    batch: int = 0
    runs: bool = True

    def failed(self, *names: str) -> bool:
        return any(claim.status == "failed" and claim.name in names for claim in self.claims)


def known_cause(file: WrongFile) -> str:
    """The mistake in words; "" if no known one explains the file."""
    for explain in (_training_mode, _of_numbers, _reversed_batch):
        try:
            if words := explain(file):
                return words
        except (WorkerFailedError, WorkerCrashedError):  # of a file that runs on no other input
            continue
    return ""


def _training_mode(file: WrongFile) -> str:
    random = file.description.random
    if dropout := [name for name in random if name.startswith("Dropout")]:
        return f"Dropout is active: the file was exported in training mode ({_some(dropout)})"
    differ = file.failed("repeatable", "reloadable")
    return (
        f"two runs differ, because the file draws random numbers ({_some(random)})"
        if random and differ
        else ""
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - 1
    return names[0] + (f" and {more} more" if more else "")


def _of_numbers(file: WrongFile) -> str:
    if file.right is None or not file.failed(*_FAR):
        return ""
    reference, outputs = _compared(file.right, file.outputs)
    if words := exchanged(reference, outputs) or of_single_outputs(reference, outputs):
        return words
    reference = file.right.reference
    return _other_input(file, reference) or _other_network(file, reference)


def _compared(right: RoundedReference, outputs: Sequence[Outputs]) -> tuple[Reference, Sequence[Outputs]]:
    """What differs: the file's outputs and the right ones, or its graph without rounding and the network."""
    if right.network is not None and not holds(right.network, right.unrounded):
        return right.network, right.unrounded
    return right.reference, outputs[: len(right.reference.feeds)]


def _other_input(file: WrongFile, reference: Reference) -> str:
    spec = file.truth.subject.spec
    if not file.runs:
        return ""
    preprocessing = getattr(spec, "preprocessing", None)  # of photographs
    for other in other_inputs(reference.feeds, preprocessing):
        feeds = [other.fed(feed) for feed in reference.feeds]
        if _all_like_the_first(reference, lambda some, feeds=feeds: file.run(feeds[some])):  # type: ignore[misc]
            return other.words
    return ""


def _all_like_the_first(reference: Reference, run: Callable[[slice], Sequence[Outputs]]) -> bool:
    return all(holds(reference, run(some)) for some in (slice(_TRIED_FIRST), slice(None)))


def _other_network(file: WrongFile, reference: Reference) -> str:
    """Of a float file alone: a quantized one is compared with its own rounding of the right weights."""
    subject, bench = file.truth.subject, file.bench
    one_state = isinstance(subject.spec, ProgramSpec)  # a program holds no other weights than its own
    if one_state or reference.unrounded or file.truth.elements["elements"] > _LARGE:
        return ""
    with tempfile.TemporaryDirectory(prefix="modelparity-") as folder:
        states = bench.workers["torch"].call(
            "modelparity.parity.known_causes.network_states:other_states",
            subject.spec,
            subject.checkpoint,
            Path(folder),
            timeout=CONVERT_TIMEOUT_S,
        )
        for words, path in states.value:
            other = replace(subject, checkpoint=path or subject.checkpoint)

            def like(some: slice, other=other, path=path) -> bool:  # type: ignore[no-untyped-def]
                due = bench.reference(
                    other, reference.feeds[some], precision="float64", batch_statistics=path is None
                )
                outputs = {name: tuple(each[name] for each in due) for name in reference.outputs}
                return holds(replace(reference, outputs=outputs, spreads={}), file.outputs[some])

            if like(slice(_TRIED_FIRST)) and like(slice(None)):
                return str(words)
    return ""


def _reversed_batch(file: WrongFile) -> str:
    if not (file.batch and file.right and file.failed("batch")):
        return ""
    reference = file.right.reference
    (together,) = file.run([batch_of(reference, file.batch)])
    singles = file.outputs[: file.batch]
    names = tuple(reference.outputs)
    images = [{name: together[name][place : place + 1] for name in names} for place in range(file.batch)]
    first = replace(
        reference.first(file.batch), outputs={n: tuple(each[n] for each in singles) for n in names}
    )
    return "a batch comes out in reversed order" if holds(first, images) else ""
