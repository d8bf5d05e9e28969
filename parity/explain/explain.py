"""Finds the first layer of a file that diverges from the network, although its inputs are right.

The network runs in float64 along the file (`modelparity.parity.explain.trace_network`): after a step whose
result is in the file, it continues from the file's values. So each step is judged by the error that it adds,
in units of its own float32 floor. Steps without a tensor in the file were folded into a neighbour by the
converter (batch norm, ReLU); the next matched step includes them. If no step up to the outputs matches any
more, a layer is so wrong that its result is not recognised. Then the tensor in its place is assigned to it on
trial: if the following steps match again, it was this layer, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.workbench import Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.fixtures.arrays import Feeds
from modelparity.modelfiles.activations import FileTensor
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.parity.explain.layers import (
    BAND,
    Explanation,
    Layer,
    before_step,
    before_tensor,
    group_of,
    judged,
    origin_of,
    uncovered,
    words_of,
)
from modelparity.parity.explain.steps import Step

# SQNR of a quantized layer alone: right int8 has 26 dB and more (LaDeDa's first layer, int8 in and out), most
# layers above 35; doubled scales have 0.
LEAST_DB = 20.0
_ROUNDS = 5  # runs of the network: one for each tensor assigned on trial


@dataclass(frozen=True)
class Followed:
    """An explanation and its data; `taken` maps steps to tensors assigned to them whatever their values."""

    explanation: Explanation
    steps: tuple[Step, ...]
    tensors: tuple[FileTensor, ...]
    taken: Mapping[int, int]

    def before(self, layer: Layer) -> list[int]:
        """The matched tensors that the file computes the layer's tensor from."""
        by_index = {tensor.index: tensor for tensor in self.tensors}
        own = origin_of(layer.index, by_index)
        claimed = {origin_of(step.tensor, by_index) for step in self.steps if step.tensor >= 0} - {own}
        return sorted(before_tensor(by_index[own], by_index, claimed) - {-1})


