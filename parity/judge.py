"""Judges one file as one cell: the basic, in the order in which the design asks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.engine.workbench import PROGRAM, Calibration, Outputs, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerFailedError
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.inputs.strategies import GeneratedImage
from modelparity.modelfiles.description import Description
from modelparity.modelfiles.graph import Ranges
from modelparity.modelfiles.model_card import card_of
from modelparity.parity.cells import Cell
from modelparity.parity.claims import basic, constant_image, kernels, lineage, metamorphic, preprocessing
from modelparity.parity.claims.decisions import decisions
from modelparity.parity.claims.generated_inputs import falsify
from modelparity.parity.metrics.detection_matching import paired
from modelparity.parity.metrics.errors import Array, OutputError
from modelparity.parity.reference import Reference, ReferenceData
from modelparity.parity.results import Claim, SampleRecord, WorstRecord
from modelparity.parity.search import worst_inputs as worst
from modelparity.parity.simulation import claim as simulated
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

RUN_THREADS = 1  # toolchains are proven side by side, a core each


@dataclass(frozen=True)
class CheckBudget:
    """How hard a cell is looked at: stream length, drawn and found inputs, batches, a second conversion.

    Another `seed` is another stream and other draws; `threads` are those that the file runs on.
    """

    stream: int = 12
    draws: int = 5
    batches: tuple[int, ...] = (3, 5)  # the stream itself runs at 1
    convert_again: bool = True
    replay: bool = True
    seed: int = 0
    threads: int = RUN_THREADS


class Judge:
    """Judges one file as one cell. `claims`, `samples` and `outputs` grow as it goes, and outlive a crash.

    `calibration` is what a static recipe saw. A `third_party` file may be anybody's, made from other images.
    """

    def __init__(
        self,
        bench: Workbench,
        truth: ReferenceData,
        cell: Cell,
        path: Path,
        tolerance: FloatTolerance | QuantizedTolerance,
        check_budget: CheckBudget,
        calibration: Calibration,
        third_party: bool = False,
    ) -> None:
        self._bench = bench
        self._truth = truth
        self._cell = cell
        self._path = path
        self._tolerance = tolerance
        self._effort = check_budget
        self._calibration = calibration
        self._third_party = third_party
        self._dynamic = bench.converters[cell.format].dynamic_batch
        self._free_size = truth.subject.spec.free_size
        self.stage = "load"
        self.claims: list[Claim] = []
        self.samples: list[SampleRecord] = []
        self.worst: list[WorstRecord] = []
        self.description: Description | None = None
        self.headline = ""
        self.outputs: Sequence[Outputs] = ()  # of the stream, once it ran
        self.not_asked: dict[str, str] = {}

    def judge(self) -> None:
        """Raises what a worker raises; claims made until then stand."""
        self.description = self._bench.describe(self._path)
        self._declared(self.description)
        self._prepared()
        if self._cell.quantization != "fp32":
            self.stage = "lineage"
            self._lineage()
        self.stage = "run"
        reference = self._truth.reference
        self.outputs = outputs = self._run(reference.feeds, fresh=True)
        runs = list(zip(reference.names, outputs, strict=True))
        signature = self._truth.subject.signature
        declared = basic.outputs_as_declared(runs, signature)
        self.claims.append(declared)
        self.claims.append(basic.finite(runs))
        if not declared.passed:
            return  # nothing left can be compared like with like
        self.claims += basic.in_range(runs, signature)
        if reference.task == "detection":
            self.claims.append(basic.ordered_corners(runs))
        self._parity(outputs)
        if self._cell.quantization != "fp32":
            self._simulated(outputs)
        if self._dynamic:
            sizes = self._effort.batches
            self.claims += metamorphic.batches(self._run, reference, outputs, sizes, self._tolerance)
        self.claims += metamorphic.again(self._run, reference, outputs)
        if self._dynamic and self._free_size:
            self.claims.append(self._another_size())
        self._drawn()
        if self._effort.replay:
            self._replayed()
        made, left = constant_image.image(self._run, self._truth, self._tolerance)
        self.claims += made
        self.not_asked |= left
        made, why = metamorphic.padding(self._run, reference, self._truth.drawn.of, outputs, self._tolerance)
        self.claims += made
        if why:
            self.not_asked["padding"] = why
        self.claims += metamorphic.threads(
            self._run, reference, outputs, self._tolerance, self._effort.threads
        )
        if self._bench.converters[self._cell.format].reference_kernels:
            if reason := kernels.skipped(self._cell):
                self.not_asked["kernels"] = reason
            else:
                self.claims += self._kernels(outputs)

    def _run(
        self, feeds: Sequence[Mapping[str, Any]], fresh: bool = False, threads: int | None = None
    ) -> list[Outputs]:
        threads = threads or self._effort.threads
        return self._bench.run(self._cell.format, self._path, feeds, threads=threads, fresh=fresh)

    def _declared(self, description: Description) -> None:
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

    def _prepared(self) -> None:
        """What the file says of itself, and what photographs become by it."""
        found = card_of(self._path)
        if found is None and self._third_party:
            for name in ("card", "preprocessing"):
                self.not_asked[name] = "the file says nothing of its preparation: others made it"
            return
        subject, cell = self._truth.subject, self._cell
        self.claims.append(
            preprocessing.card(found, self._bench.card(subject, cell.format, cell.quantization))
        )
        if found is not None:
            self.claims += preprocessing.preprocessing(self._bench, subject, found)

    def _lineage(self) -> None:
        """A quantized file against the float file that it was made from."""
        worker = self._bench.workers[self._cell.format]
        made_from, _ = self._bench.artifact(self._truth.subject, self._cell.format, "fp32")
        source = made_from.path

        def call(function: str, *arguments: Any) -> Any:
            return worker.call(function, *arguments, timeout=CONVERT_TIMEOUT_S).value

        def observe(names: list[str]) -> Ranges:
            return self._bench.observed_ranges(made_from, self._calibration, names)

        found = call("modelparity.modelfiles.lineage:lineage", self._path, source)
        if not self._third_party:
            self.claims += lineage.claims(found, observe)
            return
        made, left = lineage.of_third_party_file(
            found, observe, lambda: call("modelparity.parity.claims.lineage:matched", self._path, source)
        )
        self.claims += made
        self.not_asked |= left

    def _parity(self, outputs: Sequence[Outputs]) -> None:
        reference = self._truth.reference
        pairs = reference.paired(outputs)
        errors = reference.errors(pairs)
        self.claims += basic.alive(reference, errors)
        if reference.task == "detection":
            self.claims += basic.detections(reference, pairs, self._tolerance)
        for error in errors:
            self.samples += _sample_records(reference, error)
            if isinstance(self._tolerance, FloatTolerance):
                self.claims.append(basic.float_parity(reference, error, self._tolerance))
            else:
                self.claims += basic.quantized_parity(reference, error, self._tolerance)
        self.claims += decisions(reference, outputs, self._tolerance, self._truth.subject.spec)
        self.headline = self._headline(errors)

    def _simulated(self, outputs: Sequence[Outputs]) -> None:
        """A quantized file against the network in PyTorch, rounding as the file does."""
        subject, reference = self._truth.subject, self._truth.reference
        if reason := simulated.skipped(self._cell, self._truth.elements["elements"]):
            self.not_asked["simulated"] = reason
            return
        program = self._bench.exported(subject).path(PROGRAM)

        def call(function: str, feeds: Any) -> Any:
            arguments = (program, subject.spec, subject.checkpoint, self._path, feeds)
            worker = self._bench.workers["torch"]
            return worker.call(
                f"modelparity.parity.simulation.network:{function}", *arguments, timeout=CONVERT_TIMEOUT_S
            ).value

        try:
            found = call("simulate", reference.feeds[: simulated.IMAGES])
        except WorkerFailedError as error:
            if not self._third_party:
                raise
            self.not_asked["simulated"] = f"this file's graph cannot be followed: {error}"
            return
        made, reason = simulated.agree(reference, outputs, found)
        if reason and (found.unmatched or found.elsewhere) and not self._third_party:
            made = [simulated.undecided(reason)]
        elif reason:
            self.not_asked["simulated"] = reason
        self.claims += made
        if simulated.missed(self.claims):
            coarse = simulated.coarse(self.claims)
            simulated.told(self.claims, call("coarsest", reference.feeds[0]) if coarse else "")

    def _headline(self, errors: Sequence[OutputError]) -> str:
        if not errors:
            return "nothing detected"
        if isinstance(self._tolerance, FloatTolerance):
            floors = self._truth.reference.floors
            return f"{max(error.worst_rms.rms / floors[error.output] for error in errors):.1f} × floor"
        worst = min(errors, key=lambda error: error.sqnr_db)
        return f"{worst.output} {worst.sqnr_db:.1f} dB"

    def _kernels(self, outputs: Sequence[Outputs]) -> list[Claim]:
        reference = self._truth.reference
        feeds = reference.feeds[: kernels.IMAGES]
        plain = self._bench.run(
            self._cell.format, self._path, feeds, threads=RUN_THREADS, kernels=kernels.REFERENCE
        )
        loops = self._cell.format != "onnx"  # whose plain run is the same kernels, not fused
        return kernels.agree(reference, outputs, plain, self._tolerance, loops)

    def _trouble(self, drawn: GeneratedImage) -> str:
        """What is wrong on an image; "" if they are finite, in range and, in float, right."""
        signature = self._truth.subject.signature
        try:
            outputs = self._together(drawn.array)
        except WorkerFailedError as error:
            return f"does not run: {error}"
        runs = [(drawn.description, outputs)]
        found = [
            basic.outputs_as_declared(runs, signature, len(drawn.array)),
            basic.finite(runs),
            *basic.in_range(runs, signature),
        ]
        for claim in found:
            if not claim.passed:
                return f"{claim.name}: {claim.observed}, but should be {claim.bound} {claim.detail}"
        return self._drawn_parity(drawn.feeds, outputs) if isinstance(self._tolerance, FloatTolerance) else ""

    def _together(self, images: Array) -> Outputs:
        """Outputs of [N, ...] images; one at a time where the format takes no batch."""
        if self._dynamic:
            return self._run([{"image": images}])[0]
        apart = self._run([{"image": image[None]} for image in images])
        return {name: np.concatenate([outputs[name] for outputs in apart]) for name in apart[0]}

    def _another_size(self) -> Claim:
        image = self._truth.reference.feeds[0]["image"]
        height, width = image.shape[2] * 3 // 4, image.shape[3] * 7 // 8
        trouble = self._trouble(
            GeneratedImage(f"{height} x {width} pixels of a photograph", image[:, :, :height, :width].copy())
        )
        return Claim(
            "any_size",
            basic.verdict(not trouble),
            trouble or "holds",
            f"holds at {height} x {width} pixels",
            "the network takes images of any size; exporters freeze the traced one silently",
        )

    def _drawn(self) -> None:
        """Constant, extreme and synthetic images: finite and in range; float files also within the floor."""
        falsified = falsify(self._truth.subject, self._trouble, self._effort.draws, self._effort.seed)
        because = "a network meets more than photographs: black, white, noise, edges, values out of range"
        self.claims.append(
            Claim(
                "generated_inputs",
                basic.verdict(falsified is None),
                "all hold" if falsified is None else falsified.drawn.description,
                f"{self._effort.draws} drawn inputs hold",
                because,
                detail=falsified.message if falsified else "",
            )
        )

    def _replayed(self) -> None:
        """The worst inputs that searches have found."""
        truth = self._truth
        inputs = worst_inputs.stored(self._cell.id)
        if not inputs:
            self.not_asked["worst_input"] = f"none is stored; `modelparity search {self._cell.id}` finds one"
        made, self.worst = worst.replayed(
            self._bench,
            truth.subject,
            truth.reference,
            truth.drawn,
            self._tolerance,
            self._run,
            inputs,
            self.claims,
        )
        self.claims += made

    def _drawn_parity(self, feed: Mapping[str, Any], outputs: Outputs) -> str:
        assert isinstance(self._tolerance, FloatTolerance)
        truth, floors = self._truth.drawn.of(feed)
        pair = paired(self._truth.reference.task, outputs, truth)
        share = basic.share_alike(self._truth.reference, pair, floors, self._tolerance)
        if share < self._tolerance.generated_matched:
            return f"{share:.3g} of the detections match, but should be {self._tolerance.generated_matched:g}"
        for name in floors:
            floor = max(floors[name], self._truth.reference.floors[name])
            ratio = pair.rms(name) / floor
            if not ratio <= self._tolerance.generated_floors:
                return f"{name} is {ratio:.3g} floors off, but should be within {self._tolerance.generated_floors:g}"
        return ""


def _sample_records(reference: Reference, error: OutputError) -> list[SampleRecord]:
    def finite(value: float, digits: int) -> float | None:
        rounded = basic.number(value, digits)
        return None if isinstance(rounded, str) else float(rounded)

    return [
        SampleRecord(
            reference.names[sample.sample],
            error.output,
            finite(sample.max_abs, 4),
            finite(sample.sqnr_db, 4),
        )
        for sample in error.samples
    ]
