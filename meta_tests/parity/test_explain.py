"""`explain` on planted faults: the layer is named, its consequences are not, and the folder reproduces it.

The table over the real networks is `python -m meta_tests.measurements.explain_faults`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from meta_tests.measurements.explain_faults import Row, plant
from meta_tests.miniatures.miniature import one_process, session_of
from modelparity.cli import app
from modelparity.modelfiles.activations import Folder, tensor_of
from modelparity.parity.explain.match_tensors import Pool, as_file, as_network

FORMATS = ("onnx", "tflite")


@pytest.fixture(scope="module")
def session(shared_store):
    with session_of(FORMATS, shared_store) as session:
        yield session


def source(session, format):
    return session.artifact("miniature", format, "fp32").path


def explained(session, format, path, folder):
    from modelparity.parity.explain.explain import explain

    folder.mkdir()
    subject, feed = session.subject("miniature"), session.feeds("miniature")[0]
    return explain(session.bench, subject, format, path, feed=feed, folder=folder)


def weight_of(session, layer):
    from modelparity.fixtures.checkpoints.load import weighted

    module = weighted(session.subject("miniature").spec, None).get_submodule(layer)
    return module.weight.detach().numpy().copy()


def planted(session, format, fault, layer, target):
    path = target / source(session, format).name
    plant(Row("miniature", format, fault, layer), source(session, format), path, weight_of(session, layer))
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_an_honest_file_is_found_whole_and_inside_the_band(session, format, tmp_path):
    found = explained(session, format, source(session, format), tmp_path / "values").explanation
    assert found.diverging == ()
    assert found.covered == found.steps
    assert max(layer.ratio for layer in found.layers) < 4
    assert {"network.conv1", "network.conv2", "network.fc"} <= {layer.module for layer in found.layers}


@pytest.mark.parametrize(
    ("format", "fault", "layer"),
    [
        ("onnx", "one output channel x 1.05", "network.conv1"),  # everything is behind it
        ("onnx", "one output channel x 1.05", "network.fc"),
        ("tflite", "bias dropped", "network.conv1"),
        ("tflite", "one output channel x 1.05", "network.fc"),
    ],
)
def test_the_planted_layer_is_named_alone(session, format, fault, layer, tmp_path):
    path = planted(session, format, fault, layer, tmp_path)
    found = explained(session, format, path, tmp_path / "values").explanation
    assert [layer.module for layer in found.diverging] == [layer]
    assert found.explained
    assert found.diverging[0].ratio > 100
    assert found.diverging[0].inputs < 4


def test_an_activation_left_out_is_the_layer(session, tmp_path):
    path = planted(session, "tflite", "activation dropped", "network.conv1", tmp_path)
    (layer,) = explained(session, "tflite", path, tmp_path / "values").explanation.diverging
    assert (layer.module, layer.operator, layer.left_out) == ("network", "relu", True)


def test_two_faults_are_two_layers(session, tmp_path):
    first = planted(session, "onnx", "one output channel x 1.05", "network.conv1", tmp_path)
    second = tmp_path / "both.onnx"
    row = Row("miniature", "onnx", "one output channel x 1.05", "network.conv2")
    plant(row, first, second, weight_of(session, "network.conv2"))
    found = explained(session, "onnx", second, tmp_path / "values").explanation
    assert [layer.module for layer in found.diverging] == ["network.conv1", "network.conv2"]


@pytest.mark.parametrize("format", FORMATS)
def test_the_reproduction_runs_alone_until_the_fault_is_gone(session, format, tmp_path):
    from modelparity.explain.reproduction import write_reproduction
    from modelparity.parity.explain.explain import followed

    layer_name = "network.conv1"
    path = planted(session, format, "one output channel x 1.05", layer_name, tmp_path)
    values = tmp_path / "values"
    found = explained(session, format, path, values)
    (layer,) = found.explanation.diverging
    subject, feed = session.subject("miniature"), session.feeds("miniature")[0]
    followed(
        session.bench,
        subject,
        feed,
        folder=values,
        tensors=found.tensors,
        taken=found.taken,
        wanted=layer.step,
    )
    folder = tmp_path / "reproduction"
    before = found.before(layer)
    inputs = {"format": format, "layer": layer, "before": before, "values": values}
    write_reproduction(session, folder, source=path, **inputs)

    def run(folder: Path):
        # -I: neither this repository nor the user's packages are on the path by accident.
        return subprocess.run(
            [sys.executable, "-I", folder / "reproduce.py"], capture_output=True, text=True, cwd=tmp_path
        )

    broken = run(folder)
    assert broken.returncode == 1, broken.stderr
    assert broken.stdout.startswith(f"{layer_name}: rms error ")
    assert "but should be <= " in broken.stdout
    mended = tmp_path / "mended"
    shutil.copytree(folder, mended)
    write_reproduction(session, tmp_path / "honest", source=source(session, format), **inputs)
    (cut,) = mended.glob("cut.*")
    shutil.copy(tmp_path / "honest" / cut.name, cut)
    assert run(mended).returncode == 0
    assert cut.stat().st_size < source(session, format).stat().st_size


def test_a_quantized_file_is_ranked_by_what_each_layer_adds(session, tmp_path):
    from modelparity.parity.explain.explain import explain_quantized

    subject, feed = session.subject("miniature"), session.feeds("miniature")[0]
    path = session.artifact("miniature", "onnx", "int8_dynamic").path
    found = explain_quantized(
        session.bench, subject, "onnx", path, float_path=source(session, "onnx"), feed=feed, folder=tmp_path
    ).explanation
    own = {layer.module: layer.sqnr_db for layer in found.layers if layer.elements}
    assert all(20 < own[name] < 60 for name in ("network.conv1", "network.conv2"))
    assert found.diverging == ()


def test_a_quantized_layer_that_is_wrong_is_named(session, tmp_path):
    import onnx
    from onnx import numpy_helper

    from modelparity.parity.explain.explain import explain_quantized

    path = session.artifact("miniature", "onnx", "int8_dynamic").path
    model = onnx.load(path)
    scale = next(t for t in model.graph.initializer if t.name == "network.conv2.weight_scale")
    scale.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(scale), scale.name))
    wrong = tmp_path / "wrong.onnx"
    onnx.save(model, wrong)
    values = tmp_path / "values"
    values.mkdir()
    subject, feed = session.subject("miniature"), session.feeds("miniature")[0]
    found = explain_quantized(
        session.bench, subject, "onnx", wrong, float_path=source(session, "onnx"), feed=feed, folder=values
    ).explanation
    assert [layer.module for layer in found.diverging] == ["network.conv2"]


def test_the_waterfalls_shares_are_of_one_whole(session):
    from modelparity.parity.explain.error_by_stage import waterfall

    subject, feed = session.subject("miniature"), session.feeds("miniature")[0]
    path = session.artifact("miniature", "onnx", "int8_dynamic").path
    stages = waterfall(
        session.bench,
        subject,
        "onnx",
        path,
        quantization="int8_dynamic",
        feed=feed,
        float_path=source(session, "onnx"),
    )
    assert [stage.name for stage in stages] == [
        "network, float32",
        "exported program",
        "onnx fp32, not optimised",
        "onnx fp32, optimised",
        "onnx int8_dynamic, optimised",
    ]
    for position in range(3):
        assert sum(stage.distances[position].share for stage in stages) == pytest.approx(1)
        assert stages[-1].distances[position].share > 0.99


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_numbers_are_found_in_any_arrangement(order, tmp_path):
    values = np.random.default_rng(1).normal(size=(1, 4, 5, 6))
    turned = values[0].transpose(order).astype(np.float32)
    folder = Folder(tmp_path)
    theirs = tensor_of(folder, 7, "t", "Conv", values=turned.reshape(turned.shape[0], -1), origin=7)
    other = tensor_of(folder, 8, "u", "Conv", values=np.roll(turned, 1), origin=8)
    pool = Pool([other, theirs], folder)
    match = pool.nearest(values)
    assert match is not None
    assert (match.index, match.order) == (7, order)
    assert match.error < 1e-6
    assert np.allclose(as_network(folder.read(7), values.shape, match.order), values, atol=1e-6)
    assert as_file(values, theirs.shape, match.order).shape == theirs.shape
    pool.claim(7)
    nearest = pool.nearest(values)  # a rolled copy has the same rms and span, but not the numbers
    assert nearest is None or nearest.error > 0.1


def steps_of(*found, outputs=(-1,)):
    """A chain of steps: the error of each in floors, or None for one that is not found."""
    from modelparity.parity.explain.steps import Step

    steps = []
    for index, ratio in enumerate(found):
        step = Step(index, f"layer{index}", "relu", (4,), (index - 1,), (), 0, 1.0, 1e-7)
        steps.append(step if ratio is None else replace(step, tensor=index, error=ratio * 1e-7))
    last = len(steps) - 1
    return [replace(step, output=step.index == last) for step in steps]


@pytest.mark.parametrize(
    ("found", "named", "covered"),
    [
        ((1, 2, 1), [], 3),
        ((1, None, 1), [], 3),  # folded into the next
        ((1, 9, 1), ["layer1"], 3),
        ((1, float("nan"), 1), ["layer1"], 3),
        ((1, None, None), ["layer1"], 1),  # nothing behind it is found: it is where that begins
    ],
)
def test_the_verdict_on_what_was_observed(found, named, covered, tmp_path):
    from modelparity.parity.explain.layers import judged

    tensors = [
        tensor_of(
            Folder(tmp_path), i, f"t{i}", "Relu", values=np.ones(4), inputs=(i - 1,) if i else (), origin=i
        )
        for i in range(len(found))
    ]
    verdict = judged(steps_of(*found), tensors)
    assert [layer.module for layer in verdict.diverging] == named
    assert verdict.covered == covered


@pytest.fixture(scope="module")
def tiny(shared_store, tmp_path_factory):
    """The store with Tiny-LaDeDa's own ONNX file, and one with a fault."""
    from modelparity.fixtures.checkpoints.load import weighted
    from modelparity.parity.session import Session

    row = Row("tiny_ladeda", "onnx", "one output channel x 1.05", "network.layer1.0.conv1")
    with Session(store=shared_store, workers=one_process()) as session:
        path = session.artifact("tiny_ladeda", "onnx", "fp32").path
        weight = weighted(session.subject("tiny_ladeda").spec, None).get_submodule(row.layer).weight
    wrong = tmp_path_factory.mktemp("wrong") / "wrong.onnx"
    plant(row, path, wrong, weight.detach().numpy().copy())
    return shared_store, wrong


