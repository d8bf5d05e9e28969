"""Judges one file as one cell: makes the claims in a fixed order, contract first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelparity.converters.engine.workbench import PROGRAM, Calibration, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerFailedError
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.inputs.strategies import GeneratedImage
from modelparity.modelfiles.description import Artifact, Description
from modelparity.modelfiles.graph import Ranges
from modelparity.modelfiles.model_card import card_of
from modelparity.parity.cells import RUN_THREADS, Cell
from modelparity.parity.claims import (
    basic,
    kernels,
    lineage,
    metamorphic,
    preprocessing,
    quality,
    simulated,
)
from modelparity.parity.claims.constant_image import GREY
from modelparity.parity.claims.generated_inputs import any_size, generated_inputs, problem_on
from modelparity.parity.claims.kind_claims import KIND_CLAIMS, asked_of_outputs, images_needed
from modelparity.parity.metrics.errors import OutputError
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import Claim, QualityRecord, SampleRecord, WorstRecord
from modelparity.parity.rounded_reference import (
    RoundedReference,
    opposite_names,
    rounded_reference,
    with_opposite,
)
from modelparity.parity.search import worst_inputs as worst
from modelparity.parity.structure import claim as structure


@dataclass(frozen=True)
class CheckBudget:
    """How much work a proof spends on a cell.

    Attributes:
        images: Number of images in the evaluation set.
        draws: Generated inputs.
        batches: Batch sizes that are tried; the evaluation set itself runs at 1.
        convert_again: Whether a second conversion must give the same bytes.
        replay: Whether the stored worst inputs are run.
        seed: Selects the evaluation set and the generated inputs.
        threads: Threads that the file runs on.
    """

    images: int = 12
    draws: int = 5
    batches: tuple[int, ...] = (3, 5)
    convert_again: bool = True
    replay: bool = True
    seed: int = 0
    threads: int = RUN_THREADS


class Judge:
    """Judges one file as one cell. Claims, samples and outputs that were made before a crash stay.

    Args:
        calibration: The feeds that a static recipe was calibrated on.
        third_party: The file may come from another toolchain, calibrated on other images.
        float_file: Gives the float file that a quantized one was made from; by default, the cell's own.
    """

    def __init__(
        self,
        bench: Workbench,
        truth: ReferenceData,
        cell: Cell,
        path: Path,
        *,
        check_budget: CheckBudget,
        calibration: Calibration,
        third_party: bool = False,
        float_file: Callable[[], Artifact] | None = None,
    ) -> None:
        self._bench = bench
        self._truth = truth
        self._cell = cell
        self._path = path
        self._budget = check_budget
        self._calibration = calibration
        self._third_party = third_party
        self._float_file = float_file or self._own_float_file
        self._dynamic = bench.converters[cell.format].dynamic_batch
        self._free_size = truth.subject.spec.free_size
        self._recipe = QUANTIZATIONS[cell.quantization]
        self._by_kind = KIND_CLAIMS[truth.subject.spec.task]
        self.stage = "load"
        self.claims: list[Claim] = []
        self.samples: list[SampleRecord] = []
        self.worst: list[WorstRecord] = []
        self.description: Description | None = None
        self.headline = ""
        self.outputs: Sequence[Outputs] = ()  # over the evaluation set, once it ran
        self.quality: QualityRecord | None = None
        self._errors: Sequence[OutputError] = ()
        self.not_asked: dict[str, str] = {}

    def judge(self) -> None:
        """Makes the claims, step by step. Raises what a worker raises; the claims made until then stand."""
        self.stage = "load"
        self._declared()
        self._preparation()
        if not self._recipe.is_float:
            self.stage = "lineage"
            self._lineage()
        self.stage = "run"
        if not self._outputs_comparable():
            return
        lost = self._quality()
        right = self._right()
        if right is not None:
            self._parity(right)
        if not self._recipe.rounds_activations:
            claims, not_asked = structure.asked(self._bench, self._truth, self._cell, self._path, right=right)
            self.claims += claims
            self.not_asked |= not_asked
        self.claims += lost  # a wrong conversion, which may lose an output, is named before its effect
        if right is not None and self._recipe.rounds_activations:
            self.claims = simulated.explained(self.claims, self._coarsest)
        self._batches(right)
        self._repetition()
        self._another_size()
        self._generated_inputs()
        self._worst_inputs()
        self._constant_image(right)
        self._padding(right)
        self._threads(right)
        self._kernels(right)

    def _run(
        self, feeds: Sequence[Mapping[str, Any]], fresh: bool = False, threads: int | None = None
    ) -> list[Outputs]:
        threads = threads or self._budget.threads
        return self._bench.run(self._cell.format, self._path, feeds, threads=threads, fresh=fresh)

    # --- the file -----------------------------------------------------------------------------

    def _declared(self) -> None:
        """The ports, precision and weights that the file declares."""
        self.description = description = self._bench.describe(self._path)
        self.claims += [
            basic.interface(
                description, self._truth.subject.signature, self._dynamic, self._dynamic and self._free_size
            ),
            basic.precision(description, self._cell.quantization),
            basic.weight_count(description, **self._truth.elements),
        ]
        self.claims += basic.weight_share(
            description,
            self._recipe,
            lambda: self._ask("modelparity.modelfiles.lineage:layer_share", self._float_file().path),
        )

    def _ask(self, function: str, *args: Any) -> Any:
        return self._bench.workers[self._cell.format].call(function, *args, timeout=CONVERT_TIMEOUT_S).value

    def _preparation(self) -> None:
        """The file's model card, and the photographs that are prepared by it."""
        card = card_of(self._path)
        if card is None and self._third_party:
            for name in ("model_card", "preprocessing"):
                self.not_asked[name] = "a file from elsewhere has no model card of this project"
            return
        subject, cell = self._truth.subject, self._cell
        expected = self._bench.card(subject, cell.format, cell.quantization)
        self.claims.append(preprocessing.model_card(card, expected))
        if card is not None:
            self.claims += preprocessing.preprocessing(self._bench, subject, card)

    def _own_float_file(self) -> Artifact:
        return self._bench.artifact(self._truth.subject, self._cell.format, FLOAT)[0]

    def _lineage(self) -> None:
        """A quantized file against the float file that it was made from."""
        source = self._float_file()

        def observe(names: list[str]) -> Ranges:
            return self._bench.observed_ranges(source, self._calibration, names)

        file = self._ask("modelparity.modelfiles.lineage:lineage", self._path, source.path)
        if not self._third_party:
            self.claims += lineage.claims(file, observe)
            return
        matched = "modelparity.parity.claims.lineage:matched"
        claims, not_asked = lineage.of_third_party_file(
            file, observe, lambda: self._ask(matched, self._path, source.path)
        )
        self.claims += claims
        self.not_asked |= not_asked

    # --- its outputs against the reference ----------------------------------------------------

    def _outputs_comparable(self) -> bool:
        """Runs the evaluation set; False if outputs are missing or of other shapes than declared."""
        reference, signature = self._truth.reference, self._truth.subject.signature
        self.outputs = self._run(reference.feeds, fresh=True)
        runs = list(zip(reference.names, self.outputs, strict=True))
        declared = basic.outputs_as_declared(runs, signature)
        self.claims.append(declared)
        self.claims.append(basic.finite(runs))
        if not declared.passed:
            return False
        self.claims += basic.in_range(runs, signature)
        self.claims += self._by_kind.structure(runs)
        return True

    def _quality(self) -> list[Claim]:
        """Measures what the precision costs against float64. Returns the claims on outputs that are lost."""
        exact = self._truth.reference
        pairs = exact.paired(self.outputs)
        errors = exact.errors(pairs)
        self.claims += basic.non_constant(exact, errors)
        for error in errors:
            self.samples += basic.sample_records(exact, error)
        changes = self._by_kind.changes(exact, self.outputs, self._truth.subject.spec, pairs)
        self.quality = quality.quality(errors, changes, is_price=not self._recipe.is_float)
        self.headline = quality.words(self.quality, errors) if errors else "nothing detected"
        self._errors = errors
        return quality.better_than_constant(pairs, exact.floors)

    def _right(self) -> RoundedReference | None:
        """What a right file computes; None, with a claim that is not decided, where that is not known."""
        exact = self._truth.reference
        if self._recipe.is_float:
            return RoundedReference(exact, {})
        cast = not self._recipe.rounds_activations
        try:
            right = rounded_reference(
                self._bench,
                self._truth,
                self._path,
                images=images_needed(self._truth, max(self._budget.batches, default=1)) if cast else None,
                others=self._other_feeds(),
                ranged=[GREY, *map(metamorphic.batch_name, self._batch_sizes)],
            )
        except WorkerFailedError as error:
            right = f"this file's graph cannot be followed: {error}"
        if isinstance(right, RoundedReference):
            self.claims += simulated.unrounded(right)
            claim, reason = simulated.weights(right, self._third_party)
            self.claims += [claim] if claim else []
            self.not_asked |= {"network_weights": reason} if reason else {}
            return right
        self.claims.append(simulated.not_decided(right))
        self.not_asked |= dict.fromkeys(asked_of_outputs(self._truth), metamorphic.NOT_KNOWN)
        return None

    def _other_feeds(self) -> dict[str, Feeds]:
        """The feeds outside the evaluation set on which a quantized file is held to its simulation."""
        truth, feeds = self._truth, self._by_kind.in_other_settings(self._truth)
        if self._recipe.activations == "dynamic":  # ranges span the batch
            sizes = self._batch_sizes
            feeds |= {metamorphic.batch_name(n): metamorphic.batch_of(truth.reference, n) for n in sizes}
        if truth.opposite is not None:
            feeds |= dict(zip(opposite_names(truth.opposite), truth.opposite.feeds, strict=True))
        return feeds

    def _coarsest(self) -> str:
        """The layer that costs most in a file that rounds activations, in words."""
        reply = self._bench.workers["torch"].call(
            "modelparity.parity.simulation.network:coarsest",
            self._bench.exported(self._truth.subject).path(PROGRAM),
            self._truth.subject.spec,
            self._truth.subject.checkpoint,
            self._path,
            feed=self._truth.reference.feeds[0],
            timeout=CONVERT_TIMEOUT_S,
        )
        return str(reply.value)

    def _parity(self, right: RoundedReference) -> None:
        reference, spec = right.reference, self._truth.subject.spec
        outputs = self.outputs[: len(reference.feeds)]
        pairs = reference.paired(outputs)
        errors = reference.errors(pairs)
        self.claims += self._by_kind.matches(reference, pairs)
        if reference.rounded:
            self.claims += simulated.agree(reference, pairs)
        else:
            self.claims += [basic.float_parity(reference, error) for error in errors]
        if errors and self._recipe.is_float and not quality.not_finite(errors):
            worst = max(error.worst_rms.rms / reference.floors[error.output] for error in errors)
            self.headline = f"{worst:.1f} × floor"
        others = self._truth.opposite
        if others is not None and (joined := with_opposite(right, others)) is not None:
            reference, outputs = joined, [*outputs, *self._run(others.feeds)]
        self.claims += self._by_kind.decisions(reference, outputs, spec)

    # --- the same input in another setting ----------------------------------------------------

    @property
    def _batch_sizes(self) -> list[int]:
        """Those that the check budget asks for, the format takes and the evaluation set has images for."""
        images = len(self._truth.reference.feeds)
        return [size for size in self._budget.batches if size <= images] if self._dynamic else []

    def _batches(self, right: RoundedReference | None) -> None:
        if not self._dynamic:
            return
        if not self._batch_sizes:
            images, asked = len(self._truth.reference.feeds), self._budget.batches
            larger = f"the evaluation set has {images} images, and a batch {min(asked, default=0)} or more"
            self.not_asked["batch"] = larger if asked else "the check budget has no batch"
            return
        sizes, reason = right.batches(self._batch_sizes) if right else ([], metamorphic.NOT_KNOWN)
        if right and sizes:
            self.claims += metamorphic.batches(self._run, right, self.outputs, sizes=sizes)
        else:
            self.not_asked["batch"] = reason

    def _repetition(self) -> None:
        self.claims += metamorphic.again(self._run, self._truth.reference, self.outputs)

    def _padding(self, right: RoundedReference | None) -> None:
        claims, not_asked = self._by_kind.padding(self._run, self._truth, right, self.outputs)
        self.claims += claims
        self.not_asked |= not_asked

    def _threads(self, right: RoundedReference | None) -> None:
        if right is None:
            self.not_asked["threads"] = metamorphic.NOT_KNOWN
            return
        self.claims += metamorphic.threads(self._run, right.reference, self.outputs, ran=self._budget.threads)

    def _kernels(self, right: RoundedReference | None) -> None:
        kind = self._bench.converters[self._cell.format].plain_kernels
        if kind is None:
            return
        if reason := kernels.skipped(self._cell, kind) or ("" if right else metamorphic.NOT_KNOWN):
            self.not_asked["kernels"] = reason
        if reason or right is None:
            return
        reference = right.reference
        feeds = reference.feeds[: kernels.IMAGES]
        plain = kernels.plain_outputs(self._bench, self._cell.format, self._path, feeds)
        if isinstance(plain, str):
            self.not_asked["kernels"] = plain
        elif reference.rounded:
            self.claims += kernels.agree_rounded(reference, self._truth.reference, self.outputs, plain)
        else:
            self.claims += kernels.agree(reference, self.outputs, plain, loops=kind.sequential)

    # --- other inputs -------------------------------------------------------------------------

    def _problem_on(self, image: GeneratedImage) -> str:
        return problem_on(
            image,
            self._run,
            self._truth,
            self._by_kind,
            dynamic=self._dynamic,
            is_float=self._recipe.is_float,
        )

    def _another_size(self) -> None:
        if not (self._dynamic and self._free_size):
            return
        self.claims.append(any_size(self._truth.reference.feeds[0]["image"], self._problem_on))

    def _generated_inputs(self) -> None:
        subject, draws, seed = self._truth.subject, self._budget.draws, self._budget.seed
        self.claims.append(generated_inputs(subject, self._problem_on, draws, seed))

    def _worst_inputs(self) -> None:
        """The worst inputs that searches have found."""
        if not self._budget.replay:
            return
        inputs = worst_inputs.stored(self._cell.id)
        if not inputs:
            self.not_asked["worst_input"] = f"none is stored; `modelparity search {self._cell.id}` finds one"
        claims, self.worst = worst.replayed(
            self._bench,
            self._truth,
            is_float=self._recipe.is_float,
            run=self._run,
            inputs=inputs,
            errors=self._errors,
        )
        self.claims += claims

    def _constant_image(self, right: RoundedReference | None) -> None:
        claims, not_asked = self._by_kind.constant_image(self._run, self._truth, right)
        self.claims += claims
        self.not_asked |= not_asked
