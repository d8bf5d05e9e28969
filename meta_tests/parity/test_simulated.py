"""The simulated rounding: right files are near to it, runtimes that round wrongly are not."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from meta_tests.modelfiles.lineage_editors import OnnxEditor, TfliteEditor
from modelparity.converters.onnx import quantize as onnx_quantization
from modelparity.converters.tflite import quantize as tflite_quantization
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.ports import Ports
from modelparity.parity.claims import basic, simulated
from modelparity.parity.noise_floor import Noise, noises
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import rounded_reference
from modelparity.parity.simulation.layers import Simulated

FORMATS = ("onnx", "tflite")
QUANTIZERS = {"onnx": onnx_quantization, "tflite": tflite_quantization}
EDITORS = {"onnx": OnnxEditor, "tflite": TfliteEditor}
ROUNDING = ("int8_dynamic", "int8_static")  # of activations
RECIPES = ("fp16", *ROUNDING)
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
            self.places = nn.Parameter(torch.randn(1, 16, 1024))

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            x = torch.relu(self.norm(self.first(image)))
            x = self.depthwise(x) * nn.functional.hardsigmoid(self.gate(x.mean(dim=(2, 3), keepdim=True)))
            tokens = x.flatten(2).transpose(1, 2) + 0.5 * self.places.transpose(1, 2)
            return (self.head(nn.functional.leaky_relu(self.square(self.tokens(tokens)), 0.1)),)

    torch.manual_seed(0)
    return Network().eval()


class InProcess:
    """A worker without a process of its own."""

    def call(self, target: str, *arguments: Any, timeout: float, **keywords: Any) -> SimpleNamespace:
        assert timeout > 0
        module, _, name = target.partition(":")
        return SimpleNamespace(value=getattr(importlib.import_module(module), name)(*arguments, **keywords))


@dataclass(frozen=True)
class Files:
    """The program, its reference, and the quantized files by format and recipe."""

    folder: Path
    program: Path
    spec: SimpleNamespace
    exact: Reference
    paths: dict[tuple[str, str], Path] = field(default_factory=dict)

    def simulate(self, path: Path, images: int = 1) -> Simulated:
        from modelparity.parity.simulation.activations import simulate

        return simulate(
            self.program,
            self.spec,  # type: ignore[arg-type]
            None,
            path,
            feeds=FEEDS[:images],
            perturbed=range(images),
        )

    def reference(self, path, *, others=(), ranged=(), elements=1000, exact=None):
        """Of a file, over the four feeds and, as `others`, the first of them again."""
        truth = SimpleNamespace(
            reference=exact or self.exact,
            elements={"elements": elements},
            subject=SimpleNamespace(spec=self.spec, checkpoint=None),
        )
        bench = SimpleNamespace(
            workers=SimpleNamespace(idle=lambda *_: InProcess()),
            exported=lambda _: SimpleNamespace(path=lambda _: self.program),
            ports=defaultdict(Ports),
        )
        again = dict(zip(others, FEEDS, strict=False))
        return rounded_reference(bench, truth, path, others=again, ranged=ranged)

    def judged(self, format: str, ran: Path, meant: Path) -> Claim:
        """The claim on what `ran` gives, where the file on disk is `meant`."""
        right = self.reference(meant)
        reference, pairs = right.reference, right.reference.paired(outputs_of(format, ran))
        if reference.rounded:
            (claim,) = simulated.agree(reference, pairs)
        else:
            (error,) = reference.errors(pairs)
            claim = basic.float_parity(reference, error)
        return claim


def outputs_of(format: str, path: Path):
    from modelparity.converters.onnx import convert as onnx
    from modelparity.converters.tflite import convert as tflite

    with {"onnx": onnx, "tflite": tflite}[format].open_runner(path, 1) as runner:
        return [runner.run(feed) for feed in FEEDS]


def exact_reference(spec: SimpleNamespace, make: Callable[[], Any]) -> Reference:
    """A network in float64, and its noise: that of one order of summation."""
    import torch

    runs = []
    for dtype in (torch.float64, torch.float32):
        module = make().to(dtype)
        with torch.no_grad():
            outputs = [module(torch.from_numpy(feed["image"]).to(dtype))[0].numpy() for feed in FEEDS]
        runs.append([{"head": output} for output in outputs])
    truth, float32 = runs
    values = {"head": tuple(each["head"] for each in truth)}
    noise = noises(spec, truth, [float32])  # type: ignore[arg-type]
    return Reference(tuple("0123"), tuple(FEEDS), values, noise, samples=len(FEEDS))


IMAGE = TensorSpec("image", ("batch", 3, 32, 32), "an image")


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
    head = TensorSpec("head", ("batch", 1024, 10), "logits")
    ports = Signature((IMAGE,), (head,))
    spec = SimpleNamespace(signature=lambda: ports, task="map", outputs=(head,))
    files = Files(folder, program, spec, exact_reference(spec, network))
    for format, module in (("onnx", onnx_format), ("tflite", tflite_format)):
        source = folder / f"network.{format}"
        module.convert_float(Exported(program), source, ["image"], ["head"])
        for recipe in RECIPES:
            files.paths[format, recipe] = path = folder / f"{recipe}.{format}"
            QUANTIZERS[format].quantize(source, path, recipe, keep_float=(), calibration=FEEDS)
    return files


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_right_file_is_near(files, format, recipe):
    path = files.paths[format, recipe]
    claim = files.judged(format, path, path)
    assert claim.passed, claim
    assert claim.name == ("simulated" if recipe in ROUNDING else "float_parity")
    found = files.simulate(path)
    assert (found.layers, found.unmatched, found.elsewhere, found.wrong) == (5, (), "", ())


# --- a file of float16 weights --------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_float16_weights_are_simulated_to_a_few_float32_floors(files, format):
    path = files.paths[format, "fp16"]
    claim = files.judged(format, path, path)
    assert claim.unit == "floors"
    assert claim.observed < 3
    (error,) = files.exact.errors(files.exact.paired(outputs_of(format, path)))
    assert error.worst_rms.rms > 100 * files.exact.floors["head"]  # of the network itself
    right = files.reference(path)
    assert right.reference.noise == files.exact.noise
    assert right.reference.right_runs == ()


@pytest.mark.parametrize("format", FORMATS)
def test_one_weight_that_was_cast_otherwise_is_far_and_named(files, format):
    path = files.paths[format, "fp16"]
    editor = EDITORS[format](path)
    values = editor.values(editor.square)
    values[5, 3] = np.nextafter(values[5, 3], np.float16(np.inf))
    editor.put(editor.square, values)
    ran = editor.save(files.folder / f"cast_up-{path.name}")
    assert files.judged(format, ran, meant=path).status == "failed"
    ((_, count, steps),) = files.simulate(ran).wrong
    assert count == 1
    assert 0.5 < steps < 1.5


def test_a_float16_constant_outside_of_layers_is_matched(files):
    """The exporter computes half of the places beforehand, transposed."""
    from modelparity.modelfiles.lineage import graph_of
    from modelparity.parity.simulation.layers import cast_elsewhere

    path = files.paths["onnx", "fp16"]
    (places,) = cast_elsewhere(graph_of(path))
    assert places.shape == (1, 1024, 16)
    assert files.judged("onnx", path, path).observed < 3

    editor = OnnxEditor(path)
    key = next(name for name in editor.initializers if editor.values(name).shape == places.shape)
    values = editor.values(key)
    values[0, 7, 3] = np.nextafter(values[0, 7, 3], np.float16(np.inf))
    editor.put(key, values)
    other = editor.save(files.folder / "another_constant.onnx")
    found = files.simulate(other)
    assert (found.outputs, found.unmatched) == ((), (places.name,))
    assert files.reference(other).endswith(f"match none of the network's: {places.name}")


def test_constants_are_matched_in_any_order_of_their_elements():
    import torch
    from torch import nn

    from modelparity.parity.simulation.network import Simulation, casts

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.other = (nn.Parameter(torch.randn(3, 4)) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 3 * self.table.T + self.other.T

    torch.manual_seed(0)
    table = Table().eval()
    module = torch.export.export(table, (torch.zeros(4, 3),)).module()

    def constant(name: str, values: torch.Tensor) -> Constant:
        array = values.detach().to(torch.float16).numpy()
        return Constant(name, "float16", array.shape, lambda: array)

    stored = [constant("thrice", 3 * table.table), constant("no such", 5 * table.table)]
    nodes, unknown = casts(module, stored)
    assert unknown == ["no such"]
    assert nodes
    run = Simulation(module, (), cast=nodes, exact=True).run(torch.zeros(4, 3))
    half = (3 * table.table.detach()).to(torch.float16).double() + table.other.detach().double()
    torch.testing.assert_close(run, half.T, rtol=0, atol=1e-15)
    assert casts(module, []) == (set(), [])


# --- a file of integers ---------------------------------------------------------------------------


def weight_up(editor):
    values = editor.values(editor.square)
    values[5, 3] += 1 if values[5, 3] < 100 else -1
    editor.put(editor.square, values)


def scale_up(editor):
    keys = [editor.square]
    if isinstance(editor, TfliteEditor):  # whose kernels take the bias in steps of the product of both scales
        keys += [int(o.inputs[2]) for o in editor.graph.operators if editor.square in o.inputs]
    for key in keys:
        scale = editor.scale(key)
        scale.flat[4] *= np.float32(1.02)
        editor.put_scale(key, scale)


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
    assert files.judged(format, ran, meant=ran).passed  # its numbers are the file's own
    wrong = [count for _, count, _ in files.simulate(ran).wrong]
    assert len(wrong) == (fault is not activation_scale_up)
    assert fault is not weight_up or wrong == [1]


def test_a_layer_that_the_network_has_not_is_named(files):
    path = files.paths["onnx", "int8_static"]
    editor = OnnxEditor(path)
    values = editor.values(editor.square)
    editor.put(editor.square, values[::-1])
    found = files.simulate(editor.save(files.folder / "another.onnx"))
    assert len(found.unmatched) == 1
    why = files.reference(files.folder / "another.onnx")
    assert why == f"these of its layers or constants match none of the network's: {found.unmatched[0]}"
    assert files.reference(files.folder / "network.onnx").startswith("no layer of rounded weights")
    claim = simulated.not_decided(why)
    assert claim.status == "inconclusive"
    assert claim.detail == f"whether the conversion is right is not decided: {why}"


@pytest.mark.parametrize("recipe", ROUNDING)
def test_the_noise_of_a_rounding_is_the_distance_of_a_perturbed_run(files, recipe):
    right = files.reference(files.paths["onnx", recipe])
    reference, exact = right.reference, files.exact
    assert reference.rounded
    assert (len(reference.right_runs), reference.samples) == (4, 4)
    moved_by = [pair.rms("head") for pair in reference.paired(reference.right_runs)]
    assert reference.floors["head"] == max(moved_by) > 100 * exact.floors["head"]
    assert reference.unrounded == exact.outputs
    assert (reference.outputs["head"][0] != exact.outputs["head"][0]).any()


def test_a_rounding_that_moves_nothing_is_held_to_the_bound_of_a_float_file(files):
    """Half of the float file's 8 floors, because the rounding may be off by two."""
    loud = replace(files.exact, noise={"head": Noise(1e3, 2e3, 3e3)})
    right = files.reference(files.paths["onnx", "int8_static"], exact=loud)
    assert right.reference.noise == {"head": Noise(4e3, 8e3, 12e3)}


def test_other_feeds_are_simulated_beside_the_evaluation_set(files):
    path = files.paths["onnx", "int8_dynamic"]
    right = files.reference(path, others=("grey", "batch"), ranged=("batch",))
    reference = right.reference
    assert (len(reference.outputs["head"]), len(reference.right_runs)) == (4, 4)
    assert right.others.keys() == {"grey", "batch"}
    for name, due in zip(("grey", "batch"), reference.outputs["head"], strict=False):
        np.testing.assert_array_equal(right.others[name]["head"], due)
    assert right.perturbed.keys() == {"batch"}
    apart = np.abs(right.perturbed["batch"]["head"] - right.others["batch"]["head"]).max()
    assert 0 < apart < 40 * reference.floors["head"]


def test_of_a_large_network_one_image_is_simulated(files):
    right = files.reference(files.paths["onnx", "fp16"], others=("grey",), elements=300_000_000)
    assert right.reference.names == ("0",)
    assert len(right.reference.outputs["head"]) == len(right.reference.unrounded["head"]) == 1
    assert right.others == {}


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