def explain(
    bench: Workbench,
    subject: ModelUnderTest,
    format: str,
    path: Path,
    *,
    feed: Feeds,
    folder: Path,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Followed:
    """Compares a float file's layers with the network's on one image; values are stored in `folder`."""
    on_stage(f"running {path.name} for all of its tensors")
    tensors: list[FileTensor] = probed(bench, format, path, feed, folder=folder)
    taken: dict[int, int] = {}
    refused: set[tuple[int, int]] = set()
    on_stage(f"following {subject.spec.name} in float64")
    steps = followed(bench, subject, feed, folder=folder, tensors=tensors, taken=taken)
    for _ in range(_ROUNDS - 1):
        trial = next((pair for pair in _places(steps, tensors) if pair not in refused), None)
        if trial is None:
            break
        on_stage(f"trying what takes the place of {words_of(steps[trial[0]])}")
        again = followed(
            bench, subject, feed, folder=folder, tensors=tensors, taken={**taken, trial[0]: trial[1]}
        )
        if _goes_on(again, trial[0]):
            steps, taken = again, {**taken, trial[0]: trial[1]}
        else:
            refused.add(trial)
    return Followed(judged(steps, tensors), tuple(steps), tuple(tensors), taken)


def explain_quantized(
    bench: Workbench,
    subject: ModelUnderTest,
    format: str,
    path: Path,
    *,
    float_path: Path,
    feed: Feeds,
    folder: Path,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Followed:
    """Compares a quantized file's layers with float64, computed from the file's own values.

    Tensors are matched in the float file, because quantizers keep its names.
    """
    original = folder / "float"
    original.mkdir()
    on_stage(f"running {float_path.name} for all of its tensors")
    known = probed(bench, format, float_path, feed, folder=original)
    on_stage(f"following {subject.spec.name} in float64")
    names = {tensor.index: tensor.name for tensor in known}
    matched = followed(bench, subject, feed, folder=original, tensors=known, taken={})
    on_stage(f"running {path.name} for all of its tensors")
    tensors = probed(bench, format, path, feed, folder=folder)
    places = {tensor.name: tensor.index for tensor in tensors}
    taken = {
        step.index: places[names[step.tensor]]
        for step in matched
        if step.tensor >= 0 and names[step.tensor] in places
    }
    on_stage(f"following {subject.spec.name} in float64 along the quantized file")
    steps = followed(bench, subject, feed, folder=folder, tensors=tensors, taken=taken, search=False)
    explanation = judged(steps, tensors)
    diverging = tuple(layer for layer in explanation.layers if not layer.sqnr_db >= LEAST_DB)
    return Followed(replace(explanation, diverging=diverging), tuple(steps), tuple(tensors), taken)


def probed(bench: Workbench, format: str, path: Path, feed: Feeds, *, folder: Path) -> list[FileTensor]:
    """Every tensor that the file computes; the values are stored in `folder`."""
    call = bench.workers[format].call
    return list(
        call(
            FILE_FORMATS[bench.converters[format].format].activations,
            path,
            feed,
            folder,
            timeout=CONVERT_TIMEOUT_S,
        ).value
    )


def followed(
    bench: Workbench,
    subject: ModelUnderTest,
    feed: Feeds,
    *,
    folder: Path,
    tensors: Sequence[FileTensor],
    taken: Mapping[int, int],
    **options: object,
) -> list[Step]:
    """The network's steps along the file's tensors."""
    reply = bench.workers["torch"].call(
        "modelparity.parity.explain.trace_network:follow",
        subject.spec,
        subject.checkpoint,
        feed,
        folder,
        tensors=tensors,
        taken=taken,
        timeout=CONVERT_TIMEOUT_S,
        **options,
    )
    return list(reply.value)


def _places(steps: Sequence[Step], tensors: Sequence[FileTensor]) -> list[tuple[int, int]]:
    """Candidate (step, tensor) pairs for the first lost step, most likely first.

    A tensor in the place of a lost step is computed from the same matched tensors as the step, or is one of
    them if the file leaves the step out. Among equally likely tensors, the first that the file computes comes
    first; among steps folded into one tensor, the most similar.
    """
    by_index = {tensor.index: tensor for tensor in tensors}
    order = {tensor.index: position for position, tensor in enumerate(tensors)}
    claimed = {origin_of(step.tensor, by_index) for step in steps if step.tensor >= 0}
    pairs = []
    open_ = uncovered(steps)
    for step in (steps[index] for index in sorted(open_ | _behind_a_fault(steps))):
        ours = before_step(step, steps, by_index)
        best = True
        for guess in sorted(
            step.guesses, key=lambda g: (-g.correlation, origin_of(g.tensor, by_index) not in ours)
        ):
            origin = origin_of(guess.tensor, by_index)
            left_out = origin in ours
            if origin in claimed and not left_out:  # matched since
                continue
            theirs = {origin} if left_out else before_tensor(by_index[guess.tensor], by_index, claimed)
            shared = len(ours & theirs) / max(1, len(ours | theirs))
            if step.index not in open_ and shared < 1:
                continue  # more likely folded into the diverging step
            rank = (-shared, not best, order[guess.tensor], -guess.correlation)
            pairs.append((rank, (step.index, guess.tensor)))
            best = False
    return [pair for _, pair in sorted(pairs)]


def _behind_a_fault(steps: Sequence[Step]) -> set[int]:
    """Unmatched steps before a matched one that diverges: the fault may be theirs."""
    members = (
        group_of(step, steps)[0] for step in steps if step.tensor >= 0 and not step.error <= BAND * step.floor
    )
    return {member.index for group in members for member in group if member.tensor < 0}


def _goes_on(steps: Sequence[Step], trial: int) -> bool:
    """Whether the steps after the one on trial match again, within the band."""
    if steps[trial].output:
        return True
    behind = {trial}
    for step in steps[trial + 1 :]:
        if behind & set(step.inputs):
            if step.tensor >= 0:
                return step.error <= BAND * step.floor
            behind.add(step.index)
    return True
