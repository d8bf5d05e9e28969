"""`POST /v1/detect`: what a picture is answered, in whatever shape it arrives."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from meta_tests.miniatures.running_server import file_of, form_of, photograph, running
from modelparity.fixtures.png import chunk, grey_map

PIXELS = photograph()


@pytest.fixture(scope="module")
def server():
    with running() as server:
        yield server


def png_mask(body) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body["mask"]["data"]))))


def test_an_image_gets_a_score_a_label_and_a_mask(server):
    status, body = server.detect(file_of(PIXELS), Content_Type="image/png")
    expected = server.predictor.answer(server.predictor.run(server.predictor.prepare(PIXELS)), (48, 64))
    assert status == 200
    assert body["score"] == expected.probability
    assert body["label"] == ("tampered" if expected.tampered else "authentic")
    assert body["tampered_share"] == expected.tampered_share
    assert body["image"] == {"width": 64, "height": 48, "format": "PNG"}
    assert np.abs(png_mask(body) / 255.0 - expected.mask).max() <= 0.5 / 255 + 1e-6


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_grey_map_is_a_png_of_the_same_numbers(values):
    with Image.open(io.BytesIO(grey_map(values))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", values.shape[::-1])
        assert np.array_equal(np.asarray(picture), values)


def test_timings_are_there_and_add_up(server):
    spent = server.detect(file_of(PIXELS))[1]["timings_ms"]
    total = spent.pop("total")
    assert list(spent) == ["queue", "decode", "wait", "prepare", "inference", "answer"]
    assert sum(spent.values()) == pytest.approx(total, abs=0.1)


def test_run_lengths_are_those_of_coco(server):
    from pycocotools import mask as coco

    body = server.detect(file_of(PIXELS), "?mask=rle")[1]["mask"]
    size = (body["height"], body["width"])
    decoded = coco.decode(coco.frPyObjects({"size": size, "counts": body["counts"]}, *size))
    grey = png_mask(server.detect(file_of(PIXELS))[1])
    clear = np.abs(grey.astype(int) - 127.5) > 1  # 8 bits round what is next to the threshold
    assert 0 < decoded.mean() < 1
    assert (decoded.astype(bool) == (grey > 127))[clear].all()


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_run_lengths_of_a_mask_that_is_all_one(cut):
    from modelparity.serving.http.replies import run_lengths

    counts = run_lengths(np.full((3, 4), cut, np.float32) >= 0.5)
    assert counts == ([0, 12] if cut else [12])


def test_no_mask_where_none_is_asked(server):
    assert server.detect(file_of(PIXELS), "?mask=none")[1]["mask"] is None


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "image/webp"])
def test_the_format_is_what_the_bytes_are(server, kind):
    assert server.detect(file_of(PIXELS), Content_Type=kind)[1]["image"]["format"] == "PNG"


def test_a_form_is_as_good_as_a_body(server):
    data = file_of(PIXELS, "JPEG")
    body, kind = form_of(data)
    status, by_form = server.detect(body, Content_Type=kind)
    assert status == 200
    assert by_form["score"] == server.detect(data)[1]["score"]


def test_a_form_in_small_pieces(server):
    """Boundaries cut at any byte."""
    body, kind = form_of(file_of(PIXELS, "JPEG") + b"\r\n--frontie\r\n--")
    pieces = iter([body[at : at + 7] for at in range(0, len(body), 7)])
    status, _, answer = server.ask("POST", "/v1/detect", pieces, Content_Type=kind)
    assert status == 200, answer


def upright(**options) -> bytes:
    """The photograph turned, with the orientation that turns it back."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return file_of(Image.fromarray(np.rot90(PIXELS)), "PNG", exif=exif, **options)


