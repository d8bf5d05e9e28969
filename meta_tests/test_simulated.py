"""The simulated rounding: right files are near to it, in both formats, and runtimes that round wrongly are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from converters import onnx_quantization, tflite_quantization
from converters.lineage import Rounding
from meta_tests.test_lineage_editors import OnnxEditor, TfliteEditor
from parity import simulated as claims
from parity.cells import Cell
from parity.reference import Reference
from parity.results import Claim

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
        from converters.simulated import simulate

        return simulate(self.program, self.spec, None, path, FEEDS[: claims.IMAGES])  # type: ignore[arg-type]

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
    from converters import onnx, tflite

    with {"onnx": onnx, "tflite": tflite}[format].open_runner(path, 1) as runner:
        return [runner.run(feed) for feed in FEEDS]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    import torch

    from converters import onnx as onnx_format
    from converters import tflite as tflite_format
    from converters.program import Exported

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
            QUANTIZERS[format].quantize(source, paths[format, recipe], recipe, (), FEEDS)
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
