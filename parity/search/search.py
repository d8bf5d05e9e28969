"""The climb towards the input on which a cell errs most, within a time budget.

It starts from the stream's photographs and what earlier searches have stored. Hypothesis draws recipes and
mutates those with the greatest error (`target`; Löscher and Sagonas, "Targeted property-based testing",
ISSTA 2017). Then tiles are laid over the best of them that `modelparity.parity.search.gradient_ascent` climbs with, except for
detections, whose rows change places. The winner is told in as few words as keep `KEPT` of its error.

Each part has its networks. On ObjectFormer in int8_dynamic (ONNX) 28 draws found nothing worse than the
stream's worst, at 0.71 of the error that it may have, and one tile over that image 1.45. On Tiny-LaDeDa's
files pictures of extremes, such as a checkerboard, are worst, and tiles added 1 % at most.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings, target

from modelparity.converters.engine.workbench import Calibration, Feeds, Outputs, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, WorkerCrashedError, WorkerFailedError
from modelparity.fixtures.inputs.image_recipes import PHOTOGRAPHS, Recipe, Step, recipes, simpler
from modelparity.parity.cells import Cell
from modelparity.parity.judge import RUN_THREADS
from modelparity.parity.reference import ReferenceData
from modelparity.parity.search.worst_inputs import MATCHED, Score, height, trouble_in
from modelparity.parity.tolerances import FloatTolerance, QuantizedTolerance

DRAWN_SHARE, ASCENDED_SHARE = 0.5, 0.85  # of the budget, when each ends; the rest is for shrinking
KEPT = 0.95  # of the error, that a simpler recipe must keep
SHRINK_RUNS = 25  # that shrinking may spend though the time is up
FEWEST = 8  # draws in any budget, so that a slow network is searched at all
MOST = 20_000
_BLACK, _WHITE = (Recipe(Step("constant", (level,) * 3)) for level in (0, 255))
# What files were seen to err on most; a slow network is drawn few others.
_EXTREMES = (_WHITE, Recipe(Step("bounds", (0,))), *(Recipe(Step("checkerboard", (n,))) for n in (5, 1, 16)))
_GREATEST = 1e300  # hypothesis climbs on finite numbers only


class _SpentError(BaseException):
    """Ends the draws from within; not an Exception, so hypothesis lets it through."""


@dataclass(frozen=True)
class Found:
    """The worst input; `runs` inputs were tried, `by` says who found it, and what before it was `unshrunk`.

    `stream` has the worst error of each output over the stream, `stream_words` the image with the worst.
    """

    recipe: Recipe
    height: Score
    stream: Score
    stream_words: str
    runs: int
    by: str
    unshrunk: Recipe


class Search:
    """One search: every input that was tried, with its height, best first in `best`."""

    def __init__(
        self,
        bench: Workbench,
        truth: ReferenceData,
        cell: Cell,
        path: Path,
        tolerance: FloatTolerance | QuantizedTolerance,
        calibration: Calibration,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._bench = bench
        self._truth = truth
        self._cell = cell
        self._path = path
        self._tolerance = tolerance
        self._calibration = calibration
        self._on_stage = on_stage
        self.tried: dict[Recipe, Score] = {}
        self.by: dict[Recipe, str] = {}

    def search(self, seconds: float, starts: Sequence[Recipe] = ()) -> Found:
        """Climbs for so many seconds, a little more if a run takes long; raises as the torch worker does.

        One of `starts` that errs nearly as much as the winner is told instead of it: it is kept already.
        """
        stream = self._of_the_stream()
        self.of(_BLACK, "drawn")  # loads the network, which is not searching
        start = time.monotonic()
        deadline = start + seconds
        for recipe in starts:
            self.of(recipe, "stored")
        self._drawn(start + DRAWN_SHARE * seconds)
        if self._truth.subject.spec.task != "detection":
            self._ascended(start + ASCENDED_SHARE * seconds)
        winner = self.best[0]
        enough = self.tried[winner].share * KEPT
        known = [recipe for recipe in starts if self.tried[recipe].share >= enough]
        simplest = known[0] if known else self._shrunk(winner, enough, deadline)
        worst = max(stream, key=lambda recipe: stream[recipe].share)
        return Found(
            simplest,
            self.tried[simplest],
            Score(stream[worst].share, self._worst_by_output(list(stream.values())), stream[worst].trouble),
            self._truth.reference.names[worst.base.numbers[0]],
            len(self.tried),
            self.by[winner],
            winner,
        )

    def _worst_by_output(self, heights: Sequence[Score]) -> dict[str, float]:
        """The worst error of each output, as the claims about the stream have it."""
        found: dict[str, float] = {}
        greater = isinstance(self._tolerance, FloatTolerance)
        for name, error in (pair for each in heights for pair in each.errors.items()):
            worse = max if greater and name != MATCHED else min
            found[name] = worse(found.get(name, error), error)
        return found

    @property
    def best(self) -> list[Recipe]:
        """What was tried, worst error first."""
        return sorted(self.tried, key=lambda recipe: (-self.tried[recipe].share, recipe.length))

    def of(self, recipe: Recipe, by: str) -> Score:
        """The height of an input, run at most once."""
        if recipe not in self.tried:
            before = self.tried[self.best[0]].share if self.tried else 0.0
            self.tried[recipe], self.by[recipe] = self._run(recipe), by
            if self.tried[recipe].share > before:
                words = f"{self.tried[recipe].share:.3g} of the budget after {len(self.tried)} inputs"
                self._on_stage(f"{self._cell.id}: {words}, {by}: {recipe.words}")
        return self.tried[recipe]

    def _run(self, recipe: Recipe) -> Score:
        subject = self._truth.subject
        feed = {"image": recipe.feed(subject.spec, subject.input_size)}
        try:
            (outputs,) = self._outputs([feed])
        except (WorkerFailedError, WorkerCrashedError) as error:
            return Score(math.inf, {}, f"does not run: {error}")
        if trouble := trouble_in(recipe.words, outputs, subject.signature):
            return Score(math.inf, {}, trouble)
        truth, floors = self._true(feed)
        return self._height(outputs, truth, floors)

    def _height(self, outputs: Outputs, truth: Outputs, floors: Mapping[str, float]) -> Score:
        return height(self._truth.reference, self._tolerance, outputs, truth, floors)

    def _outputs(self, feeds: Sequence[Feeds]) -> Sequence[Outputs]:
        return self._bench.run(self._cell.format, self._path, feeds, threads=RUN_THREADS)

    def _true(self, feed: Feeds) -> tuple[Outputs, Mapping[str, float]]:
        """Float64 outputs, and float32's floors where the cell is judged by them."""
        from modelparity.parity.noise_floor import noise_floors

        subject, judged_by_floors = self._truth.subject, isinstance(self._tolerance, FloatTolerance)
        arguments = (subject.spec, subject.checkpoint, feed, judged_by_floors)
        reply = self._bench.workers["torch"].call(
            "modelparity.parity.search.reference_outputs:reference_outputs",
            *arguments,
            timeout=CONVERT_TIMEOUT_S,
        )
        truth, *variants = reply.value
        floors = noise_floors(subject.spec.task, [truth], [[v] for v in variants]) if variants else {}
        return truth, floors

    def _of_the_stream(self) -> dict[Recipe, Score]:
        """The stream's images, of which the truth is known."""
        reference = self._truth.reference
        outputs = self._outputs(reference.feeds)
        found = {}
        for index, got in enumerate(outputs[:PHOTOGRAPHS]):
            recipe = Recipe(Step("photograph", (index,)))
            truth = {name: values[index] for name, values in reference.outputs.items()}
            trouble = trouble_in(recipe.words, got, self._truth.subject.signature)
            found[recipe] = Score(math.inf, {}, trouble) if trouble else self._height(got, truth, {})
        self.tried |= found
        self.by |= dict.fromkeys(found, "stream")
        return found

    def _drawn(self, until: float) -> None:
        before = time.monotonic()
        for recipe in _EXTREMES:
            self.of(recipe, "drawn")
        each = max((time.monotonic() - before) / len(_EXTREMES), 1e-3)
        # Hypothesis begins to climb when half of its examples are drawn.
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
        def climb(recipe: Recipe) -> None:
            if time.monotonic() > until and len(self.tried) >= fewest:
                raise _SpentError
            target(min(self.of(recipe, "drawn").share, _GREATEST))

        with contextlib.suppress(_SpentError):
            climb()

    def _ascended(self, until: float) -> None:
        """Tiles over the best inputs, one of each photograph or pattern, as long as there is time."""
        parents: dict[tuple[Step, ...], Recipe] = {}
        for recipe in self.best:
            parents.setdefault((recipe.base,), recipe)
        for place, parent in enumerate(parents.values()):
            if place and time.monotonic() > until:  # one in any budget: on a slow network it finds the most
                return
            self._ascend(parent)

    def _ascend(self, parent: Recipe) -> None:
        subject, reference = self._truth.subject, self._truth.reference
        plain = replace(parent, edits=tuple(step for step in parent.edits if step.kind != "tile"))
        reply = self._bench.workers["torch"].call(
            "modelparity.parity.search.gradient_ascent:gradient_ascent",
            subject.spec,
            subject.checkpoint,
            plain.levels(subject.spec, subject.input_size),
            self._cell.quantization,
            self._calibration.feeds,
            {name: max(reference.spread(name), floor) for name, floor in reference.floors.items()},
            timeout=CONVERT_TIMEOUT_S,
        )
        tile = tuple(int(n) for n in reply.value.ravel())
        if any(tile):
            self.of(Recipe(plain.base, (*plain.edits, Step("tile", tile))), "gradient")

    def _shrunk(self, winner: Recipe, least: float, until: float) -> Recipe:
        """The shortest recipe found that errs by `least`; at least `SHRINK_RUNS` are tried."""
        allowed = len(self.tried) + SHRINK_RUNS
        kept, tried = winner, {winner}
        while True:
            shorter = (recipe for recipe in self._simpler(kept) if recipe.length < kept.length)
            for recipe in (recipe for recipe in shorter if recipe not in tried):
                if time.monotonic() > until and len(self.tried) >= allowed:
                    return kept
                tried.add(recipe)
                if self.of(recipe, "shrinking").share >= least:
                    kept = recipe
                    break
            else:
                return kept

    def _simpler(self, recipe: Recipe) -> Iterator[Recipe]:
        """Its mean colour alone, then what is shorter to tell."""
        subject = self._truth.subject
        colour = recipe.levels(subject.spec, subject.input_size).mean(axis=(1, 2))
        yield Recipe(Step("constant", tuple(round(float(level)) for level in colour)))
        yield from simpler(recipe)
