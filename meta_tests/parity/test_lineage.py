"""Lineage: every right quantized file passes, and each planted fault is red with the tensor's name."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest

from meta_tests.modelfiles.lineage_editors import OnnxEditor, TfliteEditor
from meta_tests.parity.lineage_faults import FAULTS, RECIPES
from modelparity.converters.onnx import quantize as onnx_quantization
from modelparity.converters.tflite import quantize as tflite_quantization
from modelparity.modelfiles.constants import Constant, measured
from modelparity.modelfiles.lineage import Lineage, lineage, observed_ranges
from modelparity.parity.claims import lineage as claims

FORMATS = ("onnx", "tflite")
QUANTIZERS = {"onnx": onnx_quantization, "tflite": tflite_quantization}
EDITORS = {"onnx": OnnxEditor, "tflite": TfliteEditor}
FEEDS = [
    {"image": np.random.default_rng(seed).standard_normal((1, 3, 8, 8), np.float32)} for seed in range(4)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Float and quantized files by format and recipe, of a network whose two heads differ in weights only."""
    import torch
    from torch import nn

    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx_format
    from modelparity.converters.tflite import convert as tflite_format

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.second = nn.Conv2d(8, 16, 3, padding=1)
            self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
            self.norm = nn.LayerNorm(16)
            self.square = nn.Linear(16, 16, bias=False)
            self.one, self.other = nn.Linear(16, 10), nn.Linear(16, 10)
            nn.init.uniform_(self.norm.weight, 0.5, 2)
            nn.init.uniform_(self.norm.bias)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = nn.functional.leaky_relu(self.first(image), 0.1)
            tokens = self.depthwise(torch.relu(self.second(x))).flatten(2).transpose(1, 2)
            tokens = tokens + self.square(self.norm(tokens))
            return self.one(tokens.mean(dim=1)), self.other(tokens.mean(dim=1))

    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    batch = {"image": {0: torch.export.Dim("batch")}}
    program = torch.export.export(Network().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch)
    torch.export.save(program, folder / "network.pt2")
    found = {}
    for format, module in (("onnx", onnx_format), ("tflite", tflite_format)):
        found[format, "fp32"] = source = folder / f"network.{format}"
        module.convert_float(Exported(folder / "network.pt2"), source, ["image"], ["one", "other"])
        for recipe in RECIPES:
            found[format, recipe] = target = folder / f"{recipe}.{format}"
            QUANTIZERS[format].quantize(source, target, recipe, keep_float=(), calibration=FEEDS)
    return found


def judged(path: Path, source: Path) -> dict[str, tuple[str, str]]:
    """Status and detail by claim."""
    found = pickle.loads(pickle.dumps(lineage(path, source)))  # as it comes from a worker
    made = claims.claims(found, lambda names: observed_ranges(source, FEEDS, names))
    return {claim.name: (claim.status, claim.detail) for claim in made}


def test_layers_of_a_file_of_int8_weights_alone_round_nothing_at_run_time(files, tmp_path):
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    from modelparity.modelfiles.lineage import graph_of
    from modelparity.parity.simulation.layers import layers_of

    source, path = files["tflite", "fp32"], tmp_path / "weights.tflite"
    quantizer.Quantizer(str(source), recipes.weight_only_wi8_afp32()).quantize().export_model(str(path))
    alone, dynamic = (layers_of(graph_of(file)) for file in (path, files["tflite", "int8_dynamic"]))
    assert {layer.dynamic for layer in alone} == {False}
    assert {layer.dynamic for layer in dynamic} == {True}
    assert len(alone) == len(dynamic) > 3


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_right_file_passes(files, format, recipe):
    found = judged(files[format, recipe], files[format, "fp32"])
    assert {status for status, _ in found.values()} == {"passed"}, found
    assert ("lineage_ranges" in found) == (recipe == "int8_static")
    assert ("saturation" in found) == (format == "onnx" and recipe.startswith("int8"))
    dtype = "float16" if recipe == "fp16" else "int8"
    assert dtype in found["lineage_weights"][1]


@pytest.mark.parametrize("format", FORMATS)
def test_a_float_file_is_its_own_lineage(files, format):
    found = judged(files[format, "fp32"], files[format, "fp32"])
    assert {status for status, _ in found.values()} == {"passed"}
    assert "int8" not in found["lineage_weights"][1]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("fault", "recipe", "words"), [(fault, r, words) for fault, recipes, words in FAULTS for r in recipes]
)
def test_a_fault_in_a_constant_is_named(files, tmp_path, format, fault, recipe, words):
    editor = EDITORS[format](files[format, recipe])
    key = fault(editor)
    path = editor.save(tmp_path / f"faulty.{format}")
    found = judged(path, files[format, "fp32"])
    status, detail = found["lineage_weights"]
    assert status == "failed"
    assert claims.short(editor.float_name(key)) in detail
    assert words in detail
    assert found["lineage_graph"][0] == "passed"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shift", ["zero point", "scale", "scale down"])
