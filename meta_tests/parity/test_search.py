"""The search climbs to what the stream does not show, tells it in few words, and the gate replays it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

import modelparity.parity.search.search
from meta_tests.miniatures.miniature import SPEC, cell, session_of
from modelparity.cli import app
from modelparity.commands.judging import search as commands_search
from modelparity.errors import BadInputError
from modelparity.fixtures import whole_files
from modelparity.fixtures.inputs import worst_inputs
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.fixtures.inputs.image_recipes import (
    KINDS,
    TILE,
    Recipe,
    Step,
    recipe_of,
    recipes,
    simpler,
    tiled,
)
from modelparity.fixtures.inputs.worst_inputs import WorstInput
from modelparity.fixtures.models import MODELS
from modelparity.parity.cells import all_cells
from modelparity.parity.reference import GENERATED
from modelparity.parity.search.search import KEPT
from modelparity.parity.search.worst_inputs import Score, claim_of

SECONDS = 1.0
DRAWS = 150  # at least, however slow the machine
LIAR = "wrong_when_blue"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with session_of(["honest", LIAR], tmp_path_factory.mktemp("store")) as session:
        yield session


@pytest.fixture(autouse=True)
def _enough(monkeypatch):
    monkeypatch.setattr(modelparity.parity.search.search, "FEWEST", DRAWS)
    monkeypatch.setattr(modelparity.parity.search.search, "SHRINK_RUNS", 60)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where inputs are stored, away from the project's own."""
    monkeypatch.setattr(worst_inputs, "FOLDER", tmp_path / "regressions")
    return tmp_path / "regressions"


def failed(record) -> set[str]:
    return {claim.name for claim in record.claims if claim.status == "failed"}


def test_the_stream_does_not_show_it_the_search_does_and_the_gate_replays_it(session, folder):
    before = session.prove(cell(LIAR))
    assert before.status == "passed", failed(before)
    assert before.not_asked["worst_input"] == (
        "none is stored; `modelparity search miniature-wrong_when_blue-fp32` finds one"
    )

    found = commands_search.searched(session, cell(LIAR), seconds=SECONDS, keep=True)
    assert not found.passed
    assert found.found.evaluation_set.share < 0.5
    assert found.kept == folder / "miniature-wrong_when_blue-fp32.json"

    after = session.prove(cell(LIAR))
    assert failed(after) == {"worst_input"}
    (mask,) = (worst for worst in after.worst if worst.output == "mask")
    assert (mask.unit, mask.input) == ("floors", found.found.recipe.words)
    assert mask.stream < session.truth("miniature").reference.allowed("mask") < GENERATED < mask.found
    # An honest file is right on the same image.
    honest = worst_inputs.path_of(cell("honest").id)
    honest.write_text(found.kept.read_text())
    assert session.prove(cell("honest")).status == "passed"


def test_the_winner_is_told_in_few_words(session):
    found = commands_search.searched(session, cell(LIAR), seconds=SECONDS, keep=False).found
    assert found.recipe.length < found.unshrunk.length
    assert not found.recipe.edits
    assert found.recipe.base.kind == "constant"
    red, _, blue = found.recipe.base.numbers
    assert blue - red > 100


def test_a_worse_input_takes_the_place_of_its_weights_own(session, folder):
    first = commands_search.searched(session, cell("honest"), seconds=1, keep=True)
    assert first.passed
    assert first.kept
    text = first.kept.read_text()
    again = commands_search.searched(session, cell("honest"), seconds=1, keep=True)
    assert again.found.score.share >= first.found.score.share * KEPT
    weaker = WorstInput(Recipe(Step("constant", (0, 0, 0))), "other weights", "nothing")
    merged = worst_inputs.text_with(cell("honest").id, weaker)
    assert len(json.loads(merged)["inputs"]) == len(json.loads(text)["inputs"]) + 1


