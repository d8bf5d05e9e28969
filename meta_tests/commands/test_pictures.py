"""Pictures: of every kind of answer, coloured as they should be, the same bytes again, kept in a record."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from modelparity.fixtures.images import preprocess
from modelparity.fixtures.models import MODELS
from modelparity.parity.results import SampleRecord
from modelparity.pictures import compose
from modelparity.pictures.worst_sample import photograph_of, worst
from modelparity.serving.results import Deepfake, Detections, Tampering, Watermark

SIZE = (60, 80)
PIXELS = np.full((*SIZE, 3), 128, np.uint8)
TRUTH = np.zeros(SIZE, bool)
TRUTH[10:40, 10:50] = True
SHARED = {"model": "made up", "threshold": 0.5, "size": SIZE}


def tampering(mask: np.ndarray | None) -> Tampering:
    return Tampering(**SHARED, probability=0.75, tampered=True, mask=mask, tampered_share=0.2)


def deepfake(patches: np.ndarray | None) -> Deepfake:
    return Deepfake(**SHARED, probability=0.25, fake=False, patches=patches)


def found(*boxes: tuple[float, ...]) -> Detections:
    count = len(boxes)
    return Detections(
        **SHARED,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.6, count, dtype=np.float32),
        categories=np.ones(count, np.int32),
        labels=("triangle",) * count,
    )


def mark(count: int, flipped: int = 0) -> Watermark:
    bits = (np.arange(count) % 3 == 0).astype(np.uint8)
    bits[:flipped] ^= 1
    return Watermark(**SHARED, confidence=0.9, marked=True, bits=bits)


MASK = np.where(TRUTH, 0.9, 0.1).astype(np.float32)
PATCHES = np.linspace(0, 1, 25, dtype=np.float32).reshape(5, 5)
PAIRS = {
    "mask": (tampering(MASK), tampering(MASK[:, ::-1])),
    "score": (tampering(None), replace(tampering(None), probability=0.4)),
    "patches": (deepfake(PATCHES), deepfake(PATCHES.T)),
    "fake score": (deepfake(None), replace(deepfake(None), probability=0.4)),
    "boxes": (found((5, 5, 40, 40)), found((6, 5, 40, 41), (50, 20, 70, 50))),
    "no boxes": (found(), found()),
    "bits": (mark(32), mark(32, 2)),
    "many bits": (mark(1024), mark(1024, 1)),
}


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("kind", PAIRS)
def test_every_answer_has_a_picture_and_every_pair(kind):
    first, second = PAIRS[kind]
    alone = opened(compose.as_png(compose.shown("a title", PIXELS, first)))
    assert alone.shape[1] > 400
    both = compose.as_webp(compose.compared("a title", PIXELS, (first, second), ("one", "two")))
    assert opened(both).shape[1] > 400
    assert len(both) < 60_000
    if kind != "no boxes":
        same = compose.as_webp(compose.compared("a title", PIXELS, (first, first), ("one", "two")))
        assert both != same


@pytest.mark.parametrize("kind", PAIRS)
def test_no_words_are_cut_off(kind):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    spec = max(MODELS.values(), key=lambda spec: len(spec.title))
    title = f"{spec.title}, tflite int8_dynamic, 1024 × 1024: a_name_as_cameras_give_20261127_120000.jpeg"
    names = ("tflite int8_dynamic, 288 px", "tflite int8_dynamic, 1024 px")
    alone = compose.shown(title, PIXELS, PAIRS[kind][0])
    for figure in (alone, compose.compared(title, PIXELS, PAIRS[kind], names)):
        FigureCanvasAgg(figure).draw()
        legends = [legend for axes in figure.axes if (legend := axes.get_legend())]
        titles = [part for axes in figure.axes for part in (axes.title, axes._left_title) if part.get_text()]
        for part in (*figure.texts, *titles, *legends):
            box = part.get_window_extent()
            assert min(box.x0, box.y0) >= 0, part
            assert box.x1 <= figure.bbox.x1, part
            assert box.y1 <= figure.bbox.y1, part
        heading, caption = (text.get_window_extent() for text in figure.texts)
        assert not any(heading.overlaps(part.get_window_extent()) for part in titles)
        assert not any(caption.overlaps(part.get_window_extent()) for part in legends)


def near(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The share of pixels of about that colour."""
    return float((np.abs(image.astype(int) - colour).max(axis=2) < 40).mean())


def test_truth_is_blue_agreement_green_false_alarms_vermilion():
    def of(mask: np.ndarray) -> np.ndarray:
        return opened(compose.as_png(compose.shown("a title", PIXELS, tampering(mask), TRUTH)))

    green, vermilion = (55, 150, 120), (180, 100, 55)  # over grey
    right, wrong = of(MASK), of(1 - MASK)
    assert near(right, green) > 0.02 > 0.01 > near(wrong, green)
    assert near(wrong, vermilion) > near(right, vermilion) + 0.02


def test_words_under_a_picture_are_its_numbers():
    said = [text.get_text() for text in compose.shown("a title", PIXELS, tampering(MASK), TRUTH).texts]
    assert said[0] == "a title"
    assert "probability 0.750: tampered with" in said[1]
    assert "pixel accuracy 1.000, F1 1.000, IoU 1.000, AUC 1.000" in said[1]
    pair = PAIRS["mask"]
    words = compose.compared("a title", PIXELS, pair, ("one", "two")).texts[1].get_text()
    flips = int((TRUTH[:, ::-1] != TRUTH).sum())
    assert f"greatest difference of a pixel 0.8, mean {np.abs(MASK - MASK[:, ::-1]).mean():.3g}" in words
    assert f"{flips:,} of 4,800 change sides of one half" in words
    words = compose.compared("a title", PIXELS, PAIRS["bits"], ("one", "two")).texts[1].get_text()
    assert "2 of 32 bits differ (ringed)" in words


def test_the_difference_is_the_second_less_the_first():
    first, second = PAIRS["patches"]
    figure = compose.compared("a title", PIXELS, (first, second), ("one", "two"))
    (drawn,) = figure.axes[3].images
    assert np.array_equal(drawn.get_array(), second.patches - first.patches)
    assert figure.axes[3].get_title(loc="left") == "two − one"
    most = np.abs(second.patches - first.patches).max()
    assert drawn.get_clim() == pytest.approx((-most, most))


def test_the_same_picture_has_the_same_bytes():
    first, second = (compose.as_png(compose.shown("t", PIXELS, tampering(MASK), TRUTH)) for _ in range(2))
    assert first == second


def test_answers_of_two_kinds_cannot_be_compared():
    with pytest.raises(TypeError, match="Tampering and Watermark"):
        compose.compared("t", PIXELS, (tampering(None), mark(8)), ("one", "two"))


def test_the_worst_sample():
    def sample(name: str, error: float | None, quality: float | None) -> SampleRecord:
        return SampleRecord(name, "score", error, quality)

    some = [sample("a", 0.1, 30.0), sample("b", 0.2, 20.0), sample("c", 0.0, None), sample("d", 0.3, 20.0)]
    assert worst(tuple(some)).sample == "d"
    assert worst((*some, sample("e", None, None))).sample == "e"


def test_a_feed_is_a_photograph_again():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for model in ("objectformer", "chunkyseal"):
        preprocessing = MODELS[model].preprocessing
        assert np.array_equal(photograph_of(preprocess(pixels, preprocessing, 32), preprocessing), pixels)
