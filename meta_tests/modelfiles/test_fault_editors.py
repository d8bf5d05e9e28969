"""Every edit of a file does something, in both formats, on a network that has one of everything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from meta_tests.miniatures.faulty_network import OUTPUTS
from modelparity.modelfiles.editor import Editor, NotApplicableError
from modelparity.modelfiles.mutations.plant import editor, plant

FORMATS = ("onnx", "tflite")
FEED = {"image": np.random.default_rng(0).standard_normal((1, 3, 16, 16), np.float32)}
OPERATORS = (
    *(
        "epsilon",
        "align_corners",
        "resize_mode",
        "padding",
        "approximate_gelu",
        "leaky_slope",
        "softmax_axis",
    ),
    *("skip_block", "drop_activation", "square_transposed", "float16_weights", "flipped_byte", "row_zeroed"),
    *("bias_dropped", "channels_swapped", "channels_reversed", "input_transposed"),
    *("corners_reordered", "boxes_as_extents", "category_shifted", "last_row_lost"),
)
OPTIONS = {
    "row_scaled": {"strength": 1.01},
    "all_perturbed": {"strength": 0.001},
    "input_rescaled": {"scale": (2, 1, 1), "shift": (0, 0.5, 0)},
    "output_constant": {"name": "score", "value": 0.25},
    "sigmoid_once_more": {"name": "score"},
    "noise_left_on": {"name": "score", "value": 0.1},
    "undefined_at": {"name": "score", "value": float(FEED["image"].max())},
    **{name: {} for name in OPERATORS},
}


def run(format: str, path: Path) -> dict[str, np.ndarray]:
    from modelparity.converters.onnx.convert import OnnxRunner
    from modelparity.converters.tflite.convert import TfliteRunner

    with (OnnxRunner if format == "onnx" else TfliteRunner)(path) as runner:
        return runner.run(FEED)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    import torch

    from meta_tests.miniatures.faulty_network import network
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx
    from modelparity.converters.tflite import convert as tflite

    folder = tmp_path_factory.mktemp("files")
    batch = {"image": {0: torch.export.Dim("batch")}}
    program = torch.export.export(network(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=batch)
    torch.export.save(program, folder / "network.pt2")
    for module, suffix in ((onnx, "onnx"), (tflite, "tflite")):
        module.convert_float(
            Exported(folder / "network.pt2"), folder / f"network.{suffix}", ["image"], OUTPUTS
        )
    return {format: folder / f"network.{format}" for format in FORMATS}


@pytest.fixture(scope="module")
def honest(files) -> dict[str, dict[str, np.ndarray]]:
    return {format: run(format, path) for format, path in files.items()}


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_opened_and_saved_computes_what_it_did(format, files, honest, tmp_path):
    target = tmp_path / files[format].name
    editor(format, files[format]).save(target)
    again = run(format, target)
    assert all(again[name].tobytes() == honest[format][name].tobytes() for name in OUTPUTS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", OPTIONS)
def test_a_fault_changes_what_comes_out(format, fault, files, honest, tmp_path):
    target = tmp_path / files[format].name
    assert plant(format, files[format], target, fault, options=OPTIONS[fault])
    found = run(format, target)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in honest[format].items()
    }
    assert any(found[name].tobytes() != honest[format][name].tobytes() for name in OUTPUTS)


def test_what_a_fault_says_is_what_comes_out(files, honest, tmp_path):
    """The arithmetic of those whose outcome is known beforehand."""
    for format in FORMATS:
        target = tmp_path / files[format].name

        def planted(fault: str, file: str = format, target: Path = target) -> dict[str, np.ndarray]:
            plant(file, files[file], target, fault, options=OPTIONS[fault])
            return run(file, target)

        right = honest[format]
        low, high = right["location"][..., :2], right["location"][..., 2:]
        extents = planted("boxes_as_extents")["location"]
        np.testing.assert_allclose(extents, np.concatenate([low, high - low], axis=-1), atol=1e-6)
        np.testing.assert_array_equal(
            planted("corners_reordered")["location"], right["location"][..., [1, 0, 3, 2]]
        )
        np.testing.assert_array_equal(planted("category_shifted")["category"], right["category"] + 1)
        assert np.isnan(planted("undefined_at")["score"]).all()
        assert (planted("output_constant")["score"] == np.float32(0.25)).all()


@pytest.mark.parametrize("format", FORMATS)
def test_padding_moves_to_the_end_and_keeps_its_sum(format, files, tmp_path):
    words = plant(format, files[format], tmp_path / files[format].name, "padding", options={}).where
    before, after = (json.loads(text[text.index("[") :]) for text in words.split(" to "))
    assert before != after
    assert np.sum(before) == np.sum(after)


@pytest.mark.parametrize("format", FORMATS)
def test_the_threshold_of_a_suppression_is_found(format, files, tmp_path):
    assert plant(format, files[format], tmp_path / files[format].name, "suppression", options={})


def test_a_fault_that_the_file_has_no_place_for_is_refused(files, tmp_path):
    for fault, format in (("patch_shifted", "onnx"), ("freeze_batch", "tflite"), ("one_step", "onnx")):
        with pytest.raises(NotApplicableError):
            plant(format, files[format], tmp_path / "file", fault, options={})
        assert not (tmp_path / "file").exists()


def test_both_editors_have_every_method():
    from modelparity.modelfiles.onnx.editor.operators import OnnxEditor
    from modelparity.modelfiles.tflite.editor.operators import TfliteEditor

    wanted = {name for name in vars(Editor) if not name.startswith("_")}
    for kind in (OnnxEditor, TfliteEditor):
        assert wanted <= set(dir(kind))


@pytest.fixture(scope="module")
def rounded(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """Two kernels with nothing between them, by format and recipe."""
    import torch
    from torch import nn

    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx
    from modelparity.converters.onnx import quantize as onnx_quantization
    from modelparity.converters.tflite import convert as tflite
    from modelparity.converters.tflite import quantize as tflite_quantization

    folder = tmp_path_factory.mktemp("rounded")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 4, 3, bias=False)).eval()
    program = torch.export.export(network, (torch.zeros(1, 3, 16, 16),))
    torch.export.save(program, folder / "network.pt2")
    paths = {}
    for format, module, quantizer in (
        ("onnx", onnx, onnx_quantization),
        ("tflite", tflite, tflite_quantization),
    ):
        paths[format, "fp32"] = source = folder / f"network.{format}"
        module.convert_float(Exported(folder / "network.pt2"), source, ["image"], ["score"])
        for recipe in ("int8_dynamic", "int8_static"):
            paths[format, recipe] = folder / f"{recipe}.{format}"
            quantizer.quantize(source, paths[format, recipe], recipe, keep_float=(), calibration=[FEED])
    return paths


@pytest.mark.parametrize("format", FORMATS)
def test_float_weights_leave_a_file_that_runs(format, rounded, tmp_path):
    path = rounded[format, "int8_dynamic"]
    plant(format, path, tmp_path / path.name, "float_weights", options={})
    due, found = run(format, path)["score"], run(format, tmp_path / path.name)["score"]
    assert np.abs(found - due).max() < 0.05 * np.abs(due).max()


@pytest.mark.parametrize("format", FORMATS)
def test_an_activation_is_called_as_the_float_file_calls_it(format, rounded):
    """Lineage speaks of the float file's tensors."""
    from modelparity.modelfiles.lineage import compare, graph_of

    edit = editor(format, rounded[format, "int8_static"])
    lineage = compare(graph_of(rounded[format, "int8_static"]), graph_of(rounded[format, "fp32"]))
    known = {name for of_one in lineage.rounded for name in of_one.names}
    assert {edit.name(handle) for handle in edit.activations()} <= known