@pytest.mark.parametrize(
    ("blow", "seen"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "full"), BadInputError)]
)
def test_a_stopped_search_leaves_nothing_half_written(folder, monkeypatch, blow, seen):
    kept = commands_search._stored(cell("honest"), WorstInput(Recipe(Step("constant", (0, 0, 0))), "w", "a"))
    before = kept.read_text()

    def cut(_):
        raise blow

    monkeypatch.setattr(whole_files, "sync", cut)
    other = WorstInput(Recipe(Step("constant", (9, 9, 9))), "w", "b")
    with pytest.raises(seen):
        commands_search._stored(cell("honest"), other)
    assert kept.read_text() == before
    assert list(folder.iterdir()) == [kept]


def test_all_three_runs_are_the_reference_s_own(session):
    subject = session.subject("miniature")
    feed = {"image": Recipe(Step("photograph", (1,))).feed(SPEC, 32)}
    arguments = (subject.spec, None, feed, True)
    found = (
        session.workers["torch"]
        .call("modelparity.parity.search.reference_outputs:reference_outputs", *arguments, timeout=60)
        .value
    )
    kinds = [{"precision": "float64"}, {"fused_kernels": True}, {"fused_kernels": False}]
    for got, options in zip(found, kinds, strict=True):
        (expected,) = session.bench.reference(subject, [feed], **options)
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value)
            assert got[name].dtype == value.dtype


def test_a_tile_climbs_where_the_file_errs(tmp_path):
    """The stand-in's gradient raises the error of the real int8 file."""
    from modelparity.parity.reference import ReferenceData
    from modelparity.parity.search.search import Search

    with session_of(["honest"], tmp_path, "int8_static") as session:
        truth: ReferenceData = session.truth("miniature")
        climb = Search(
            session.bench,
            truth,
            cell("honest", "int8_static"),
            session.artifact("miniature", "honest", "int8_static").path,
            calibration=session.calibration("miniature"),
        )
        plain = Recipe(Step("photograph", (1,)))
        base = climb.of(plain, "stream")
        climb._ascend(plain)
        (tile,) = (recipe for recipe in climb.tried if recipe.edits)
        assert climb.by[tile] == "gradient"
        assert climb.tried[tile].share > 1.5 * base.share
        # The same numbers in another order: it is not their size alone.
        for seed in range(3):
            shuffled = np.random.default_rng(seed).permutation(tile.edits[0].numbers)
            other = Recipe(plain.base, (Step("tile", tuple(map(int, shuffled))),))
            assert climb.of(other, "shuffled").share < 0.9 * climb.tried[tile].share


def test_a_quantized_cell_is_judged_by_what_holds_on_any_input():
    coarse = Score(40.0, {"mask": -3.0})
    assert claim_of(coarse, "an image", is_float=False).passed
    assert claim_of(coarse, "an image", is_float=False).observed == "mask -3 dB"
    broken = replace(coarse, problem="finite: 3, but should be 0")
    assert not claim_of(broken, "an image", is_float=False).passed
    assert claim_of(Score(0.5, {"mask": 30.0}), "an image", is_float=True).passed
    beyond = claim_of(Score(1.5, {"mask": 90.0}), "an image", is_float=True)
    assert not beyond.passed
    assert beyond.detail == "an image; would pass at 1.5 x the bound"


def test_a_cell_is_content_with_what_another_format_s_file_errs_on(session, folder, monkeypatch):
    """If that is nearly its own worst; how near a search of one second comes hangs on the machine."""
    first = commands_search.searched(session, cell(LIAR), seconds=SECONDS, keep=True)
    twin = cell("honest")
    worst_inputs.path_of(twin.id).write_text(first.kept.read_text())
    first.kept.unlink()
    monkeypatch.setattr(modelparity.parity.search.search, "KEPT", 0.1)
    again = commands_search.searched(session, cell(LIAR), seconds=1, keep=True)
    assert again.found.recipe == first.found.recipe
    assert again.kept == first.kept


