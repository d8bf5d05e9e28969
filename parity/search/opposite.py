"""Finds images on which the network decides otherwise, where it decides alike on the whole evaluation set.

If every label of the evaluation set is the same, a file that always gives this label passes. So pictures
unlike photographs are tried until the network itself, in float32, takes the other decision on some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Key
from modelparity.converters.engine.workbench import NETWORKS, Workbench, network_digest, versions_text
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.inputs.image_recipes import Recipe, Step, recipe_of
from modelparity.fixtures.specs import ModelSpec
from modelparity.parity.claims.decisions import Side
from modelparity.parity.noise_floor import Noise, float32_runs, noises
from modelparity.parity.reference import Reference

KEPT = 2  # images for each decision
_FILE = "opposite.json"
_LEVELS = (0, 128, 255)
CANDIDATES = (
    *(Recipe(Step("constant", colour)) for colour in product(_LEVELS, repeat=3)),
    *(Recipe(Step("noise", (seed,))) for seed in range(2)),
    *(Recipe(Step("bounds", (seed,))) for seed in range(2)),
    *(Recipe(Step("checkerboard", (period,))) for period in (1, 2, 3, 5, 8, 16, 32)),
    *(Recipe(Step("photograph_like", (seed, cells))) for seed, cells in product(range(2), (2, 8))),
)


def opposite(
    bench: Workbench, subject: ModelUnderTest, reference: Reference, sides: Sequence[Side]
) -> Reference | None:
    """The reference of images on which a decision of `sides` is the other one; None if no candidate is.

    They are searched once for a network and its weights, then read from the store.
    """
    if not sides:
        return None
    parts = {
        "checkpoint": subject.weights_digest,
        "network": network_digest(subject.spec),
        "definition": subject.definition,
        "sides": repr(sides),
        "harness": source_digest("modelparity.parity.search.opposite", apart=[NETWORKS]),
        "toolchain": versions_text(("torch",)),
    }

    def make(folder: Path) -> dict[str, Any]:
        reply = bench.workers["torch"].call(
            "modelparity.parity.search.opposite:find",
            subject.spec,
            subject.checkpoint,
            subject.input_size,
            sides,
            timeout=CONVERT_TIMEOUT_S,
        )
        (folder / _FILE).write_text(json.dumps(reply.value), encoding="utf-8")
        return {}

    entry = bench.store.get(Key(f"{subject.label} images of the other decision", parts), make)
    recipes = [recipe_of(data) for data in json.loads(entry.path(_FILE).read_text(encoding="utf-8"))]
    if not recipes:
        return None
    feeds = tuple({"image": recipe.feed(subject.photographs, subject.input_size)} for recipe in recipes)
    truth = bench.reference(subject, feeds, precision="float64")
    own = noises(subject.spec, truth, float32_runs(partial(bench.reference, subject), feeds, repeat=False))
    return replace(
        reference,
        names=tuple(recipe.words for recipe in recipes),
        feeds=feeds,
        outputs={name: tuple(outputs[name] for outputs in truth) for name in reference.outputs},
        noise={name: Noise.greater(own[name], usual) for name, usual in reference.noise.items()},
    )


def find(
    spec: ModelSpec, checkpoint: Path | None, input_size: int, sides: Sequence[Side]
) -> list[dict[str, Any]]:
    """For each side up to `KEPT` candidates on its other side, as data. Runs in the torch worker.

    They are the farthest of those that were tried until every side had so many.
    """
    from modelparity.converters.engine.network import run

    margins: list[dict[Recipe, float]] = [{} for _ in sides]
    for recipe in CANDIDATES:
        (outputs,) = run(spec, checkpoint, [{"image": recipe.feed(spec, input_size)}])
        for side, found in zip(sides, margins, strict=True):
            if (margin := _margin(side, outputs)) > 0:
                found[recipe] = margin
        if all(len(found) >= KEPT for found in margins):
            break
    chosen: dict[Recipe, None] = {}
    for found in margins:
        chosen |= dict.fromkeys(sorted(found, key=found.__getitem__, reverse=True)[:KEPT])
    return [recipe.as_data() for recipe in chosen]


def _margin(side: Side, outputs: Mapping[str, Array]) -> float:
    """How far the value that is farthest on the other side is beyond the threshold."""
    off = outputs[side.output][:, side.start : side.end] - side.threshold
    return float((-off if side.above else off).max())
