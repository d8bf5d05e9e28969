"""What the gate adds to a proven cell: its worst sample's picture and metrics of a dataset, made once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meta_tests.miniatures.miniature import cell, session_of
from modelparity import gate
from modelparity.fixtures.datasets import synthetic
from modelparity.fixtures.datasets.labelled import open_dataset
from modelparity.pictures.worst_sample import worst

HONEST = cell("honest")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A session, its one cell's record, a dataset of it, and what was not in the store."""
    from modelparity.parity.cells import CheckBudget

    folder = tmp_path_factory.mktemp("world")
    (folder / "splices").mkdir()
    list(synthetic.splices(folder / "splices", 4))
    made: list[str] = []
    check_budget = CheckBudget(images=3, draws=1, batches=(1,), convert_again=False)
    options = {"check_budget": check_budget, "on_miss": lambda label, _: made.append(label)}
    with session_of(["honest"], folder / "store", **options) as session:
        yield session, session.prove(HONEST), open_dataset(folder / "splices"), made


def looked_at(world, **labelled):
    session, record, _, _ = world
    (seen,) = gate._with_pictures_and_tasks(
        session, [HONEST], records=[record], labelled=labelled, on_stage=lambda _: None
    )
    return seen


def test_a_picture_is_drawn_once(world):
    _, record, _, made = world
    seen = looked_at(world)
    assert seen.picture.sample == worst(record.samples).sample
    assert (seen.picture.width, seen.picture.height) == (1048, 390)
    assert seen.task is None
    assert looked_at(world) == seen
    assert sum(label.endswith("picture") for label in made) == 1
    assert replace(seen, picture=None) == record


def test_a_file_is_worth_what_its_network_is(world):
    _, _, dataset, made = world
    task = looked_at(world, miniature=dataset).task
    assert (task.dataset, task.images) == ("splices", 4)
    metrics = {metric.name: metric for metric in task.metrics}
    assert {"accuracy", "auc", "ece", "pixel_f1", "best_pooled_f1"} <= set(metrics)
    assert all(abs(metric.difference) < 1e-3 for metric in task.metrics)
    assert metrics["accuracy"].interval[0] < 0 < metrics["accuracy"].interval[1]
    assert looked_at(world, miniature=dataset).task == task
    assert sum(label.endswith("task metrics") for label in made) == 2  # the network's and the file's


def test_what_no_longer_runs_or_cannot_be_read_is_said(world, monkeypatch):
    session, _, dataset, _ = world

    def broken(*_, **__):
        return session.workers["honest"].call("modelparity.converters.engine.tasks:no_such_function")

    # Other digests of the code, so that it is drawn and measured anew.
    monkeypatch.setattr("modelparity.pictures.worst_sample._APART", ("modelparity",))
    monkeypatch.setattr("modelparity.evaluate.cells._APART", ("modelparity",))
    with monkeypatch.context() as patch:
        patch.setattr(session.bench, "run", broken)
        seen = looked_at(world, miniature=dataset)
    assert "does not run again" in seen.not_asked["picture"]
    assert seen.task.metrics == ()
    assert "miniature-honest-fp32 does not run on these images" in seen.task.remarks[0]
    image = next(iter(dataset)).image
    image.write_bytes(b"no image")
    assert f"not measured: {image}: not an image" in looked_at(world, miniature=dataset).task.remarks[0]


def test_a_cell_that_never_ran_has_neither(world):
    session, record, dataset, _ = world
    never = replace(record, samples=())
    (seen,) = gate._with_pictures_and_tasks(
        session, [HONEST], records=[never], labelled={"miniature": dataset}, on_stage=lambda _: None
    )
    assert (seen.picture, seen.task) == (None, None)
