"""The simulated rounding: right files are near to it, runtimes that round wrongly are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from meta_tests.modelfiles.lineage_editors import OnnxEditor, TfliteEditor
from meta_tests.parity.test_detections import moved
from meta_tests.parity.test_detections import outputs_of as detected
from modelparity.converters.onnx import quantize as onnx_quantization
from modelparity.converters.tflite import quantize as tflite_quantization
from modelparity.modelfiles.graph import QuantizationParams
from modelparity.parity.cells import Cell
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.simulation import claim as claims
from modelparity.parity.simulation.layers import Simulated

FORMATS = ("onnx", "tflite")
QUANTIZERS = {"onnx": onnx_quantization, "tflite": tflite_quantization}
EDITORS = {"onnx": OnnxEditor, "tflite": TfliteEditor}
RECIPES = ("int8_dynamic", "int8_static")
FEEDS = [
    {"image": np.random.default_rng(seed).standard_normal((1, 3, 32, 32), np.float32)} for seed in range(4)
]


def network():
    """What exporters fold: a batch norm behind a layer, a layer norm before one; and what TFLite fuses."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 16, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(16)
            self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
            self.gate = nn.Conv2d(16, 16, 1)
            self.tokens = nn.LayerNorm(16)
            self.square = nn.Linear(16, 16)
            self.head = nn.Linear(16, 10, bias=False)
            nn.init.uniform_(self.norm.weight, 0.5, 2)
            nn.init.uniform_(self.norm.running_mean)
            nn.init.uniform_(self.norm.running_var, 0.5, 2)
            nn.init.uniform_(self.tokens.weight, 0.5, 2)
            nn.init.uniform_(self.tokens.bias)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.norm(self.first(image)))
            x = self.depthwise(x) * nn.functional.hardsigmoid(self.gate(x.mean(dim=(2, 3), keepdim=True)))
            tokens = x.flatten(2).transpose(1, 2)
            return self.head(nn.functional.leaky_relu(self.square(self.tokens(tokens)), 0.1))

    torch.manual_seed(0)
    return Network().eval()


@dataclass(frozen=True)
class Files:
    """The program, and the quantized files by format and recipe."""

    folder: Path
    program: Path
    spec: SimpleNamespace
    paths: dict[tuple[str, str], Path]

    def simulate(self, path: Path):
        from modelparity.parity.simulation.network import simulate

        return simulate(self.program, self.spec, None, path, feeds=FEEDS[: claims.IMAGES])  # type: ignore[arg-type]

    def judged(self, format: str, ran: Path, meant: Path) -> Claim:
        """The claim on what `ran` gives, where the file on disk is `meant`."""
        found, ran_outputs = self.simulate(meant), outputs_of(format, ran)
        truth = {"head": tuple(o["head"] for o in outputs_of(format, self.paths[format, "fp32"]))}
        names = tuple(map(str, range(len(FEEDS))))
        reference = Reference(names, tuple(FEEDS), truth, {"head": 1e-7})
        (claim,), why = claims.agree(reference, ran_outputs, found)
        assert why == ""
        return claim