def test_a_fault_in_a_range_is_named(files, tmp_path, format, shift):
    editor = EDITORS[format](files[format, "int8_static"])
    name = editor.shift_activation(
        zero_point=int(shift == "zero point"), factor={"scale": 1.02, "scale down": 1 / 1.02}.get(shift, 1)
    )
    found = judged(editor.save(tmp_path / f"faulty.{format}"), files[format, "fp32"])
    status, detail = found["lineage_ranges"]
    assert status == "failed"
    assert claims.short(name) in detail
    assert "end is" in detail


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("fault", ["attributes", "skip", "drop_bias", "wrong_wire", "swap_names"])
def test_a_fault_in_the_graph_is_named(files, tmp_path, format, recipe, fault):
    for number, edit in enumerate(getattr(EDITORS[format], fault)(files[format, recipe])):
        editor, words = edit
        found = judged(editor.save(tmp_path / f"{number}.{format}"), files[format, "fp32"])
        status, detail = found["lineage_graph"]
        assert status == "failed", words
        assert words in detail
        assert found["lineage_weights"][0] in ("inconclusive", "failed")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_outputs_on_each_others_wires_are_seen(files, tmp_path, format, recipe):
    """Both heads are built alike, so the weights tell."""
    editor = EDITORS[format](files[format, recipe])
    editor.cross_outputs()
    found = judged(editor.save(tmp_path / f"crossed.{format}"), files[format, "fp32"])
    assert found["lineage_weights"][0] == "failed"


@pytest.mark.parametrize("fault", ["other_scale", "unpaired"])
def test_integers_that_stand_for_no_float_operator_are_seen(files, tmp_path, fault):
    """A product scaled back by another activation's scale; a rounding undone with another scale."""
    recipe = {"other_scale": "int8_dynamic", "unpaired": "int8_static"}[fault]
    editor = OnnxEditor(files["onnx", recipe])
    getattr(editor, fault)()
    status, detail = judged(editor.save(tmp_path / "faulty.onnx"), files["onnx", "fp32"])["lineage_graph"]
    assert status == "failed"
    assert "made by" in detail


