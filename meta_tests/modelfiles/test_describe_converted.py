"""The census of files as the toolchains write them: litert-torch and ai-edge-quantizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelparity.converters.tflite import quantize
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.modelfiles.describe import describe
from modelparity.modelfiles.description import Port


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as litert-torch converts it."""
    import litert_torch
    import torch
    from torch import nn

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            features = torch.relu(self.conv(image))
            return {"score": self.head(features.mean((2, 3))), "mask": features}

    path = tmp_path_factory.mktemp("converted") / "tiny.tflite"
    litert_torch.convert(Tiny().eval(), sample_kwargs={"image": torch.rand(1, 3, 8, 8)}).export(str(path))
    return path


CONVERTED: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "fp32": ({"float32": 108 + 4 + 20 + 5}, {"float32": 4 * 64 * 27 + 20}),
    "fp16": ({"float16": 108 + 20, "float32": 4 + 5}, {"float32": 4 * 64 * 27 + 20}),
    "int8_dynamic": ({"int8": 108 + 20, "float32": 4 + 5}, {"int8": 4 * 64 * 27 + 20}),
    "int8_static": ({"int8": 108 + 20, "int32": 4 + 5}, {"int8": 4 * 64 * 27 + 20}),
}


@pytest.mark.parametrize("recipe", CONVERTED)
def test_a_converted_network(converted: Path, tmp_path: Path, recipe: str) -> None:
    path = converted
    if recipe != "fp32":
        path = tmp_path / "quantized"
        feeds: list[dict[str, Any]] = [{"image": np.random.default_rng(0).random((1, 3, 8, 8), np.float32)}]
        quantize.quantize(converted, path, recipe, keep_float=(), calibration=feeds)
    found = describe(path)
    assert (found.quantization, found.weights, found.macs) == (recipe, *CONVERTED[recipe])
    assert found.inputs == (Port("image", (1, 3, 8, 8), "float32"),)
    assert found.outputs == (Port("score", (1, 5), "float32"), Port("mask", (1, 4, 8, 8), "float32"))


def test_a_file_of_both_is_named_by_its_int8_layers(converted: Path, tmp_path: Path) -> None:
    keep = (KeepFloat("CONV_2D", because="to mix"),)
    quantize.quantize(converted, tmp_path / "mixed", "int8_dynamic", keep_float=keep, calibration=())
    found = describe(tmp_path / "mixed")
    assert (found.quantization, found.macs) == ("int8_dynamic", {"float32": 4 * 64 * 27, "int8": 20})
