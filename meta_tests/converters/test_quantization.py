"""The quantization recipes on a network of 4,000 weights: what each promises, and what it leaves alone."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, numpy_helper

from modelparity.converters.onnx import quantize as onnx_quantization
from modelparity.converters.onnx.convert import OnnxRunner
from modelparity.converters.onnx.int8 import quantized_weight
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.converters.tflite import quantize as tflite_quantization
from modelparity.converters.tflite.convert import TfliteRunner
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.fixtures.models import KEEP_FLOAT, MODELS
from modelparity.modelfiles.description import Description
from modelparity.modelfiles.onnx.describe import describe_onnx
from modelparity.modelfiles.tflite.describe import describe_tflite

FORMATS = ("onnx", "tflite")
QUANTIZERS = {"onnx": onnx_quantization, "tflite": tflite_quantization}
DESCRIBE = {"onnx": describe_onnx, "tflite": describe_tflite}
RECIPES = ("fp16", "int8_dynamic", "int8_static")
CELLS = [(format, recipe) for format in FORMATS for recipe in RECIPES]
CALIBRATION = [
    {"image": np.random.default_rng(seed).standard_normal((1, 3, 8, 8), np.float32)} for seed in range(4)
]
FIRST_LAYER = {
    "onnx": KeepFloat("Conv", "test", shapes=((8, 3, 1, 1),)),
    "tflite": KeepFloat("CONV_2D", "test", shapes=((8, 1, 1, 3),)),
}


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The float artifacts of the network, by format."""
    import torch

    from meta_tests.miniatures.quantized_network import Network
    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx_format
    from modelparity.converters.tflite import convert as tflite_format

    folder = tmp_path_factory.mktemp("floats")
    torch.manual_seed(0)
    network = Network().eval()
    batch = {"image": {0: torch.export.Dim("batch")}}
    program = torch.export.export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch)
    torch.export.save(program, folder / "network.pt2")
    for module, suffix in ((onnx_format, "onnx"), (tflite_format, "tflite")):
        target = folder / f"network.{suffix}"
        module.convert_float(Exported(folder / "network.pt2"), target, ["image"], ["logits", "tokens"])
    return {format: folder / f"network.{format}" for format in FORMATS}


def quantized(source: Path, folder: Path, recipe: str, keep: tuple[KeepFloat, ...] = ()) -> Path:
    target = folder / f"{recipe}{source.suffix}"
    QUANTIZERS[source.suffix[1:]].quantize(source, target, recipe, keep_float=keep, calibration=CALIBRATION)
    return target


def eight_bits(weights: Mapping[str, int]) -> int:
    """int8, or the same integers as uint8 about 128."""
    return weights.get("int8", 0) + weights.get("uint8", 0)


def float16s(weights: Mapping[str, int]) -> int:
    return weights.get("float16", 0)


