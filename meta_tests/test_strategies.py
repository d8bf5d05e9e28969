"""Drawn images: of every kind, in range, and readable when they fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from fixtures import strategies
from fixtures.specs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MODELS,
    ModelSpec,
    Preprocessing,
    Signature,
    TensorSpec,
)

TINY = MODELS["tiny_ladeda"]


def small(spec: ModelSpec = TINY) -> Signature:
    return spec.signature(16)


@given(data=st.data())
def test_drawn_images_fit_the_signature(data):
    drawn = data.draw(strategies.images(small()))
    batch = drawn.array.shape[0]
    assert 1 <= batch <= 4
    assert drawn.array.shape[1:] == (3, 16, 16)
    assert drawn.array.dtype == np.float32
    assert drawn.array.flags.c_contiguous
    assert np.isfinite(drawn.array).all()
    assert drawn.feeds == {"image": drawn.array}
    assert len(drawn.description.split("; ")) == batch
    lower, upper = (
        (np.array([level] * 3, np.float32) - np.array(TINY.preprocessing.mean, np.float32))
        / np.array(TINY.preprocessing.std, np.float32)
        for level in (0, 1)
    )
    for image, words in zip(drawn.array, drawn.description.split("; "), strict=True):
        if "out of range" in words:
            assert np.abs(image).max() <= 10
        else:
            assert (image.min((1, 2)) >= lower - 1e-6).all()
            assert (image.max((1, 2)) <= upper + 1e-6).all()


def test_drawn_images_print_as_their_description():
    plainest = find(strategies.images(small(), batch=2), lambda _: True)
    assert repr(plainest) == "DrawnImage('constant black; constant black', 2x3x16x16)"


@pytest.mark.parametrize(
    "words",
    [
        "constant black",
        "constant white",
        "constant mid-grey",
        "green alone",
        "checkerboard of 3 px",
        "gradient down, reversed",
        "one white pixel",
        "uniform noise",
        "photograph-like",
        "every value 0 or 1",
        "constant +10, out of range",
        "constant -10, out of range",
        "noise within +-10",
    ],
)
def test_every_kind_is_drawn(words):
    options = settings(max_examples=3000, suppress_health_check=list(HealthCheck))
    assert find(
        strategies.images(small(), batch=1), lambda drawn: words in drawn.description, settings=options
    )


def paint(kind: str) -> np.ndarray:
    normal = Preprocessing("bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    pattern = find(strategies.patterns(8, 8), lambda pattern: pattern.description == kind)
    return strategies._painted(pattern, 8, 8, normal)


def test_what_patterns_look_like():
    board = paint("checkerboard of 2 px")
    assert board[0, :4, :4].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    np.testing.assert_array_equal(
        paint("gradient across")[1], np.tile(np.linspace(0, 1, 8, dtype="f4"), (8, 1))
    )
    rising = np.linspace(0, 1, 8, dtype="f4")
    np.testing.assert_allclose(paint("gradient down, reversed")[2, :, 3], rising[::-1])
    pixel = paint("one white pixel at (0, 1)")
    assert pixel.sum() == 3
    assert pixel[:, 0, 1].tolist() == [1, 1, 1]
    assert paint("blue alone").mean((1, 2)).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant white", (np.ones(3) - IMAGENET_MEAN) / IMAGENET_STD),
        ("constant +10, out of range", [10.0] * 3),
    ],
)
def test_values_are_normalised_once(kind, expected):
    for source in (small(), TINY):
        drawn = find(strategies.images(source, batch=1), lambda drawn: drawn.description == kind)
        np.testing.assert_allclose(drawn.array[0, :, 5, 5], expected, rtol=1e-6)


def test_batches():
    sizes = {find(strategies.batches(small()), lambda drawn, n=n: drawn == n) for n in (1, 2, 3, 4)}
    assert sizes == {1, 2, 3, 4}
    fixed = Signature((TensorSpec("image", (7, 3, 8, 8), "RGB"),), ())
    assert find(strategies.batches(fixed), lambda _: True) == 7
    assert find(strategies.images(fixed), lambda _: True).array.shape == (7, 3, 8, 8)
    assert find(strategies.images(small(), batch=st.just(3)), lambda _: True).array.shape[0] == 3
    free = Signature((TensorSpec("image", (1, 3, "H", "W"), "RGB"),), ())
    with pytest.raises(ValueError, match="no fixed size"):
        strategies.images(free)
