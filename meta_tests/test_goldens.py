"""The networks written here are the published ones: same keys, same shapes, same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

GOLDENS = Path(__file__).parents[1] / "fixtures" / "goldens"
CASES = {
    "objectformer": ("objectformer", {}),
    "ladeda9-NPR": ("ladeda", {"gradient": "NPR"}),
    "ladeda9-right_diag": ("ladeda", {"gradient": "right_diag"}),
    "tiny_ladeda-right_diag": ("tiny_ladeda", {"gradient": "right_diag"}),
    "tiny_ladeda-NPR": ("tiny_ladeda", {"gradient": "NPR"}),
    "fasterrcnn": ("fasterrcnn", {}),
    "chunkyseal-32bit": ("chunkyseal", {}),
}


def spec_of(name):
    from fixtures.specs import MODELS

    model, settings = CASES[name]
    return MODELS[model].configured(settings)


def network_of(name):
    from fixtures.checkpoints import weighted

    described = json.loads((GOLDENS / f"{name}.json").read_text())
    return weighted(spec_of(name), published=True), described


@pytest.fixture(scope="module", params=CASES)
def golden(request):
    return request.param, *network_of(request.param)


def golden_input(name, shape):
    from fixtures.golden_weights import golden_image
    from fixtures.specs import IMAGENET_MEAN, IMAGENET_STD

    image = golden_image(shape)
    if name == "objectformer":
        return 2 * image - 1
    if not spec_of(name).preprocessing.normalises:
        return image
    mean, std = (np.array(x, np.float32).reshape(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


def test_state_dict_is_the_published_one(golden):
    _, published, described = golden
    own = published.network.state_dict()
    assert [(key, list(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in own.items()] == [
        (key, shape, dtype) for key, (shape, dtype) in described["state_dict"].items()
    ]
    assert sum(p.numel() for p in published.network.parameters()) == described["parameters"]


def test_outputs_are_the_published_ones(golden):
    """Within the goldens' stated bound: 1e-4 of the output's standard deviation, plus 1e-5."""
    import torch

    name, published, described = golden
    with np.load(GOLDENS / f"{name}.npz") as expected:
        for key, shape in described["inputs"].items():
            with torch.no_grad():
                outputs = published(torch.from_numpy(golden_input(name, shape)))
            for output, value in zip(spec_of(name).published_outputs, outputs, strict=True):
                truth = expected[f"{key}/{output}"]
                assert value.shape == truth.shape
                assert np.abs(value.numpy() - truth).max() <= 1e-4 * truth.std() + 1e-5, (key, output)


def test_full_size_chunkyseal_has_the_published_keys():
    """Keys and shapes; its outputs take 6 GB (`python -m benchmarks.chunkyseal_full`)."""
    from fixtures.checkpoint_match import published_entries
    from fixtures.specs import MODELS

    described = json.loads((GOLDENS / "chunkyseal.json").read_text())["state_dict"]
    entries = published_entries(MODELS["chunkyseal"].at("full"))
    assert [(key, list(shape), dtype) for key, (shape, dtype) in entries.items()] == [
        (key, *entry) for key, entry in described.items()
    ]


@pytest.mark.parametrize("size", [224, 380])
def test_objectformer_takes_every_published_size(size):
    import torch

    published, _ = network_of("objectformer")
    with torch.no_grad():
        logit, *masks = published(torch.zeros(1, 3, size, size))
    assert logit.shape == (1,)
    assert {tuple(mask.shape) for mask in masks} == {(1, 1, size, size)}


def test_pooling_takes_the_seeds_k():
    """K = max(5, ceil(0.1 x patches)): 1588 of 126 x 126, and 5 of a map too small for a tenth to be 5."""
    import torch

    from fixtures.ladeda import pooled

    large = torch.arange(126 * 126, dtype=torch.float64).reshape(1, 1, 126, 126)
    assert pooled(large, "topk").item() == pytest.approx(126 * 126 - 1 - (1588 - 1) / 2)
    assert pooled(large, "mean").item() == pytest.approx((126 * 126 - 1) / 2)
    assert pooled(torch.arange(9.0).reshape(1, 1, 3, 3), "topk").item() == 6


def test_gradients_are_the_published_kernels():
    """Against the definition by sums, on noise, inside the image: the border is zero-padded."""
    import torch

    from fixtures.ladeda import SOBEL, GradientMap

    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    for kind, kernel in SOBEL.items():
        expected = sum(kernel[i][j] * image[:, :, i : i + 6, j : j + 6] for i in range(3) for j in range(3))
        assert torch.allclose(GradientMap(kind).double()(image)[:, :, 1:-1, 1:-1], expected)
    assert torch.equal(GradientMap("raw")(image), image)
    npr = GradientMap("NPR")(image)
    assert torch.equal(npr[:, :, ::2, ::2], torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    assert torch.equal(npr[:, :, 1::2, 1::2], image[:, :, 1::2, 1::2] - image[:, :, ::2, ::2])