def run(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    runner = OnnxRunner if path.suffix == ".onnx" else TfliteRunner
    with runner(path) as opened:
        return opened.run({"image": image})


@pytest.mark.parametrize(("format", "recipe"), CELLS)
def test_a_recipe_keeps_its_promise(
    floats: dict[str, Path], tmp_path: Path, format: str, recipe: str
) -> None:
    before: Description = DESCRIBE[format](floats[format])
    after: Description = DESCRIBE[format](quantized(floats[format], tmp_path, recipe))
    assert after.quantization == recipe
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    promise = QUANTIZATIONS[recipe]
    total = sum(after.weights.values())
    promised = eight_bits(after.weights) if promise.weights == "int8" else after.weights.get("float16", 0)
    assert promised / total >= promise.weight_share > 0


@pytest.mark.parametrize(("format", "recipe"), CELLS)
def test_outputs_stay_near_the_float_file(
    floats: dict[str, Path], tmp_path: Path, format: str, recipe: str
) -> None:
    path = quantized(floats[format], tmp_path, recipe)
    image = CALIBRATION[0]["image"]
    for name, expected in run(floats[format], image).items():
        error = run(path, image)[name] - expected
        assert 0 < np.sqrt(np.mean(error**2)) < 0.05 * expected.std()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_onnx_batch_stays_dynamic(floats: dict[str, Path], tmp_path: Path, recipe: str) -> None:
    path = quantized(floats["onnx"], tmp_path, recipe)
    images = np.concatenate([feeds["image"] for feeds in CALIBRATION] + [CALIBRATION[0]["image"]])
    for batch in (1, 3, 5):
        outputs = run(path, images[:batch])
        assert {len(output) for output in outputs.values()} == {batch}
        if recipe == "int8_dynamic":
            continue  # one activation scale for the whole batch: rows depend on one another
        singles = [run(path, image[None]) for image in images[:batch]]
        for name, output in outputs.items():
            np.testing.assert_allclose(output, np.concatenate([s[name] for s in singles]), atol=1e-6)


@pytest.mark.parametrize(("format", "recipe"), CELLS)
def test_nothing_but_the_target_is_left_behind(
    floats: dict[str, Path], tmp_path: Path, format: str, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, beside = tmp_path / "scratch", tmp_path / "beside"
    scratch.mkdir()
    beside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    source = sorted(floats[format].parent.iterdir())
    target = quantized(floats[format], beside, recipe)
    assert list(beside.iterdir()) == [target]
    assert list(scratch.iterdir()) == []
    assert sorted(floats[format].parent.iterdir()) == source


@pytest.mark.parametrize("format", FORMATS)
def test_another_process_writes_the_same_bytes(floats: dict[str, Path], tmp_path: Path, format: str) -> None:
    """Under another hash seed: sets must not decide the order of anything."""
    code = (
        "import sys, importlib, numpy; from pathlib import Path\n"
        "source, folder, root = sys.argv[1:]; sys.path.insert(0, root)\n"
        "format = source.rpartition('.')[2]\n"
        "quantizer = importlib.import_module(f'modelparity.converters.{format}.quantize')\n"
        "feeds = [{'image': image} for image in numpy.load(Path(folder) / 'images.npy')]\n"
        "for recipe in ('fp16', 'int8_dynamic', 'int8_static'):\n"
        "    target = Path(folder) / (recipe + Path(source).suffix)\n"
        "    quantizer.quantize(Path(source), target, recipe, keep_float=(), calibration=feeds)\n"
    )
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    np.save(there / "images.npy", [feeds["image"] for feeds in CALIBRATION])
    root = str(Path(__file__).parents[2])
    arguments = [sys.executable, "-c", code, str(floats[format]), str(there), root]
    subprocess.run(arguments, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, capture_output=True)
    for recipe in RECIPES:
        paths = [quantized(floats[format], here, recipe), there / f"{recipe}.{format}"]
        first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
        assert first == second, f"{recipe}: two processes wrote different bytes"


@pytest.mark.parametrize(("format", "recipe"), CELLS)
def test_keep_float_leaves_those_layers_alone(
    floats: dict[str, Path], tmp_path: Path, format: str, recipe: str
) -> None:
    entry = FIRST_LAYER[format]
    elsewhere = KeepFloat(entry.operator, "test", names="^no such name$")
    count = QUANTIZERS[format].kept_float(floats[format], (entry, elsewhere))
    assert count == [(entry, 1), (elsewhere, 0)]
    everything = DESCRIBE[format](quantized(floats[format], tmp_path, recipe)).weights
    untouched = DESCRIBE[format](quantized(floats[format], tmp_path, recipe, (elsewhere,))).weights
    kept = DESCRIBE[format](quantized(floats[format], tmp_path, recipe, (entry,))).weights
    assert untouched == everything
    stored = float16s if recipe == "fp16" else eight_bits
    assert stored(everything) - stored(kept) == 8 * 3


@pytest.mark.parametrize("recipe", ["int8_dynamic", "int8_static"])
def test_onnx_weights_are_their_floats_within_half_a_step(
    floats: dict[str, Path], tmp_path: Path, recipe: str
) -> None:
    before = {w.name: numpy_helper.to_array(w) for w in onnx.load(floats["onnx"]).graph.initializer}
    graph = onnx.load(quantized(floats["onnx"], tmp_path, recipe)).graph
    after = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    found = [name for name in before if f"{name}_quantized" in after]
    assert len(found) == 5
    for name in found:
        values, scale = after[f"{name}_quantized"], after[f"{name}_scale"]
        if values.dtype == np.uint8:
            values = values.astype(np.int16) - int(after[f"{name}_zero_point"])
        axis = values.shape.index(scale.size) if values.ndim > 2 else int(values.shape[1] == scale.size)
        step = scale.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        assert np.abs(values * step - before[name]).max() <= 0.5001 * scale.max()
        channels = np.moveaxis(values, axis, 0).reshape(scale.size, -1).astype(int)
        assert (np.abs(channels).max(axis=1) >= 63).all()


@pytest.mark.parametrize(
    ("recipe", "kernels"),
    [
        ("int8_dynamic", {"ConvInteger", "DynamicQuantizeMatMul"}),
        ("int8_static", {"QLinearConv", "MatMulIntegerToFloat", "QGemm"}),
    ],
)
def test_onnxruntime_computes_every_layer_in_int8(
    floats: dict[str, Path], tmp_path: Path, recipe: str, kernels: set[str]
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(quantized(floats["onnx"], tmp_path, recipe), options)
    types = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kernels <= set(types)
    assert not {"Conv", "FusedConv", "MatMul", "Gemm", "FusedMatMul"} & set(types)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 6)), elements=st.floats(-9, 9, width=32))
)
def test_no_two_products_of_neighbours_exceed_16_bits(weight: Array) -> None:
    values, scale = quantized_weight(weight, axis=0)
    step = scale.reshape(-1, 1)
    assert (np.abs(values * step - weight) <= 0.5001 * step).all()
    for channel in values.astype(int):
        assert all(-(2**15) <= 255 * (one + two) < 2**15 for one, two in itertools.pairwise(channel))


