"""Computes the reference of a quantized file: the network in PyTorch, rounding where the file rounds.

The rounding is to the file's own numbers (`modelparity.parity.simulation.network`), so that no tolerance has
to be declared: what a right file computes is known, whatever the network, its weights and the images.

- A file of float16 weights computes in float32. Its reference is the network in float64 with the weights cast
  as in the file, and its noise the network's own float32 error: a cast is exact, so the file is judged as a
  float file is.
- A file of integers has the simulated rounding as its reference. Rounding is not continuous: a value on the
  edge between two steps falls to either side by one ULP of float32, and through many layers such ties grow to
  the size of rounding itself, so that no right file can be nearer. The simulation runs a second time,
  perturbed, so that far more values fall to the other side than between two right implementations. How far
  the two runs are apart is the noise.
- A file that rounds activations inside of the network's layers is simulated by its own graph, after that
  graph was shown to be the network's (`modelparity.parity.simulation.activations`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelparity.converters.engine.workbench import PROGRAM, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import FLOAT, ROUNDED, Reference, ReferenceData
from modelparity.parity.simulation.layers import Simulated

_LARGE = 200_000_000  # weights of a network that takes minutes an image
_IMAGES_OF_LARGE = 1


@dataclass(frozen=True)
class RoundedReference:
    """What a right file computes, and which of the file's weights are not the network's.

    Attributes:
        reference: Over the evaluation set.
        others: On other feeds, by the caller's names.
        perturbed: The same of a perturbed run, of feeds that were asked for as `ranged`.
        layers: How many layers have rounded weights.
        wrong: `Simulated.wrong`.
        network: Of a file that rounds activations outside of layers: the network with the file's constants.
        unrounded: What the file's graph computes without rounding, to be compared with `network`.
        shared_by_threads: `Simulated.shared_by_threads`.
    """

    reference: Reference
    others: Mapping[str, Outputs]
    perturbed: Mapping[str, Outputs] = field(default_factory=dict)
    layers: int = 0
    wrong: tuple[tuple[str, int, float], ...] = ()
    network: Reference | None = None
    unrounded: tuple[Outputs, ...] = ()
    shared_by_threads: bool = False

    def batches(self, sizes: Collection[int]) -> tuple[list[int], str]:
        """The sizes of batches whose right outputs are known; of none, the reason."""
        if self.shared_by_threads:
            return [], "ranges of a recurrent layer at run time depend on the number of threads"
        images = len(self.reference.feeds)
        known = [size for size in sizes if size <= images]
        return known, "" if known else f"a network of this size is simulated on {images} image"


def rounded_reference(
    bench: Workbench,
    truth: ReferenceData,
    path: Path,
    *,
    images: int | None = None,
    others: Mapping[str, Feeds],
    ranged: Collection[str] = (),
    corrected: bool = True,
) -> RoundedReference | str:
    """The reference of a quantized file over the first `images` (None: all), or why there is none.

    `ranged` are those of the other feeds on which ties may move more than on the evaluation set: batches,
    whose ranges at run time are wider, and a flat image, in all of whose places a tie falls to one side.

    `corrected` says that the file's quantizer may have moved biases on purpose, as other tools' do.

    Of a network of more than 200 M weights, it covers the first image alone, and no other feed.

    Raises:
        WorkerFailedError: the file's graph cannot be followed.
    """
    exact = truth.reference
    large = truth.elements["elements"] > _LARGE
    images = _IMAGES_OF_LARGE if large else images or len(exact.feeds)
    if large:
        others = {}
    places = [images + place for place, name in enumerate(others) if name in ranged]
    # While references are computed, or another format's file is simulated, a process of its own.
    reply = bench.workers.idle("torch", "simulation", "second simulation").call(
        "modelparity.parity.simulation.activations:simulate",
        bench.exported(truth.subject).path(PROGRAM),
        truth.subject.spec,
        truth.subject.checkpoint,
        path,
        feeds=[*exact.feeds[:images], *others.values()],
        perturbed=[*range(images), *places],
        ports=bench.ports[path],
        corrected=corrected,
        timeout=CONVERT_TIMEOUT_S,
    )
    simulation: Simulated = reply.value
    if reason := _impossible(simulation):
        return reason
    outputs = simulation.outputs[:images]
    reference = replace(
        exact,
        names=exact.names[:images],
        feeds=exact.feeds[:images],
        outputs={name: tuple(each[name] for each in outputs) for name in exact.outputs},
        unrounded={name: values[:images] for name, values in exact.outputs.items()},
        spreads={name: exact.spread(name) for name in exact.outputs},
    )
    if simulation.perturbed:
        reference = _with_noise(reference, simulation, images)
    simulated = dict(zip(others, simulation.outputs[images:], strict=True))
    moved = dict(zip(filter(ranged.__contains__, others), simulation.perturbed[images:], strict=False))
    right = RoundedReference(
        reference,
        simulated,
        moved,
        simulation.layers,
        simulation.wrong,
        shared_by_threads=simulation.shared_by_threads,
    )
    if simulation.unrounded is None:
        return right
    computed, due = simulation.unrounded
    count = min(images, len(due))
    exact = exact.first(count)
    outputs_due = {name: tuple(each[name] for each in due[:count]) for name in exact.outputs}
    return replace(right, network=replace(exact, outputs=outputs_due), unrounded=computed[:count])


def coarsest_layer(bench: Workbench, truth: ReferenceData, path: Path) -> str:
    """The layer that costs most in a file that rounds activations, in words."""
    reply = bench.workers["torch"].call(
        "modelparity.parity.simulation.network:coarsest",
        bench.exported(truth.subject).path(PROGRAM),
        truth.subject.spec,
        truth.subject.checkpoint,
        path,
        feed=truth.reference.feeds[0],
        timeout=CONVERT_TIMEOUT_S,
    )
    return str(reply.value)


def _with_noise(reference: Reference, simulation: Simulated, images: int) -> Reference:
    """The reference with the distance of the perturbed run in the place of the network's float32 error.

    Of an output that the file itself rounds, a single value may always fall to the other side: a perturbed
    run of a few values in which none does would call a right file wrong that has one.
    """
    perturbed = simulation.perturbed[:images]
    runs = zip(perturbed, simulation.outputs, strict=False)
    pairs = [reference.kind.paired(got, right) for got, right in runs]
    # Where no value is on an edge, a file may be as far off as a float file.
    least = FLOAT.most / ROUNDED.most
    noise = {}
    for name, own in reference.noise.items():
        few = reference.few(name)
        moved = Noise.between(pairs, name, rounded=True, together=few)
        values = min((one.size for one in reference.outputs[name]), default=0) * (len(pairs) if few else 1)
        step = simulation.steps.get(name, 0.0)
        one_tie = Noise(step / math.sqrt(max(1, values)), step, step)
        noise[name] = Noise.greater(Noise.greater(moved, own.times(least)), one_tie)
    return replace(
        reference,
        noise=noise,
        samples=len(pairs),
        multiples=ROUNDED,
        noise_words="a perturbed run of the simulation",
        right_runs=perturbed,
    )


def opposite_names(others: Reference) -> list[str]:
    """The names under which `rounded_reference` is asked for the images of `ReferenceData.opposite`."""
    return [f"opposite {index}" for index in range(len(others.feeds))]


def with_opposite(right: RoundedReference, others: Reference) -> Reference | None:
    """The reference with the images of the other decision appended to its own.

    None if the file is quantized and what a right one gives for them was not simulated.
    """
    reference, outputs = right.reference, others.outputs
    if reference.unrounded:
        if not right.others.keys() >= {*opposite_names(others)}:
            return None
        simulated = [right.others[name] for name in opposite_names(others)]
        outputs = {name: tuple(one[name] for one in simulated) for name in outputs}
    return replace(
        reference,
        names=(*reference.names, *others.names),
        feeds=(*reference.feeds, *others.feeds),
        outputs={name: (*own, *outputs[name]) for name, own in reference.outputs.items()},
        # `others` has the greater of its own noise and the evaluation set's.
        noise=reference.noise if reference.rounded else others.noise,
        unrounded={name: (*own, *others.outputs[name]) for name, own in reference.unrounded.items()},
    )


def _impossible(simulation: Simulated) -> str:
    """Why a file cannot be simulated; "" if it can."""
    if simulation.not_simulated:
        named = _some(simulation.not_simulated, at_most=200)
        return f"these of its operators are not simulated: {named}"
    if not simulation.layers:
        return "no layer of rounded weights is recognised in the file"
    if simulation.unmatched:
        named = _some(simulation.unmatched)
        return f"these of its layers or constants match none of the network's: {named}"
    if simulation.elsewhere:
        return simulation.elsewhere
    return ""


def _some(names: tuple[str, ...], at_most: int = 60) -> str:
    """The first three names, of each no more than its last `at_most` characters."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[-at_most:] for name in names[:3]) + more
