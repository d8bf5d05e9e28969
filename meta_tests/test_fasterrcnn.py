"""The detector in fixed shapes is torchvision's: suppression, pooling, and the whole on photographs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**16 - 1)
PLENTY = 64


def boxes_of(seed: int, count: int, kind: str) -> np.ndarray:
    """[count, 4] corners in a 100 pixel image: scattered, crowded, some without area, or all the same."""
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 80 if kind == "scattered" else 15, (count, 2))
    side = generator.uniform(1, 30, (count, 2))
    if kind == "empty":
        side[generator.random(count) < 0.5] = 0
    if kind == "identical":
        corner[:], side[:] = corner[0], side[0]
    if kind == "grid":  # whole numbers, so that overlaps hit the threshold exactly
        corner, side = np.round(corner / 5) * 5, np.full_like(side, 10)
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


KINDS = st.sampled_from(["scattered", "crowded", "empty", "identical", "grid"])
# Scores from a few values have ties; from one, nothing else.
LEVELS = st.sampled_from([1, 3, 1_000_000])


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    count=st.sampled_from([1, 2, 17, 120]),
    kind=KINDS,
    levels=LEVELS,
    threshold=st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.6, 0.7, 1.0]),
    double=st.booleans(),
)
def test_suppression_is_torchvisions(seed, count, kind, levels, threshold, double):
    import torch
    from torchvision.ops import nms

    from fixtures.fasterrcnn_boxes import suppress

    dtype = torch.float64 if double else torch.float32
    boxes = torch.from_numpy(boxes_of(seed, count, kind)).to(dtype)
    scores = torch.from_numpy(np.random.default_rng(seed).integers(1, levels + 1, count) / levels).to(dtype)
    expected = torch.zeros(count, dtype=torch.bool)
    expected[nms(boxes, scores, threshold)] = True
    kept = suppress(boxes[None], scores[None], torch.ones(1, count, dtype=torch.bool), threshold, count + 1)
    assert kept.converged.tolist() == [True]
    assert torch.equal(kept.keep[0], expected)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, kind=KINDS, levels=LEVELS)
def test_suppression_keeps_to_kinds_and_to_valid_boxes(seed, kind, levels):
    import torch
    from torchvision.ops import batched_nms

    from fixtures.fasterrcnn_boxes import suppress

    generator = np.random.default_rng(seed)
    boxes = torch.from_numpy(boxes_of(seed, 60, kind))
    scores = torch.from_numpy((generator.integers(1, levels + 1, 60) / levels).astype(np.float32))
    kinds = torch.from_numpy(generator.integers(0, 3, 60))
    valid = torch.from_numpy(generator.random(60) < 0.8)
    at = torch.where(valid)[0]
    expected = torch.zeros(60, dtype=torch.bool)
    expected[at[batched_nms(boxes[at].double(), scores[at].double(), kinds[at], 0.5)]] = True
    kept = suppress(boxes[None].double(), scores[None].double(), valid[None], 0.5, PLENTY, kinds[None])
    assert kept.converged.all()
    assert torch.equal(kept.keep[0], expected)


def test_suppression_says_when_it_has_not_settled():
    """A chain in which each box beats the next takes a round a link."""
    import torch

    from fixtures.fasterrcnn_boxes import suppress

    left = torch.arange(20.0) * 4
    chain = torch.stack((left, torch.zeros(20), left + 10, torch.full((20,), 10.0)), dim=1)[None]
    scores, valid = torch.linspace(1, 0.5, 20)[None], torch.ones(1, 20, dtype=torch.bool)
    early = suppress(chain, scores, valid, 0.4, 5)
    assert early.converged.tolist() == [False]
    settled = suppress(chain, scores, valid, 0.4, 21)
    assert settled.converged.tolist() == [True]
    assert settled.keep[0].tolist() == [index % 2 == 0 for index in range(20)]
    assert not torch.equal(early.keep, settled.keep)


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    batch=st.integers(1, 3),
    count=st.sampled_from([1, 5, 300]),
    samples=st.sampled_from([1, 2]),
    beyond=st.booleans(),
)
def test_pooling_is_torchvisions(seed, batch, count, samples, beyond):
    """Maps of two sizes; boxes without area, at the edges, and with `beyond` outside the image."""
    import torch
    from torchvision.ops import roi_align

    from fixtures.fasterrcnn_boxes import pooled_regions

    generator = np.random.default_rng(seed)
    maps = [torch.from_numpy(generator.standard_normal((batch, 4, *shape))) for shape in ((12, 16), (6, 8))]
    scales = (1 / 8, 1 / 16)
    low, high = (-40, 160) if beyond else (0, 96)
    corners = generator.uniform(low, high, (batch, count, 2, 2))
    corners[:, ::3, 1] = corners[:, ::3, 0]
    corners[:, ::4] = np.round(corners[:, ::4] / 8) * 8
    boxes = torch.from_numpy(np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=-1))
    level = torch.from_numpy(generator.integers(0, 2, (batch, count)).astype(np.float64))
    got = pooled_regions(maps, scales, boxes, level, 3, samples)
    for index in range(batch):
        for number, (features, scale) in enumerate(zip(maps, scales, strict=True)):
            own = level[index] == number
            expected = roi_align(features[index : index + 1], [boxes[index][own]], 3, scale, samples)
            torch.testing.assert_close(got[index][own], expected, rtol=0, atol=1e-12)


@given(st.floats(1, 1000), st.floats(1, 1000))
@settings(max_examples=100, deadline=None)
def test_levels_are_torchvisions(width, height):
    import torch
    from torchvision.ops.poolers import initLevelMapper

    from fixtures.fasterrcnn_boxes import levels_of

    box = torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)
    assert levels_of(box, 3, 5).tolist() == initLevelMapper(3, 5)([box]).tolist()


@pytest.fixture(scope="module")
def detectors():
    """torchvision's own and ours, on the goldens' weights."""
    from fixtures.checkpoints import weighted
    from fixtures.specs import MODELS

    return weighted(MODELS["fasterrcnn"], published=True), weighted(MODELS["fasterrcnn"])


@pytest.mark.parametrize("shape", [(320, 320), (200, 333)])
def test_detector_is_torchvisions_on_photographs(detectors, shape):
    import torch

    from fixtures.specs import MODELS
    from fixtures.streams import evaluation_stream

    published, ours = detectors
    height, width = shape
    stream = evaluation_stream(MODELS["fasterrcnn"], 384, 2)
    images = torch.from_numpy(np.stack([sample.image for sample in stream])[:, :, :height, :width].copy())
    with torch.no_grad():
        location, score, category = ours(images)
        for index, image in enumerate(images):
            boxes, labels, scores = published(image[None])
            count = len(scores)
            extent = torch.tensor([width, height] * 2)
            assert count > 50
            assert (location[index, :count] * extent - boxes).abs().max() < 2e-3
            assert (score[index, :count] - scores).abs().max() < 1e-6
            assert torch.equal(category[index, :count].long(), labels)
            assert not score[index, count:].any()


@pytest.mark.parametrize(("height", "width"), [(100, 133), (192, 320)])
def test_detector_is_torchvisions_at_other_sizes(height, width):
    """Sizes that torchvision pads to multiples of 32, and an image that is no square."""
    import torch

    from fixtures.checkpoints import weighted
    from fixtures.golden_weights import golden_image
    from fixtures.specs import MODELS

    spec = MODELS["fasterrcnn"].configured({"height": height, "width": width})
    image = torch.from_numpy(golden_image((1, 3, 150, 180)))
    with torch.no_grad():
        location, score, category = weighted(spec)(image)
        boxes, labels, scores = weighted(spec, published=True)(image)
    count = len(scores)
    assert count > 20
    assert (score[0, :count] - scores).abs().max() < 1e-6
    assert (location[0, :count] * torch.tensor([180, 150, 180, 150]) - boxes).abs().max() < 2e-3
    assert torch.equal(category[0, :count].long(), labels)


def test_padding_and_thresholds(detectors):
    """Few survive a high threshold: the rest is score 0, an empty box and category 1."""
    import torch

    from fixtures.checkpoints import weighted
    from fixtures.golden_weights import golden_image
    from fixtures.specs import MODELS

    spec = MODELS["fasterrcnn"].configured({"score_threshold": 0.405, "nms_threshold": 0.3, "detections": 30})
    image = torch.from_numpy(golden_image((1, 3, 320, 320)))
    with torch.no_grad():
        location, score, category = weighted(spec)(image)
        boxes, labels, scores = weighted(spec, published=True)(image)
    count = len(scores)
    assert 0 < count < 30
    assert int((score > 0).sum()) == count
    assert (location[0, :count] * 320 - boxes).abs().max() < 1e-3
    assert not location[0, count:].any()
    assert set(category[0, count:].tolist()) == {1}
    assert torch.equal(category[0, :count].long(), labels)


def test_unsettled_suppression_shows_in_the_scores(detectors, monkeypatch):
    import torch

    from fixtures.golden_weights import golden_image

    monkeypatch.setattr("fixtures.fasterrcnn.NMS_ROUNDS", 2)
    with torch.no_grad():
        _, score, _ = detectors[1](torch.from_numpy(golden_image((1, 3, 320, 320))))
    assert bool(torch.isnan(score).all())


def test_the_longest_chains_of_boxes_settle(detectors):
    """In a diagonal gradient boxes suppress one another one after the other, 33 rounds long."""
    import torch

    from fixtures.specs import MODELS

    ramp = np.linspace(0, 1, 320, dtype=np.float32)
    image = torch.from_numpy(np.tile((ramp[:, None] + ramp) / 2, (1, 3, 1, 1)))
    normal = MODELS["fasterrcnn"].preprocessing
    assert (normal.mean, normal.std) == ((0.0,) * 3, (1.0,) * 3)  # the network does its own
    with torch.no_grad():
        _, _, scores = detectors[0](image)
        _, score, _ = detectors[1](image)
    assert score[0] == pytest.approx(scores, abs=1e-5)


def test_more_candidates_than_are_looked_at(detectors, monkeypatch):
    """With enough kept among the best, the others cannot matter; with too few, the scores say so."""
    import torch

    from fixtures.golden_weights import golden_image

    image = torch.from_numpy(golden_image((1, 3, 320, 320)))
    with torch.no_grad():
        whole = detectors[1](image)
        monkeypatch.setattr("fixtures.fasterrcnn.NMS_CANDIDATES", 900)
        enough = detectors[1](image)
        monkeypatch.setattr("fixtures.fasterrcnn.NMS_CANDIDATES", 110)
        short = detectors[1](image)
    assert all(torch.equal(a, b) for a, b in zip(whole, enough, strict=True))
    assert bool(torch.isnan(short[1]).all())


def test_class_count_is_read_off_the_head(tmp_path):
    import torch

    from fixtures.checkpoints import golden_state_dict, read_checkpoint
    from fixtures.specs import MODELS

    spec = MODELS["fasterrcnn"].configured({"classes": 5})
    path = tmp_path / "bare.pth"
    torch.save(golden_state_dict(spec), path)
    read = read_checkpoint(path, MODELS["fasterrcnn"])
    assert read.spec.values["classes"] == 5
    assert "classes = 5 read off its shapes" in read.source
    assert "nms_threshold = 0.5" in read.source
    assert "height = 320" in read.source
    assert read.source.endswith("by default")
    assert read.spec.build().classes == 5
