"""Judges one file as one cell: makes the claims in a fixed order, contract first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelparity.converters.engine.workbench import Calibration, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerFailedError
from modelparity.converters.recipes import FLOAT, JUDGED
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.programs import ProgramSpec
from modelparity.modelfiles.description import Artifact, Description
from modelparity.modelfiles.graph import Ranges
from modelparity.modelfiles.model_card import card_of
from modelparity.parity.cells import Cell, CheckBudget
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
from modelparity.parity.claims.generated_inputs import (
    Generated,
    any_size,
    generated_inputs,
    other_extents,
    problem_on,
)
from modelparity.parity.claims.kind_claims import KIND_CLAIMS, asked_of_outputs, images_needed, parity
from modelparity.parity.known_causes.causes import WrongFile, known_cause
from modelparity.parity.metrics.errors import OutputError
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import Claim, QualityRecord, SampleRecord, WorstRecord
from modelparity.parity.rounded_reference import (
    RoundedReference,
    coarsest_layer,
    opposite_names,
    rounded_reference,
    with_opposite,
)
from modelparity.parity.search import worst_inputs as worst
from modelparity.parity.structure import claim as structure


class Judge:
    """Judges one file as one cell. Claims, samples and outputs that were made before a crash stay.

    Args:
        calibration: The feeds that a static recipe was calibrated on.
        third_party: The file may come from another toolchain, calibrated on other images.
        float_file: Gives the float file that a quantized one was made from; by default, the cell's own.
        run: Stands in for the format's runtime on this machine: outputs that were recorded elsewhere.
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
        run: metamorphic.Run | None = None,
    ) -> None:
        self._bench = bench
        self._truth = truth
        self._cell = cell
        self._path = path
        self._budget = check_budget
        self._calibration = calibration
        self._third_party = third_party
        self._float_file = float_file or self._own_float_file
        self._elsewhere = run
        self._dynamic = bench.converters[cell.format].dynamic_batch
        self._free_size = truth.subject.spec.free_size
        self._signature = bench.converters[cell.format].ports(truth.subject.signature)
        self._recipe = JUDGED[cell.quantization]
        self._by_kind = KIND_CLAIMS[truth.subject.spec.task]
        self.stage = "load"
        self.claims: list[Claim] = []
        self.samples: list[SampleRecord] = []
        self.worst: list[WorstRecord] = []
        self.description: Description | None = None
        self.headline = ""
        self.explanation = ""  # the known mistake that explains a failed claim
        self.outputs: Sequence[Outputs] = ()  # over the evaluation set, once it ran
        self.quality: QualityRecord | None = None
        self.right: RoundedReference | None = None  # what a right file computes, once that is known
        self._errors: Sequence[OutputError] = ()
        self.not_asked: dict[str, str] = {}

    def _add(self, asked: tuple[Sequence[Claim], Mapping[str, str]]) -> None:
        """Claims that were made, and the reasons of those that were not."""
        claims, not_asked = asked
        self.claims += claims
        self.not_asked |= not_asked

    def judge(self) -> None:
        """Makes the claims, step by step. Raises what a worker raises; the claims made until then stand."""
        self.stage = "load"
        self._declared()
        self._preparation()
        if not self._recipe.is_float:
            self.stage = "lineage"
            self._lineage()
        self.stage = "run"
        if other := basic.fed_otherwise(self.description, self._signature):
            self.not_asked["outputs"] = other
            return
        if not self._outputs_comparable():
            self._explain(RoundedReference(self._truth.reference, {}) if self._recipe.is_float else None)
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
            self.claims = simulated.explained(
                self.claims, lambda: coarsest_layer(self._bench, self._truth, self._path)
            )
        self.right = right
        self.other_settings(right)

    def other_settings(self, right: RoundedReference | None) -> None:
        """The claims on the same input in another setting, and on other inputs."""
        self._batches(right)
        self.claims += metamorphic.again(self._run, self._truth.reference, self.outputs)
        self._another_size()
        self._generated_inputs()
        self._worst_inputs()
        self._add(self._by_kind.constant_image(self._run, self._truth, right))
        self._add(self._by_kind.padding(self._run, self._truth, right, self.outputs))
        self._threads(right)
        self._kernels(right)
        self._explain(right)

    def _run(
        self, feeds: Sequence[Mapping[str, Any]], fresh: bool = False, threads: int | None = None
    ) -> list[Outputs]:
        threads = threads or self._budget.threads
        if self._elsewhere is not None:
            return self._elsewhere(feeds, fresh=fresh, threads=threads)
        return self._bench.run(self._cell.format, self._path, feeds, threads=threads, fresh=fresh)

    # --- the file -----------------------------------------------------------------------------

    def _declared(self) -> None:
        """The ports, precision and weights that the file declares."""
        self.description = description = self._bench.describe(self._path)
        self.claims += [
            basic.interface(description, self._signature, self._dynamic, self._dynamic and self._free_size),
            basic.precision(description, self._cell.quantization),
            basic.weight_count(description, **self._truth.elements),
            *basic.inference_mode(description),
        ]
        claims = basic.weight_share(
            description,
            self._recipe,
            lambda: self._ask("modelparity.modelfiles.lineage:layer_share", self._float_file().path),
        )
        if self._third_party and (less := [claim for claim in claims if not claim.passed]):
            self.not_asked["weight_share"] = basic.not_promised(less[0])
        else:
            self.claims += claims

    def _ask(self, function: str, *args: Any) -> Any:
        return self._bench.workers[self._cell.format].call(function, *args, timeout=CONVERT_TIMEOUT_S).value

    def _preparation(self) -> None:
        """The file's model card, and the photographs that are prepared by it."""
        if isinstance(self._truth.subject.spec, ProgramSpec):
            for name in ("model_card", "preprocessing"):
                self.not_asked[name] = "the network is not known to take photographs"
            return
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

        ports = self._bench.ports[self._path]
        file = self._ask("modelparity.modelfiles.lineage:lineage", self._path, source.path, ports)
        if not self._third_party:
            self.claims += lineage.claims(file, observe)
            return
        module = "modelparity.parity.claims.lineage"
        claims, not_asked = lineage.of_third_party_file(
            file,
            observe,
            lambda: self._ask(f"{module}:matched", self._path, source.path),
            lambda: str(self._ask(f"{module}:may_saturate", self._path)),
        )
        self.claims += claims
        self.not_asked |= not_asked

    # --- its outputs against the reference ----------------------------------------------------

    def _outputs_comparable(self) -> bool:
        """Runs the evaluation set; False if outputs are missing or of other shapes than declared."""
        reference, signature = self._truth.reference, self._signature
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
                corrected=self._third_party,
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

    def _parity(self, right: RoundedReference) -> None:
        reference, spec = right.reference, self._truth.subject.spec
        outputs = self.outputs[: len(reference.feeds)]
        pairs = reference.paired(outputs)
        errors = reference.errors(pairs)
        self.claims += parity(reference, pairs)
        if errors and self._recipe.is_float and not quality.not_finite(errors):
            worst = max(error.worst_rms.rms / reference.floors[error.output] for error in errors)
            self.headline = f"{worst:.1f} × floor"
        others = self._truth.opposite
        if others is not None and (joined := with_opposite(right, others)) is not None:
            reference, outputs = joined, [*outputs, *self._run(others.feeds)]
        self.claims += self._by_kind.decisions(reference, outputs, spec)

    def _explain(self, right: RoundedReference | None) -> None:
        """Looks for the mistake behind a failed claim."""
        if self.description and any(claim.status == "failed" for claim in self.claims):
            batch = max(self._batch_sizes, default=0)
            here = self._elsewhere is None
            made = (self._run, self.claims, self.outputs, right, batch, here)
            self.explanation = known_cause(WrongFile(self._bench, self._truth, self.description, *made))

    # --- the same input in another setting ----------------------------------------------------

    @property
    def _batch_sizes(self) -> list[int]:
        """Those that the check budget asks for, the format takes and the evaluation set has images for."""
        images = len(self._truth.reference.feeds)
        if None in self._truth.reference.batch_axes.values():
            return []
        return [size for size in self._budget.batches if size <= images] if self._dynamic else []

    def _batches(self, right: RoundedReference | None) -> None:
        if not self._dynamic:
            return
        if self._batch_sizes:
            self._add(metamorphic.asked_of_batches(self._run, right, self.outputs, self._batch_sizes))
        else:
            self.not_asked["batch"] = self._why_no_batch()

    def _why_no_batch(self) -> str:
        if None in self._truth.reference.batch_axes.values():
            return getattr(self._truth.subject.spec, "fixed_batch", "") or "an output has no batch axis"
        images, asked = len(self._truth.reference.feeds), self._budget.batches
        larger = f"the evaluation set has {images} samples, and a batch {min(asked, default=0)} or more"
        return larger if asked else "the check budget has no batch"

    def _threads(self, right: RoundedReference | None) -> None:
        if right is None:
            self.not_asked["threads"] = metamorphic.NOT_KNOWN
            return
        self.claims += metamorphic.threads(self._run, right.reference, self.outputs, ran=self._budget.threads)

    def _kernels(self, right: RoundedReference | None) -> None:
        self._add(
            kernels.asked(
                self._bench,
                self._cell,
                self._path,
                self._truth.reference,
                right=right,
                outputs=self.outputs,
                elsewhere=self._elsewhere is not None,
                known=not isinstance(self._truth.subject.spec, ProgramSpec),
            )
        )

    # --- other inputs -------------------------------------------------------------------------

    def _problem_on(self, generated: Generated) -> str:
        return problem_on(
            generated,
            self._run,
            self._truth,
            self._by_kind,
            dynamic=self._dynamic,
            is_float=self._recipe.is_float,
        )

    def _another_size(self) -> None:
        if self._dynamic and isinstance(self._truth.subject.spec, ProgramSpec):
            self._add(other_extents(self._truth.subject, self._problem_on))
        if not (self._dynamic and self._free_size):
            return
        self.claims.append(any_size(self._truth.reference.feeds[0]["image"], self._problem_on))

    def _generated_inputs(self) -> None:
        subject, draws, seed = self._truth.subject, self._budget.draws, self._budget.seed
        shrink = self._elsewhere is None  # no smaller example was recorded
        self.claims.append(generated_inputs(subject, self._problem_on, draws, seed, shrink=shrink))

    def _worst_inputs(self) -> None:
        """The worst inputs that searches have found."""
        if not self._budget.replay or isinstance(self._truth.subject.spec, ProgramSpec):
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