def outputs_of(format: str, path: Path):
    from modelparity.converters.onnx import convert as onnx
    from modelparity.converters.tflite import convert as tflite

    with {"onnx": onnx, "tflite": tflite}[format].open_runner(path, 1) as runner:
        return [runner.run(feed) for feed in FEEDS]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    import torch

    from modelparity.converters.engine.exported_program import Exported
    from modelparity.converters.onnx import convert as onnx_format
    from modelparity.converters.tflite import convert as tflite_format

    folder = tmp_path_factory.mktemp("files")
    batch = {"image": {0: torch.export.Dim("batch")}}
    torch.export.save(
        torch.export.export(network(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch),
        program := folder / "network.pt2",
    )
    paths = {}
    for format, module in (("onnx", onnx_format), ("tflite", tflite_format)):
        paths[format, "fp32"] = source = folder / f"network.{format}"
        module.convert_float(Exported(program), source, ["image"], ["head"])
        for recipe in RECIPES:
            paths[format, recipe] = folder / f"{recipe}.{format}"
            QUANTIZERS[format].quantize(
                source, paths[format, recipe], recipe, keep_float=(), calibration=FEEDS
            )
    names = SimpleNamespace(output_names=["head"])
    return Files(folder, program, SimpleNamespace(signature=lambda: names), paths)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_right_file_is_near(files, format, recipe):
    path = files.paths[format, recipe]
    claim = files.judged(format, path, path)
    print(claim)
    assert claim.passed, claim
    found = files.simulate(path)
    assert found.layers == 5
    assert found.unmatched == ()


def weight_up(editor):
    values = editor.values(editor.square)
    values[5, 3] += 1 if values[5, 3] < 100 else -1
    editor.put(editor.square, values)


def scale_up(editor):
    scale = editor.scale(editor.square)
    scale.flat[4] *= np.float32(1.02)
    editor.put_scale(editor.square, scale)


def activation_scale_up(editor):
    editor.shift_activation(0, 1.02)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", [weight_up, scale_up, activation_scale_up])
def test_a_runtime_that_computes_with_other_numbers_is_far(files, format, fault):
    """What runs has the fault, the file that it is held against has not."""
    path = files.paths[format, "int8_static"]
    ran = files.folder / f"{fault.__name__}-{path.name}"
    editor = EDITORS[format](path)
    fault(editor)
    editor.save(ran)
    assert files.judged(format, ran, meant=path).status == "failed"
    assert files.judged(format, ran, meant=ran).passed  # its numbers are the file's own: lineage's to find


def test_a_layer_that_the_network_has_not_is_named(files):
    path = files.paths["onnx", "int8_static"]
    editor = OnnxEditor(path)
    values = editor.values(editor.square)
    editor.put(editor.square, values[::-1])
    found = files.simulate(editor.save(files.folder / "another.onnx"))
    assert len(found.unmatched) == 1
    made, why = claims.agree(Reference((), (), {}, {}), [], found)
    assert made == []
    assert why == f"of 5 rounded layers, these match none of the network's: {found.unmatched[0]}"


def test_roundings_that_no_layer_has_are_named_and_nothing_is_simulated(files, monkeypatch):
    """ONNX Runtime's own recipe rounds pools, sums and outputs, too; ours what layers read and give."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._left = iter(FEEDS)

        def get_next(self):
            return next(self._left, None)

    path = files.folder / "everything_rounded.onnx"
    quantize_static(files.paths["onnx", "fp32"], path, Reader())
    monkeypatch.setattr("modelparity.parity.simulation.network.Simulation", None)
    found = files.simulate(path)
    assert found.elsewhere
    made, why = claims.agree(Reference((), (), {}, {}), [], found)
    assert made == []
    assert why.startswith(f"{len(found.elsewhere)} activations are rounded outside the layers")
    assert found.elsewhere[0] in why


def test_the_coarsest_layer_is_named_by_its_module_path(files):
    from modelparity.parity.simulation.network import coarsest

    path = files.paths["onnx", "int8_dynamic"]
    editor = OnnxEditor(path)
    values = editor.values(editor.square)
    editor.put(editor.square, values // 8 * 8)  # five bits
    words = coarsest(
        files.program, files.spec, None, editor.save(files.folder / "coarse.onnx"), feed=FEEDS[0]
    )
    assert words.startswith("at square (")
    assert words.endswith("worst of 5 layers)")


def test_rounding_is_to_the_nearest_step_and_ties_are_to_even():
    import torch

    from modelparity.parity.simulation.network import rounded

    steps = QuantizationParams(0.5, 3, 0, 10)
    given = torch.tensor([0.25, 0.75, 0.26, -9.0, 9.0])
    assert rounded(given, [steps]).tolist() == [0.0, 1.0, 0.5, -1.5, 3.5]


def test_a_range_at_run_time_is_the_one_of_onnx():
    import onnx
    import torch
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    from modelparity.parity.simulation.network import by_range_uint8

    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = ReferenceEvaluator(helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:])))
    assert onnx.__name__
    for offset in (-5, 0, 5):
        given = np.random.default_rng(0).standard_normal((7, 9), np.float32) + np.float32(offset)
        (due,) = model.run(None, {"x": given})
        np.testing.assert_allclose(by_range_uint8(torch.from_numpy(given)).numpy(), due, rtol=1e-6, atol=1e-7)


def test_a_row_has_its_own_range_in_int8():
    import torch

    from modelparity.parity.simulation.network import by_range_int8

    given = torch.tensor([[0.0, 51.0, 255.0], [-100.0, 0.0, 155.0], [0.0, 0.0, 0.0]])
    assert by_range_int8(given, (1,)).tolist() == given.tolist()  # each is whole steps of its own range
    together = by_range_int8(given, (0, 1))
    assert together[0].tolist() != given[0].tolist()


def claim(name: str, status: str, observed: float = 1, bound: float = 2, output: str = "mask") -> Claim:
    return Claim(name, status, observed, bound, "because", output=output, detail="worst")  # type: ignore[arg-type]


def test_a_missed_budget_says_whether_the_conversion_is_right():
    near, far = claim("simulated", "passed", 41.0, 30.0), claim("simulated", "failed", 12.0, 30.0)
    missed = claim("sqnr", "failed")
    found = [claim("lineage_weights", "passed"), missed, near]
    assert claims.too_coarse(found)
    claims.explain_missed(found, "at a.b (9.1 dB of its own output, worst of 39 layers)")
    assert found[1].detail == (
        "worst; the conversion itself is right: mask 41.0 dB against the simulated rounding; int8 is too "
        "coarse, coarsest at a.b (9.1 dB of its own output, worst of 39 layers)"
    )
    found = [missed, far]
    assert not claims.too_coarse(found)
    claims.explain_missed(found)
    assert found[0].detail == (
        "worst; the conversion is wrong: mask 12.0 dB against the simulated rounding, "
        "but should be >= 30.0 dB"
    )
    found = [replace(claim("lineage_ranges", "failed"), output=None), missed, near]
    claims.explain_missed(found)
    assert found[1].detail == "worst; the conversion is wrong: lineage_ranges does not hold"
    found = [missed]
    claims.explain_missed(found)
    assert found == [missed]  # nothing is known of it


def test_what_is_not_simulated_says_why():
    assert claims.skipped(Cell("m", "onnx", "fp16"), 1000).startswith("float16 weights round no activation")
    assert claims.skipped(Cell("m", "onnx", "int8_static"), 773_700_000).startswith("774 M weights")
    assert claims.skipped(Cell("m", "onnx", "int8_static"), 1000) == ""


@pytest.mark.parametrize(("rows", "by", "holds"), [(24, 1e-3, True), (24, 5e-3, False), (6, 0.015, True)])
def test_detections_are_held_to_their_median_row(rows, by, holds):
    """Of a few that come from another proposal nothing follows, of all a little farther much."""
    truth = detected(3, batch=1, rows=25, found=24)
    found = Simulated((truth,), (moved(truth, 24, 1e-3),), layers=1)
    reference = Reference(
        ("first",),
        ({},),
        {name: (value,) for name, value in truth.items()},
        {"location": 1e-7, "score": 1e-7},
        "detection",
    )
    made, why = claims.agree(reference, [moved(truth, rows, by)], found)
    location = next(claim for claim in made if claim.output == "location")
    assert (location.passed, why) == (holds, "")
    assert "median row" in location.detail
