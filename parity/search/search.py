"""Searches for the input with the greatest error of a cell's file, within a time budget.

The search starts from the photographs of the evaluation set and from inputs that earlier searches have
stored. Hypothesis generates recipes and mutates those with the greatest error (`target`; Löscher and Sagonas,
"Targeted property-based testing", ISSTA 2017). Then `modelparity.parity.search.gradient_ascent` adds tiles to
the best of them, unless the outputs have no useful gradient (`OutputKind.gradient_search`). At last the
winner is shrunk to the simplest recipe that keeps `KEPT` of its error.

Each part pays off on some networks. On ObjectFormer in int8_dynamic (ONNX), 28 generated inputs were no worse
than the worst of the evaluation set; one tile over that image doubled its error. On
Tiny-LaDeDa's files extreme pictures, such as a checkerboard, are worst, and tiles add 1 % at most.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings, target

from modelparity.converters.engine.workbench import Calibration, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerCrashedError, WorkerFailedError
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.inputs.image_recipes import PHOTOGRAPHS, Recipe, Step, recipes, simpler
from modelparity.parity.cells import RUN_THREADS, Cell
from modelparity.parity.noise_floor import Noise, noises
from modelparity.parity.output_kinds import OUTPUT_KINDS
from modelparity.parity.reference import ReferenceData
from modelparity.parity.search.worst_inputs import MATCHED, Score, problem_in, score_of

# Of the time budget, when generation and ascent end; the rest is for shrinking.
GENERATED_SHARE, ASCENDED_SHARE = 0.5, 0.85
KEPT = 0.95  # of the error, that a simpler recipe must keep
SHRINK_RUNS = 25  # that shrinking may use even if the time is up
FEWEST = 8  # generated inputs in any budget, so that a slow network is searched at all
MOST = 20_000
_BLACK, _WHITE = (Recipe(Step("constant", (level,) * 3)) for level in (0, 255))
# Inputs on which files were seen to have the greatest errors; a slow network gets few others.
_EXTREMES = (_WHITE, Recipe(Step("bounds", (0,))), *(Recipe(Step("checkerboard", (n,))) for n in (5, 1, 16)))
_GREATEST = 1e300  # hypothesis needs finite targets


class _SpentError(BaseException):
    """Ends generation from within; not an Exception, so that hypothesis lets it through."""


@dataclass(frozen=True)
class SearchResult:
    """The worst input of a search.

    Attributes:
        recipe: The input, after shrinking; `unshrunk` is it before.
        score: Its score.
        evaluation_set: The worst error of each output over the evaluation set.
        worst_image: The image of the evaluation set with the greatest error.
        runs: How many inputs were tried.
        by: What found it: "stored", "drawn", "stream" or "gradient".
    """

    recipe: Recipe
    score: Score
    evaluation_set: Score
    worst_image: str
    runs: int
    by: str
    unshrunk: Recipe


class Search:
    """One search. `tried` has every input with its score; `best` sorts them, greatest error first."""

    def __init__(
        self,
        bench: Workbench,
        truth: ReferenceData,
        cell: Cell,
        path: Path,
        *,
        calibration: Calibration,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._bench = bench
        self._truth = truth
        self._cell = cell
        self._path = path
        self._is_float = QUANTIZATIONS[cell.quantization].is_float
        self._calibration = calibration
        self._on_stage = on_stage
        self.tried: dict[Recipe, Score] = {}
        self.by: dict[Recipe, str] = {}

    def search(self, seconds: float, starts: Sequence[Recipe] = ()) -> SearchResult:
        """Searches for so many seconds, a little more if a run takes long; raises what the torch worker
        raises.

        If one of `starts`, which are stored already, has nearly the winner's error, it is returned instead.
        """
        scores = self._evaluation_set()
        self.of(_BLACK, "drawn")  # loads the network before the clock starts
        start = time.monotonic()
        deadline = start + seconds
        for recipe in starts:
            self.of(recipe, "stored")
        self._generated(start + GENERATED_SHARE * seconds)
        if OUTPUT_KINDS[self._truth.subject.spec.task].gradient_search:
            self._ascended(start + ASCENDED_SHARE * seconds)
        winner = self.best[0]
        enough = self.tried[winner].share * KEPT
        known = [recipe for recipe in starts if self.tried[recipe].share >= enough]
        simplest = known[0] if known else self._shrunk(winner, enough, deadline)
        worst = max(scores, key=lambda recipe: scores[recipe].share)
        return SearchResult(
            simplest,
            self.tried[simplest],
            Score(scores[worst].share, self._worst_by_output(list(scores.values())), scores[worst].problem),
            self._truth.reference.names[worst.base.numbers[0]],
            len(self.tried),
            self.by[winner],
            winner,
        )

    def _worst_by_output(self, scores: Sequence[Score]) -> dict[str, float]:
        """The worst error of each output, in the unit of its claims."""
        worst: dict[str, float] = {}
        for name, error in (pair for each in scores for pair in each.errors.items()):
            worse = max if self._is_float and name != MATCHED else min
            worst[name] = worse(worst.get(name, error), error)
        return worst

    @property
    def best(self) -> list[Recipe]:
        """The inputs that were tried, greatest error first."""
        return sorted(self.tried, key=lambda recipe: (-self.tried[recipe].share, recipe.length))

    def of(self, recipe: Recipe, by: str) -> Score:
        """The score of an input, which runs at most once; `by` says what proposed it."""
        if recipe not in self.tried:
            before = self.tried[self.best[0]].share if self.tried else 0.0
            self.tried[recipe], self.by[recipe] = self._run(recipe), by
            if self.tried[recipe].share > before:
                words = (
                    f"{self.tried[recipe].share:.3g} of the {self._measure} after {len(self.tried)} inputs"
                )
                self._on_stage(f"{self._cell.id}: {words}, {by}: {recipe.words}")
        return self.tried[recipe]

    @property
    def _measure(self) -> str:
        return "bound" if self._is_float else "spread"

    def _run(self, recipe: Recipe) -> Score:
        subject = self._truth.subject
        feed = {"image": recipe.feed(subject.photographs, subject.input_size)}
        try:
            (outputs,) = self._outputs([feed])
        except (WorkerFailedError, WorkerCrashedError) as error:
            return Score(math.inf, {}, f"does not run: {error}")
        if problem := problem_in(recipe.words, outputs, subject.signature):
            return Score(math.inf, {}, problem)
        truth, noise = self._reference(feed)
        return self._score(outputs, truth, noise)

    def _score(self, outputs: Outputs, truth: Outputs, noise: Mapping[str, Noise]) -> Score:
        return score_of(
            self._truth.reference, is_float=self._is_float, outputs=outputs, truth=truth, noise=noise
        )

    def _outputs(self, feeds: Sequence[Feeds]) -> Sequence[Outputs]:
        return self._bench.run(self._cell.format, self._path, feeds, threads=RUN_THREADS)

    def _reference(self, feed: Feeds) -> tuple[Outputs, Mapping[str, Noise]]:
        """Float64 outputs, and float32's noise where the cell is judged by it."""
        subject = self._truth.subject
        arguments = (subject.spec, subject.checkpoint, feed, self._is_float)
        reply = self._bench.workers["torch"].call(
            "modelparity.parity.search.reference_outputs:reference_outputs",
            *arguments,
            timeout=CONVERT_TIMEOUT_S,
        )
        truth, *variants = reply.value
        return truth, noises(subject.spec, [truth], [[v] for v in variants]) if variants else {}

    def _evaluation_set(self) -> dict[Recipe, Score]:
        """Scores of the evaluation set's photographs, whose references are known."""
        reference = self._truth.reference
        outputs = self._outputs(reference.feeds)
        scores = {}
        for index, got in enumerate(outputs[:PHOTOGRAPHS]):
            recipe = Recipe(Step("photograph", (index,)))
            truth = {name: values[index] for name, values in reference.outputs.items()}
            problem = problem_in(recipe.words, got, self._truth.subject.signature)
            scores[recipe] = Score(math.inf, {}, problem) if problem else self._score(got, truth, {})
        self.tried |= scores
        self.by |= dict.fromkeys(scores, "stream")
        return scores

    def _generated(self, until: float) -> None:
        before = time.monotonic()
        for recipe in _EXTREMES:
            self.of(recipe, "drawn")
        each = max((time.monotonic() - before) / len(_EXTREMES), 1e-3)
        # Hypothesis begins to mutate when half of its examples are generated.
        draws = min(MOST, max(FEWEST, int((until - time.monotonic()) / each)))
        fewest = len(self.tried) + FEWEST

        @seed(0)
        @settings(
            max_examples=draws,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.target),
            suppress_health_check=list(HealthCheck),
        )
        @given(recipe=recipes())
        def generate(recipe: Recipe) -> None:
            if time.monotonic() > until and len(self.tried) >= fewest:
                raise _SpentError
            target(min(self.of(recipe, "drawn").share, _GREATEST))

        with contextlib.suppress(_SpentError):
            generate()

    def _ascended(self, until: float) -> None:
        """Adds tiles to the best inputs, one of each photograph or pattern, as long as there is time."""
        parents: dict[tuple[Step, ...], Recipe] = {}
        for recipe in self.best:
            parents.setdefault((recipe.base,), recipe)
        for place, parent in enumerate(parents.values()):
            if (
                place and time.monotonic() > until
            ):  # at least one in any budget, because on a slow network it finds the most
                return
            self._ascend(parent)

    def _ascend(self, parent: Recipe) -> None:
        subject, reference = self._truth.subject, self._truth.reference
        plain = replace(parent, edits=tuple(step for step in parent.edits if step.kind != "tile"))
        reply = self._bench.workers["torch"].call(
            "modelparity.parity.search.gradient_ascent:gradient_ascent",
            subject.spec,
            subject.checkpoint,
            plain.levels(subject.photographs, subject.input_size),
            quantization=self._cell.quantization,
            calibration=self._calibration.feeds,
            scales={name: max(reference.spread(name), floor) for name, floor in reference.floors.items()},
            timeout=CONVERT_TIMEOUT_S,
        )
        tile = tuple(int(n) for n in reply.value.ravel())
        if any(tile):
            self.of(Recipe(plain.base, (*plain.edits, Step("tile", tile))), "gradient")

    def _shrunk(self, winner: Recipe, least: float, until: float) -> Recipe:
        """The shortest recipe found whose error is at least `least`; `SHRINK_RUNS` are tried in any case."""
        allowed = len(self.tried) + SHRINK_RUNS
        shortest, tried = winner, {winner}
        while True:
            shorter = (recipe for recipe in self._simpler(shortest) if recipe.length < shortest.length)
            for recipe in (recipe for recipe in shorter if recipe not in tried):
                if time.monotonic() > until and len(self.tried) >= allowed:
                    return shortest
                tried.add(recipe)
                if self.of(recipe, "shrinking").share >= least:
                    shortest = recipe
                    break
            else:
                return shortest

    def _simpler(self, recipe: Recipe) -> Iterator[Recipe]:
        """The recipe's mean colour alone, then its own simplifications."""
        subject = self._truth.subject
        colour = recipe.levels(subject.photographs, subject.input_size).mean(axis=(1, 2))
        yield Recipe(Step("constant", tuple(round(float(level)) for level in colour)))
        yield from simpler(recipe)
