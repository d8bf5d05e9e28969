"""Judges one file as one cell: makes the claims in the design's order, contract first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.workbench import PROGRAM, Calibration, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerFailedError
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.fixtures.arrays import Array, Outputs
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.inputs.strategies import GeneratedImage
from modelparity.fixtures.tolerances import FloatTolerance, QuantizedTolerance
from modelparity.modelfiles.description import Artifact, Description
from modelparity.modelfiles.graph import Ranges
from modelparity.modelfiles.model_card import card_of
from modelparity.parity.cells import RUN_THREADS, Cell
from modelparity.parity.claims import basic, kernels, lineage, metamorphic, preprocessing
from modelparity.parity.claims.generated_inputs import falsify
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.metrics.errors import OutputError
from modelparity.parity.reference import ReferenceData
from modelparity.parity.results import Claim, SampleRecord, WorstRecord
from modelparity.parity.search import worst_inputs as worst
from modelparity.parity.simulation import claim as simulated


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
        tolerance: FloatTolerance | QuantizedTolerance,
        check_budget: CheckBudget,
        calibration: Calibration,
        third_party: bool = False,
        float_file: Callable[[], Artifact] | None = None,
    ) -> None:
        self._bench = bench
        self._truth = truth
        self._cell = cell
        self._path = path
        self._tolerance = tolerance
        self._budget = check_budget
        self._calibration = calibration
        self._third_party = third_party
        self._float_file = float_file or self._own_float_file
        self._dynamic = bench.converters[cell.format].dynamic_batch
        self._free_size = truth.subject.spec.free_size
        self._quantized = not QUANTIZATIONS[cell.quantization].is_float
        self._by_kind = KIND_CLAIMS[truth.subject.spec.task]
        self.stage = "load"
        self.claims: list[Claim] = []
        self.samples: list[SampleRecord] = []
        self.worst: list[WorstRecord] = []
        self.description: Description | None = None
        self.headline = ""
        self.outputs: Sequence[Outputs] = ()  # over the evaluation set, once it ran
        self.not_asked: dict[str, str] = {}

    def judge(self) -> None:
        """Makes the claims, step by step. Raises what a worker raises; the claims made until then stand."""
        self.stage = "load"
        self._declared()
        self._preparation()
        if self._quantized:
            self.stage = "lineage"
            self._lineage()
        self.stage = "run"
        if not self._outputs_comparable():
            return
        self._parity()
        if self._quantized:
            self._simulation()
        self._batches()
        self._repetition()
        self._another_size()
        self._generated_inputs()
        self._worst_inputs()
        self._constant_image()
        self._padding()
        self._threads()
        self._kernels()

    def _run(
        self, feeds: Sequence[Mapping[str, Any]], fresh: bool = False, threads: int | None = None
    ) -> list[Outputs]:
        threads = threads or self._budget.threads
        return self._bench.run(self._cell.format, self._path, feeds, threads=threads, fresh=fresh)

    # --- the file -----------------------------------------------------------------------------

    def _declared(self) -> None:
        """The ports, precision and weights that the file declares."""
        self.description = description = self._bench.describe(self._path)
        recipe = QUANTIZATIONS[self._cell.quantization]
        counts = self._truth.elements
        self.claims += [
            basic.interface(
                description, self._truth.subject.signature, self._dynamic, self._dynamic and self._free_size
            ),
            basic.precision(description, self._cell.quantization),
            basic.weight_count(description, counts["weights"], counts["elements"]),
        ]
        if (share := basic.weight_share(description, recipe)) is not None:
            self.claims.append(share)

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
        worker = self._bench.workers[self._cell.format]
        made_from = self._float_file()
        source = made_from.path

        def call(function: str, *arguments: Any) -> Any:
            return worker.call(function, *arguments, timeout=CONVERT_TIMEOUT_S).value

        def observe(names: list[str]) -> Ranges:
            return self._bench.observed_ranges(made_from, self._calibration, names)

        file = call("modelparity.modelfiles.lineage:lineage", self._path, source)
        if not self._third_party:
            self.claims += lineage.claims(file, observe)
            return
        claims, not_asked = lineage.of_third_party_file(
            file, observe, lambda: call("modelparity.parity.claims.lineage:matched", self._path, source)
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

    def _parity(self) -> None:
        reference = self._truth.reference
        pairs = reference.paired(self.outputs)
        errors = reference.errors(pairs)
        self.claims += basic.non_constant(reference, errors)
        self.claims += self._by_kind.matches(reference, pairs, self._tolerance)
        for error in errors:
            self.samples += basic.sample_records(reference, error)
            if isinstance(self._tolerance, FloatTolerance):
                self.claims.append(basic.float_parity(reference, error, self._tolerance))
            else:
                self.claims += basic.quantized_parity(reference, error, self._tolerance)
        self.claims += self._by_kind.decisions(
            reference, self.outputs, self._tolerance, self._truth.subject.spec
        )
        self.headline = self._headline(errors)

    def _headline(self, errors: Sequence[OutputError]) -> str:
        if not errors:
            return "nothing detected"
        if isinstance(self._tolerance, FloatTolerance):
            floors = self._truth.reference.floors
            return f"{max(error.worst_rms.rms / floors[error.output] for error in errors):.1f} × floor"
        worst = min(errors, key=lambda error: error.sqnr_db)
        return f"{worst.output} {worst.sqnr_db:.1f} dB"

    def _simulation(self) -> None:
        """A quantized file against the network in PyTorch, which rounds as the file does."""
        subject, reference = self._truth.subject, self._truth.reference
        if reason := simulated.skipped(self._cell, self._truth.elements["elements"]):
            self.not_asked["simulated"] = reason
            return
        program = self._bench.exported(subject).path(PROGRAM)

        def call(function: str, **feeds: Any) -> Any:
            reply = self._bench.workers["torch"].call(
                f"modelparity.parity.simulation.network:{function}",
                program,
                subject.spec,
                subject.checkpoint,
                self._path,
                timeout=CONVERT_TIMEOUT_S,
                **feeds,
            )
            return reply.value

        try:
            simulation = call("simulate", feeds=reference.feeds[: simulated.IMAGES])
        except WorkerFailedError as error:
            if not self._third_party:
                raise
            self.not_asked["simulated"] = f"this file's graph cannot be followed: {error}"
            return
        claims, reason = simulated.agree(reference, self.outputs, simulation)
        if reason and (simulation.unmatched or simulation.elsewhere) and not self._third_party:
            claims = [simulated.inconclusive(reason)]
        elif reason:
            self.not_asked["simulated"] = reason
        self.claims += claims
        if simulated.missed(self.claims):
            coarse = simulated.too_coarse(self.claims)
            simulated.explain_missed(self.claims, call("coarsest", feed=reference.feeds[0]) if coarse else "")

    # --- the same input in another setting ----------------------------------------------------

    def _batches(self) -> None:
        if self._dynamic:
            sizes = self._budget.batches
            self.claims += metamorphic.batches(
                self._run, self._truth.reference, self.outputs, sizes=sizes, tolerance=self._tolerance
            )

    def _repetition(self) -> None:
        self.claims += metamorphic.again(self._run, self._truth.reference, self.outputs)

    def _padding(self) -> None:
        claims, not_asked = self._by_kind.padding(self._run, self._truth, self.outputs, self._tolerance)
        self.claims += claims
        self.not_asked |= not_asked

    def _threads(self) -> None:
        self.claims += metamorphic.threads(
            self._run, self._truth.reference, self.outputs, self._tolerance, ran=self._budget.threads
        )

    def _kernels(self) -> None:
        kind = self._bench.converters[self._cell.format].plain_kernels
        if kind is None:
            return
        if reason := kernels.skipped(self._cell, kind):
            self.not_asked["kernels"] = reason
            return
        reference = self._truth.reference
        feeds = reference.feeds[: kernels.IMAGES]
        plain = self._bench.run(
            self._cell.format, self._path, feeds, threads=RUN_THREADS, kernels=kernels.REFERENCE
        )
        self.claims += kernels.agree(reference, self.outputs, plain, self._tolerance, loops=kind.sequential)

    # --- other inputs -------------------------------------------------------------------------

    def _problem(self, image: GeneratedImage) -> str:
        """What is wrong on an image; "" if outputs are finite, in range and, for float files, right."""
        signature = self._truth.subject.signature
        try:
            outputs = self._together(image.array)
        except WorkerFailedError as error:
            return f"does not run: {error}"
        runs = [(image.description, outputs)]
        claims = [
            basic.outputs_as_declared(runs, signature, len(image.array)),
            basic.finite(runs),
            *basic.in_range(runs, signature),
        ]
        for claim in claims:
            if not claim.passed:
                return f"{claim.name}: {claim.observed}, but should be {claim.bound} {claim.detail}"
        if not isinstance(self._tolerance, FloatTolerance):
            return ""
        return self._off_reference(image.feeds, outputs, self._tolerance)

    def _off_reference(self, feed: Mapping[str, Any], outputs: Outputs, tolerance: FloatTolerance) -> str:
        """How a float file's outputs on one feed leave the tolerance; "" if they do not."""
        reference = self._truth.reference
        expected, floors = self._truth.generated.of(feed)
        pair = reference.kind.paired(outputs, expected)
        if matched := self._by_kind.share_matched(reference, pair, floors, tolerance):
            share, least = matched
            if share < least:
                return f"{share:.3g} of the detections match, but should be {least:g}"
        bound = tolerance.generated_floors
        for name in floors:
            ratio = pair.rms(name) / max(floors[name], reference.floors[name])
            if not ratio <= bound:
                return f"{name} is {ratio:.3g} floors off, but should be within {bound:g}"
        return ""

    def _together(self, images: Array) -> Outputs:
        """Outputs of [N, ...] images; one at a time where the format takes no batch."""
        if self._dynamic:
            return self._run([{"image": images}])[0]
        singles = self._run([{"image": image[None]} for image in images])
        return {name: np.concatenate([outputs[name] for outputs in singles]) for name in singles[0]}

    def _another_size(self) -> None:
        if not (self._dynamic and self._free_size):
            return
        image = self._truth.reference.feeds[0]["image"]
        height, width = image.shape[2] * 3 // 4, image.shape[3] * 7 // 8
        problem = self._problem(
            GeneratedImage(f"{height} x {width} pixels of a photograph", image[:, :, :height, :width].copy())
        )
        self.claims.append(
            Claim(
                "any_size",
                basic.verdict(not problem),
                problem or "holds",
                f"holds at {height} x {width} pixels",
                "the network takes images of any size; exporters silently freeze the traced one",
            )
        )

    def _generated_inputs(self) -> None:
        """Constant, extreme and synthetic images: finite and in range; float files also within the floor."""
        falsified = falsify(self._truth.subject, self._problem, self._budget.draws, self._budget.seed)
        because = "a network meets more than photographs: black, white, noise, edges, values out of range"
        self.claims.append(
            Claim(
                "generated_inputs",
                basic.verdict(falsified is None),
                "all hold" if falsified is None else falsified.image.description,
                f"{self._budget.draws} drawn inputs hold",
                because,
                detail=falsified.message if falsified else "",
            )
        )

    def _worst_inputs(self) -> None:
        """The worst inputs that searches have found."""
        if not self._budget.replay:
            return
        inputs = worst_inputs.stored(self._cell.id)
        if not inputs:
            self.not_asked["worst_input"] = f"none is stored; `modelparity search {self._cell.id}` finds one"
        claims, self.worst = worst.replayed(
            self._bench, self._truth, self._tolerance, run=self._run, inputs=inputs, claims=self.claims
        )
        self.claims += claims

    def _constant_image(self) -> None:
        claims, not_asked = self._by_kind.constant_image(self._run, self._truth, self._tolerance)
        self.claims += claims
        self.not_asked |= not_asked