def test_a_channel_of_zeros_stays_zero() -> None:
    values, scale = quantized_weight(np.array([[0.0, 1.0], [0.0, -0.5]], np.float32), axis=1)
    assert values.tolist() == [[0, 127], [0, -64]]
    assert (scale > 0).all()


def test_weights_beyond_float16_stay_float32(floats: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(floats["onnx"])
    weight = next(w for w in model.graph.initializer if w.dims == [8, 3, 1, 1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(1e5), weight.name))
    onnx.save(model, tmp_path / "large.onnx")
    graph = onnx.load(quantized(tmp_path / "large.onnx", tmp_path, "fp16")).graph
    types = {w.name: w.data_type for w in graph.initializer}
    assert types[weight.name] == TensorProto.FLOAT
    assert TensorProto.FLOAT16 in types.values()


@pytest.mark.parametrize("format", FORMATS)
def test_what_cannot_be_done_says_so(floats: dict[str, Path], tmp_path: Path, format: str) -> None:
    module = QUANTIZERS[format]
    with pytest.raises(ValueError, match=f"{format} has no recipe 'int4'"):
        module.quantize(floats[format], tmp_path / "x", "int4", keep_float=(), calibration=CALIBRATION)
    with pytest.raises(ValueError, match="needs calibration"):
        module.quantize(floats[format], tmp_path / "x", "int8_static", keep_float=(), calibration=())
    broken = [{"image": np.full((1, 3, 8, 8), np.nan, np.float32)}, *CALIBRATION]
    with pytest.raises(ValueError, match="calibration found"):
        module.quantize(floats[format], tmp_path / "x", "int8_static", keep_float=(), calibration=broken)
    assert not (tmp_path / "x").exists()


def test_every_exception_names_a_cell_and_a_measured_number() -> None:
    for (model, format, recipe), entries in KEEP_FLOAT.items():
        assert (model in MODELS, format in FORMATS, recipe in RECIPES) == (True, True, True)
        for entry in entries:
            assert any(c.isdigit() for c in entry.because), f"{model} {format} {recipe}: {entry}"


def test_every_exception_matches_a_layer_of_its_network() -> None:
    """By shape, up to the order of axes, which is the format's own: no conversion is needed."""
    for (model, format, recipe), entries in KEEP_FLOAT.items():
        import torch

        with torch.device("meta"):
            networks = [MODELS[model].at(size).build() for size in MODELS[model].sizes]
        tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
        shapes = {tuple(sorted(tensor.shape)) for tensor in tensors}
        for entry in entries:
            for shape in entry.shapes:
                assert tuple(sorted(shape)) in shapes, f"{model} {format} {recipe}: nothing has shape {shape}"


@pytest.mark.parametrize("size", [0.0, 1e-12])
def test_a_channel_of_next_to_no_weights_keeps_its_bias(tmp_path: Path, size: float) -> None:
    """Its bias counted in steps of input scale x weight scale has no int32, and wrapped around."""
    weight = 0.05 * np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    weight[1] = size
    constants = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(np.full(4, 0.3, np.float32), "b"),
    ]
    image = onnx.helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])
    out = onnx.helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 4, 6, 6])
    node = onnx.helper.make_node("Conv", ["image", "w", "b"], ["out"], "conv")
    graph = onnx.helper.make_graph([node], "one", [image], [out], constants)
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "float.onnx")
    onnx_quantization.quantize(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", "int8_static", keep_float=(), calibration=CALIBRATION
    )
    got = OnnxRunner(tmp_path / "int8.onnx").run(CALIBRATION[0])["out"]
    np.testing.assert_allclose(got[:, 1], 0.3, atol=0.005)  # outputs are 0.01 apart