def test_the_fewest_layers_in_float_that_halve_the_error(session, monkeypatch):
    from meta_tests.miniatures.miniature import cell
    from modelparity.explain.text import mixed_lines
    from modelparity.parity.explain import mixed_precision

    truth, calibration = session.truth("miniature"), session.calibration("miniature")
    int8 = cell("onnx", "int8_dynamic")

    def found(gain_db):
        monkeypatch.setattr(mixed_precision, "GAIN_DB", gain_db)
        return mixed_precision.smallest(session.bench, truth, int8, calibration=calibration)

    def reached(layers):
        """SQNR by output, with the first layers of the ranking in float."""
        entries = mixed_precision.keep_float_entries(
            [(layer.operator, layer.tensor) for layer, _ in halved.ranked[:layers]], "a test"
        )
        path = session.artifact("miniature", "onnx", "int8_dynamic", mixed=entries or None).path
        outputs = session.bench.run("onnx", path, truth.reference.feeds)
        errors = truth.reference.errors(truth.reference.paired(outputs))
        return {error.output: error.sqnr_db for error in errors}

    def meets(layers):
        return all(db >= halved.least_db[name] for name, db in reached(layers).items())

    halved = found(mixed_precision.GAIN_DB)
    assert halved.meets
    assert 0 < halved.layers <= len(halved.ranked)
    assert [entry.names for entry in halved.entries] == [
        f"^{layer.tensor}$" for layer, _ in halved.ranked[: halved.layers]
    ]
    assert halved.least_db == {name: pytest.approx(db + 6, abs=0.01) for name, db in reached(0).items()}
    assert meets(halved.layers)
    assert not meets(halved.layers - 1)
    (first, *_) = mixed_lines(halved)
    assert first.startswith(
        f"{halved.layers} of {len(halved.ranked)} layers in float halve the error of each"
    )

    free = found(0.0)  # reached as it is
    assert (free.layers, free.entries, free.meets) == (0, (), True)
    never = found(400.0)
    assert (never.layers, never.meets) == (len(never.ranked), False)
    (first, *_) = mixed_lines(never)
    assert first.startswith(f"all but one of {len(never.ranked)} layers in float do not halve the error")


