"""Which layer: the first whose result leaves the band though what it computed from was inside.

The network runs in float64 along the file (`modelparity.parity.explain.trace_network`): a step whose result the file has
goes on from the file's values, so each step is judged by what it adds itself, in units of its own float32
floor. Steps without a counterpart are what a converter folded into a neighbour (batch norm, ReLU): the next
one that is found answers for them. Where none is found any more, up to the outputs, a layer is so wrong that
its result is not recognised; then the tensor in its place is taken for it, and what follows has to agree
again: the proof that it was this layer, and that there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelparity.converters.engine.workbench import Feeds, ModelUnderTest, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
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

# Of a quantized layer's own: right int8 leaves 26 dB and more (LaDeDa's first, int8 in and out), most above
# 35; scales doubled leave 0.
LEAST_DB = 20.0
_ROUNDS = 5  # runs of the network, one for each tensor taken on trial


@dataclass(frozen=True)
class Followed:
    """What an explanation rests on; `taken` are tensors taken for a step, whatever they hold."""

    explanation: Explanation
    steps: tuple[Step, ...]
    tensors: tuple[FileTensor, ...]
    taken: Mapping[int, int]

    def before(self, layer: Layer) -> list[int]:
        """The tensors, found in the network as well, that the file computes the layer's from."""
        by_index = {tensor.index: tensor for tensor in self.tensors}
        own = origin_of(layer.index, by_index)
        claimed = {origin_of(step.tensor, by_index) for step in self.steps if step.tensor >= 0} - {own}
        return sorted(before_tensor(by_index[own], by_index, claimed) - {-1})


def explain(
    bench: Workbench,
    subject: ModelUnderTest,
    format: str,
    path: Path,
    feed: Feeds,
    folder: Path,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Followed:
    """The file's layers against the network's on one image; `folder` holds the values meanwhile."""
    on_stage(f"running {path.name} for all of its tensors")
    tensors: list[FileTensor] = probed(bench, format, path, feed, folder)
    taken: dict[int, int] = {}
    refused: set[tuple[int, int]] = set()
    on_stage(f"following {subject.spec.name} in float64")
    steps = followed(bench, subject, feed, folder, tensors, taken)
    for _ in range(_ROUNDS - 1):
        trial = next((pair for pair in _places(steps, tensors) if pair not in refused), None)
        if trial is None:
            break
        on_stage(f"trying what takes the place of {words_of(steps[trial[0]])}")
        again = followed(bench, subject, feed, folder, tensors, {**taken, trial[0]: trial[1]})
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
    float_path: Path,
    feed: Feeds,
    folder: Path,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Followed:
    """A quantized file's layers, against float64 from the file's own values: what each of them adds.

    Which tensor is whose is read off the float file, whose names the quantizers keep.
    """
    original = folder / "float"
    original.mkdir()
    on_stage(f"running {float_path.name} for all of its tensors")
    known = probed(bench, format, float_path, feed, original)
    on_stage(f"following {subject.spec.name} in float64")
    names = {tensor.index: tensor.name for tensor in known}
    matched = followed(bench, subject, feed, original, known, {})
    on_stage(f"running {path.name} for all of its tensors")
    tensors = probed(bench, format, path, feed, folder)
    places = {tensor.name: tensor.index for tensor in tensors}
    taken = {
        step.index: places[names[step.tensor]]
        for step in matched
        if step.tensor >= 0 and names[step.tensor] in places
    }
    on_stage(f"following {subject.spec.name} in float64 along the quantized file")
    steps = followed(bench, subject, feed, folder, tensors, taken, search=False)
    found = judged(steps, tensors)
    diverging = tuple(layer for layer in found.layers if not layer.sqnr_db >= LEAST_DB)
    return Followed(replace(found, diverging=diverging), tuple(steps), tuple(tensors), taken)


def probed(bench: Workbench, format: str, path: Path, feed: Feeds, folder: Path) -> list[FileTensor]:
    """Every tensor that the file computes, its values in `folder`."""
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
        tensors,
        taken,
        timeout=CONVERT_TIMEOUT_S,
        **options,
    )
    return list(reply.value)


def _places(steps: Sequence[Step], tensors: Sequence[FileTensor]) -> list[tuple[int, int]]:
    """(step, tensor) pairs that may be the first one lost, likeliest first.

    A tensor in the place of a lost step computes from the same found tensors as it does, or is one of them
    where the file leaves the step out. Of those that a step's result resembles most, the first that the file
    computes; of the steps that are folded into one tensor, the one that it resembles most.
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
            if origin in claimed and not left_out:  # found since
                continue
            theirs = {origin} if left_out else before_tensor(by_index[guess.tensor], by_index, claimed)
            shared = len(ours & theirs) / max(1, len(ours | theirs))
            if step.index not in open_ and shared < 1:
                continue  # folded into what diverges, more likely
            rank = (-shared, not best, order[guess.tensor], -guess.correlation)
            pairs.append((rank, (step.index, guess.tensor)))
            best = False
    return [pair for _, pair in sorted(pairs)]


def _behind_a_fault(steps: Sequence[Step]) -> set[int]:
    """Steps that are not found, before one that is but diverges: the fault may be theirs already."""
    members = (
        group_of(step, steps)[0] for step in steps if step.tensor >= 0 and not step.error <= BAND * step.floor
    )
    return {member.index for group in members for member in group if member.tensor < 0}


def _goes_on(steps: Sequence[Step], trial: int) -> bool:
    """Whether what computes from the step on trial is found again, inside the band."""
    if steps[trial].output:
        return True
    behind = {trial}
    for step in steps[trial + 1 :]:
        if behind & set(step.inputs):
            if step.tensor >= 0:
                return step.error <= BAND * step.floor
            behind.add(step.index)
    return True