@pytest.fixture(scope="module")
def wholly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A TFLite file of which every operator is int8, and its float file."""
    import torch
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    from meta_tests.miniatures.quantized_network import Network
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.tflite import convert as tflite_format

    folder = tmp_path_factory.mktemp("wholly")
    torch.manual_seed(0)
    program = torch.export.export(Network().eval(), (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, folder / "network.pt2")
    source, target = folder / "float.tflite", folder / "int8.tflite"
    tflite_format.convert_float(Exported(folder / "network.pt2"), source, ["image"], ["logits", "tokens"])
    recipe = recipe_manager.RecipeManager()
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    recipe.add_static_config(".*", every, activation_num_bits=8, weight_num_bits=8)
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    update = qsv_utils.min_max_update
    observer = calibrator.Calibrator(source.read_bytes(), mode=mode, qsv_update_func=update)
    (signature,) = observer.get_signature_list()
    observer.calibrate({signature: [dict(feeds) for feeds in FEEDS]}, recipe)
    engine = quantizer.Quantizer(str(source), recipe.get_quantization_recipe())
    result = engine.quantize(observer.get_model_qsvs(), enable_progress_bar=False)
    assert result.quantized_model is not None
    target.write_bytes(result.quantized_model)
    return target, source


@pytest.mark.parametrize(
    ("kind", "words"),
    [("", ""), ("SOFTMAX", "the format fixes"), ("TRANSPOSE", "end is"), ("MEAN", "end is")],
)
def test_scales_that_the_format_sets_are_taken_from_its_specification(wholly, tmp_path, kind, words):
    """Softmax has a scale of its own, and what only moves numbers that of its input."""
    editor = TfliteEditor(wholly[0])
    assert {"SOFTMAX", "TRANSPOSE", "RESHAPE", "MEAN"} <= editor.kinds
    if kind:
        editor.scale_output_of(kind, 1.02)
    found = judged(editor.save(tmp_path / "edited.tflite"), wholly[1])
    assert found["lineage_graph"][0] == "passed", found
    status, detail = found["lineage_ranges"]
    assert status == ("failed" if kind else "passed"), detail
    assert words in detail


@pytest.mark.parametrize("path_format", FORMATS)
@pytest.mark.parametrize("recipe", ["fp32", *RECIPES])
def test_constants_are_found_by_content_across_formats(files, path_format, recipe):
    source = files["onnx" if path_format == "tflite" else "tflite", "fp32"]
    found = claims.matched(files[path_format, recipe], source)
    assert found.share == 1, found
    assert found.constants == 6


def test_a_constant_of_another_content_is_unmatched(files, tmp_path):
    editor = OnnxEditor(files["onnx", "fp32"])
    editor.put(editor.square, editor.values(editor.square) * np.float32(1.1))
    found = claims.matched(editor.save(tmp_path / "folded.onnx"), files["onnx", "fp32"])
    assert found.unmatched == (editor.float_name(editor.square),)
    assert 0.5 < found.share < 1


@pytest.mark.parametrize("recipe", ["fp32", "int8_static"])
def test_numbers_behind_the_flatbuffer_are_read(files, tmp_path, recipe):
    """Files above 2 GiB keep them there; the float file must still be run for its ranges."""
    paths = {key: files["tflite", key] for key in ("fp32", "int8_static")}
    editor = TfliteEditor(paths[recipe])
    paths[recipe] = editor.save_apart(tmp_path / "apart.tflite", editor.square)
    found = judged(paths["int8_static"], paths["fp32"])
    assert {status for status, _ in found.values()} == {"passed"}, found


def test_numbers_beside_an_onnx_file_are_read(files, tmp_path):
    import onnx

    model, source = onnx.load(files["onnx", "fp32"]), tmp_path / "network.onnx"
    onnx.save(model, source, save_as_external_data=True, location="network.onnx.data", size_threshold=500)
    assert source.stat().st_size < files["onnx", "fp32"].stat().st_size / 2
    found = judged(files["onnx", "int8_static"], source)
    assert {status for status, _ in found.values()} == {"passed"}, found


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_file_is_called_so(files, tmp_path, format):
    from modelparity.modelfiles.description import BrokenModelError

    data = files[format, "int8_static"].read_bytes()
    (tmp_path / f"cut.{format}").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(BrokenModelError, match="is damaged"):
        lineage(tmp_path / f"cut.{format}", files[format, "fp32"])


def constant(array, **parts):
    return Constant("w", str(array.dtype), array.shape, lambda: array, **parts)


def test_a_channel_of_zeros_asks_for_no_scale():
    due = np.array([[0, 0], [3, -127]], np.float32)
    scale, zero_point = np.array([[9], [1]], np.float32), np.zeros((1, 1), np.int8)
    found = measured(constant(due.astype(np.int8), scale=scale, zero_point=zero_point), constant(due), 0)
    assert (found.off, found.scale_ratio, found.note) == (0, 1, "")


def test_large_constants_are_compared_in_blocks(monkeypatch):
    from modelparity.modelfiles import constants

    monkeypatch.setattr(constants, "_BLOCK", 8)
    due = np.linspace(-1, 1, 60, dtype=np.float32).reshape(10, 6)
    for axis in (0, 1):
        scale = np.abs(due).max(axis=1 - axis, keepdims=True) / np.float32(127)
        stored = np.rint(due / scale).astype(np.int8)
        stored[7, 2] += 2
        found = measured(constant(stored, scale=scale), constant(due), axis)
        assert found.at == (7, 2)
        assert 1.5 <= found.off <= 2.5
        assert found.scale_ratio <= claims.WEIGHT_SCALE


def test_paired_weights_may_have_the_steps_of_the_greatest_sum(monkeypatch):
    """Where kernels add two products in 16 bits; steps that are coarser still are a fault."""
    from modelparity.modelfiles import constants

    monkeypatch.setattr(constants, "_BLOCK", 8)
    due = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    for axis in (0, 1):
        channels = np.moveaxis(due, axis, 0)
        sums = [max(abs(a + b) for a, b in itertools.pairwise(channel)) for channel in channels]
        peak = np.maximum(sums, np.abs(channels).max(axis=1))
        assert (peak > np.abs(channels).max(axis=1)).any()
        scale = np.expand_dims(peak, 1 - axis) / np.float32(127)
        for factor, paired, right in ((1, True, True), (1, False, False), (1.01, True, False)):
            step = (scale * np.float32(factor)).astype(np.float32)
            stored = constant(np.rint(due / step).astype(np.int8), scale=step, paired=paired)
            assert (measured(stored, constant(due), axis).scale_ratio <= claims.WEIGHT_SCALE) is right


@pytest.mark.parametrize(("weights", "status"), [([127, 1, -90], "passed"), ([127, 2, -90], "failed")])
def test_neighbours_whose_products_exceed_16_bits_are_told(weights, status):
    due = np.array([weights, [3, 4, 5]], np.float32)
    step = np.ones((2, 1), np.float32)
    found = measured(constant(due.astype(np.int8), scale=step, paired=True), constant(due), 0)
    (claim,) = claims.saturation(Lineage(constants=[found]))
    assert (claim.status, claim.observed, claim.sense) == (status, sum(weights[:2]), "<=")
    plain = measured(constant(due.astype(np.int8), scale=step), constant(due), 0)
    assert claims.saturation(Lineage(constants=[plain])) == []


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"scale": np.ones((1, 2), np.float32)}, "along axis [1]"),
        ({"scale": np.zeros((1, 1), np.float32)}, "no positive number"),
        ({}, "is int8, but comes from float32"),
    ],
)
def test_constants_that_cannot_be_compared_say_why(parts, words):
    due = np.ones((2, 2), np.float32)
    found = measured(constant(due.astype(np.int8), **parts), constant(due), 0)
    assert words in found.note
    assert found.off == np.inf