CMYK = Image.fromarray(PIXELS).convert("CMYK")
GREY = PIXELS[..., 0]
# Each must be answered as the same pixels in plain RGB are.
SAME = {
    "turned by EXIF": (upright(), PIXELS),
    "CMYK": (file_of(CMYK, "JPEG", quality=100), np.asarray(CMYK.convert("RGB"))),
    "16-bit grey": (file_of(Image.fromarray(GREY.astype(np.uint16) * 257)), np.stack([GREY] * 3, -1)),
    "8-bit grey": (file_of(GREY), np.stack([GREY] * 3, -1)),
    "transparent": (file_of(np.dstack([PIXELS, np.full_like(GREY, 9)])), PIXELS),
    "WebP": (file_of(PIXELS, "WEBP", lossless=True), PIXELS),
    "PNG with a ZIP behind it": (file_of(PIXELS) + b"PK\x03\x04" + b"x" * 99, PIXELS),
    "PNG with text": (
        file_of(PIXELS)[:33] + chunk(b"tEXt", b"k\0<script>") + file_of(PIXELS)[33:],
        PIXELS,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_pixels_alone_decide(server, name):
    data, pixels = SAME[name]
    status, body = server.detect(data, "?mask=none")
    assert status == 200, body
    assert (body["image"]["height"], body["image"]["width"]) == (48, 64)
    expected = float(server.predictor.prepare(pixels).mean())
    assert body["score"] == pytest.approx(expected, abs=2e-3 if name == "CMYK" else 1e-6)


def test_of_several_pictures_of_a_telephone_the_first_counts(server):
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    data = file_of(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=100)
    status, body = server.detect(data)
    assert (status, body["image"]["format"]) == (200, "JPEG")
    assert body["score"] == pytest.approx(float(server.predictor.prepare(PIXELS).mean()), abs=2e-3)


def test_metrics_tell_what_happened(server):
    before = server.counter('modelparity_requests_total{code="200",route="/v1/detect"}')
    runs = server.counter("modelparity_inference_seconds_count")
    turned_away = server.counter('modelparity_rejected_total{reason="format"}')
    server.detect(file_of(PIXELS))
    server.detect(b"GIF89a")
    assert server.counter('modelparity_requests_total{code="200",route="/v1/detect"}') == before + 1
    assert server.counter("modelparity_inference_seconds_count") == runs + 1
    assert server.counter('modelparity_rejected_total{reason="format"}') == turned_away + 1
    text = server.ask("GET", "/metrics")[2].decode()
    assert 'sha256="5555' in text
    assert "modelparity_queue_depth 0.0" in text
    assert "modelparity_request_seconds_bucket" in text
    assert server.counter("process_resident_memory_bytes") > 1e7


def test_what_the_file_says_nothing_of_is_null():
    from modelparity.serving import Tampering
    from modelparity.serving.http.replies import reply

    result = Tampering(model="m", threshold=0.5, size=(2, 2), probability=float("nan"), tampered=False)
    body = reply(result, running_card(), "png")
    assert (body["score"], body["label"], body["mask"]) == (None, "unknown", None)
    json.dumps(body, allow_nan=False)


def running_card():
    from meta_tests.miniatures.miniature_predictor import MiniaturePredictor

    return MiniaturePredictor().card


def test_boxes_patches_and_bits_have_their_own_fields():
    from modelparity.serving import Deepfake, Detections, Watermark
    from modelparity.serving.http.replies import reply

    common = {"model": "m", "threshold": 0.5, "size": (4, 4)}
    fake = Deepfake(probability=0.9, fake=True, patches=np.eye(2, dtype=np.float32), **common)
    body = reply(fake, running_card(), "rle")
    assert (body["label"], body["mask"]["counts"]) == ("fake", [0, 1, 2, 1])
    boxes = Detections(
        boxes=np.float32([[1, 2, 3, 4]]),
        scores=np.float32([0.75]),
        categories=np.int32([2]),
        labels=("cat",),
        **common,
    )
    body = reply(boxes, running_card(), "png")
    assert (body["score"], body["label"]) == (0.75, "objects")
    assert body["objects"] == [{"box": [1.0, 2.0, 3.0, 4.0], "score": 0.75, "category": 2, "label": "cat"}]
    mark = Watermark(confidence=0.25, marked=False, bits=np.uint8([1, 0, 1, 1]), **common)
    body = reply(mark, running_card(), "png")
    assert (body["label"], body["bits"], body["hex"]) == ("unmarked", "1011", "b")