def search(*arguments: str):
    return CliRunner().invoke(app, ["search", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-cell"], "selects no cell"),
        (["tiny_ladeda-onnx-fp32", "--seconds", "0"], "--seconds 0, but should be at least 1"),
        (["tiny_ladeda-onnx-fp32", "--checkpoint", "here.pt"], "should be MODEL=PATH"),
    ],
)
def test_refusals(arguments, words):
    result = search(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_the_verdict_and_the_exit_code_are_of_the_bound(session, monkeypatch, folder):
    monkeypatch.setattr(commands_search, "Session", lambda **_: contextlib.nullcontext(session))
    monkeypatch.setattr(commands_search, "selected", lambda name: [cell(name)])
    red = search(LIAR, "--seconds", str(SECONDS), "--no-store", "--json")
    (data,) = json.loads(red.stdout)["cells"]
    assert (red.exit_code, data["verdict"], data["stored"]) == (1, "fail", None)
    assert data["found"]["errors"]["mask"]["value"] > 60 > data["stream"]["errors"]["mask"]["value"]
    assert not folder.exists()
    green = search("honest", "--seconds", "1")
    assert green.exit_code == 0, green.output
    assert "worst of the stream" in green.stdout
    assert "the gate replays it" in green.stdout

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands_search.Search, "search", stopped)
    before = sorted(folder.iterdir())
    halted = search("honest", "--seconds", "1")
    assert halted.exit_code == 130
    assert sorted(folder.iterdir()) == before


# --- recipes ----------------------------------------------------------------------------------------


@given(recipe=recipes())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_recipe_is_a_picture_and_comes_back_from_json(recipe):
    levels = recipe.levels(SPEC, 32)
    assert (levels.shape, levels.dtype) == ((3, 32, 32), np.uint8)
    assert recipe_of(json.loads(json.dumps(recipe.as_data()))) == recipe
    assert recipe.words
    shorter = [other for other in simpler(recipe) if other.length < recipe.length]
    assert shorter or not recipe.edits


@pytest.mark.parametrize("step", [Step("checkerboard", (5,)), Step("photograph_like", (17, 3))])
def test_rounder_numbers_are_still_of_their_kind(step):
    rounder = [other.base.numbers for other in simpler(Recipe(step)) if other.base.kind == step.kind]
    assert rounder
    for numbers in rounder:
        assert all(
            plain <= n <= was
            for n, was, plain in zip(numbers, step.numbers, KINDS[step.kind].plain, strict=True)
        )


def test_a_photograph_is_the_stream_s_own_bit_for_bit():
    for spec in (MODELS["tiny_ladeda"], MODELS["chunkyseal"]):
        stream = evaluation_set(spec, 64, 3)
        for index, sample in enumerate(stream):
            fed = Recipe(Step("photograph", (index,))).feed(spec, 64)
            np.testing.assert_array_equal(fed[0], sample.image)


def test_a_tile_is_laid_all_over():
    numbers = tuple(range(3 * TILE * TILE))
    levels = Recipe(Step("constant", (0, 0, 0)), (Step("tile", numbers),)).levels(SPEC, 20)
    assert levels[0, 9, 17] == levels[0, 1, 1] == numbers[TILE + 1]
    assert tiled(np.array(numbers).reshape(3, TILE, TILE), 20).shape == (3, 20, 20)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"base": ["constant", 0], "edits": []},
        {"base": ["gain", 100], "edits": []},
        {"base": ["constant", 0, 0, 0], "edits": [["constant", 0, 0, 0]]},
        {"base": ["nonsense"], "edits": []},
    ],
)
def test_what_no_recipe_wrote_is_refused(data):
    with pytest.raises(ValueError, match="no recipe"):
        recipe_of(data)


def test_a_damaged_file_is_named(folder):
    folder.mkdir()
    worst_inputs.path_of("x").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: not a list of worst inputs"):
        worst_inputs.stored("x")


def test_every_stored_input_is_of_a_cell_and_can_be_read(monkeypatch):
    monkeypatch.undo()
    files = {path.stem for path in worst_inputs.FOLDER.glob("*.json")}
    assert files
    assert files <= {cell.id for cell in all_cells()}
    for name in files:
        for entry in worst_inputs.stored(name):
            assert {step.kind for step in (entry.recipe.base, *entry.recipe.edits)} <= set(KINDS)
            assert entry.found
