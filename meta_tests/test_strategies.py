"""Drawn images: of every kind, in range, and readable when they fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from fixtures import strategies
from fixtures.specs import IMAGENET_MEAN, IMAGENET_STD, MODELS, UNIT_RANGE

TINY = MODELS["tiny_ladeda"]


def small(batch: int | st.SearchStrategy[int], model: str = "tiny_ladeda") -> st.SearchStrategy:
    return strategies.images(MODELS[model], batch, input_size=16)


@given(data=st.data())
def test_drawn_images_fit_the_signature(data):
    drawn = data.draw(small(st.integers(1, 4)))
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
    plainest = find(small(2), lambda _: True)
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
    assert find(small(1), lambda drawn: words in drawn.description, settings=options)


def paint(kind: str) -> np.ndarray:
    pattern = find(strategies.patterns(8, 8), lambda pattern: pattern.description == kind)
    return strategies._painted(pattern, 8, 8, UNIT_RANGE)


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
    ("model", "kind", "expected"),
    [
        ("tiny_ladeda", "constant white", (np.ones(3) - IMAGENET_MEAN) / IMAGENET_STD),
        ("tiny_ladeda", "constant +10, out of range", [10.0] * 3),
        ("fasterrcnn", "constant white", [1.0] * 3),
        ("chunkyseal", "constant black", [0.0] * 3),
    ],
)
def test_values_are_normalised_as_the_network_asks(model, kind, expected):
    drawn = find(small(1, model), lambda drawn: drawn.description == kind)
    np.testing.assert_allclose(drawn.array[0, :, 5, 5], expected, rtol=1e-6)