def test_a_mixed_recipe_is_what_convert_makes(tiny, tmp_path, monkeypatch):
    import onnx

    from modelparity.converters.recipes import recipe_of, recipe_text
    from modelparity.parity.explain.mixed_precision import keep_float_entries

    monkeypatch.setenv("MODELPARITY_STORE", str(tiny[0]))
    recipe = tmp_path / "mixed.json"
    entries = keep_float_entries([("Conv", "getitem_3"), ("MatMul", "val_48")], "a test")
    recipe.write_text(recipe_text(entries))
    assert recipe_of(recipe.read_text()) == entries
    output = tmp_path / "mixed.onnx"
    arguments = ["convert", "tiny_ladeda", "--quantization", "int8_dynamic", "--mixed", recipe]
    arguments += ["--no-verify", "--output", output]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    made = {name: node.op_type for node in onnx.load(output).graph.node for name in node.output}
    assert (made["getitem_3"], made["val_48"]) == ("Conv", "MatMul")
    assert list(made.values()).count("ConvInteger") == 4  # the recipe's own exceptions do not hold

    recipe.write_text('{"keep_float": [{"operator": "Conv", "why": 1}]}')
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2
    assert "entry 0: " in result.stderr


def command(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_the_command_says_which_layer(tiny, tmp_path, monkeypatch):
    store, wrong = tiny
    monkeypatch.setenv("MODELPARITY_STORE", str(store))
    folder = tmp_path / "reproduction"
    result = command(wrong, "--model", "tiny_ladeda", "--output", folder)
    assert result.exit_code == 1, result.output
    first, *rest = result.stdout.splitlines()
    assert first.startswith("first diverging layer: network.layer1.0.conv1 (Conv, ")
    assert first.endswith(" floors; its inputs are inside 1.0)")
    text = "\n".join(rest)
    assert "in one with it: network.layer1.0.bn1" in text
    assert "it is this layer alone" in text
    assert "onnx fp32, optimised" in text
    assert sorted(path.name for path in folder.iterdir()) == [
        "cut.onnx",
        "expected.npz",
        "feeds.npz",
        "reproduce.py",
    ]


def test_the_command_on_an_honest_cell(tiny, monkeypatch):
    monkeypatch.setenv("MODELPARITY_STORE", str(tiny[0]))
    result = command("tiny_ladeda-onnx-fp32", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["verdict"].startswith("no layer leaves the band (")
    assert data["diverging"] == []
    assert data["operators"]["covered"] == data["operators"]["all"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny_ladeda-onnx-fp23"], "no such cell or file; did you mean tiny_ladeda-onnx-fp32"),
        (["tiny_ladeda-onnx-fp32", "--model", "ladeda"], "is a cell of tiny_ladeda"),
        ([__file__], "say which model the file claims to be with --model MODEL"),
        ([__file__, "--model", "tiny_ladeda"], "neither ONNX nor TFLite"),
    ],
)
def test_bad_input_is_refused_in_a_line(arguments, words):
    result = command(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stdout == ""
