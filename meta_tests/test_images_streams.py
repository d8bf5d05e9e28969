"""Pictures of every kind, the photograph streams, and the drawn images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fixtures import streams
from fixtures.images import ImageError, decode, preprocess
from fixtures.specs import MODELS
from fixtures.streams import calibration_from_directory, calibration_stream, evaluation_stream

TINY = MODELS["tiny_ladeda"]
OBJECTFORMER = MODELS["objectformer"]
SIZE = 64
RED = (255, 0, 0)


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        decode(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


def photograph(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (height, width, 3), np.uint8)


# --- decoding


def test_rgb_is_read_as_it_is(tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    pixels = decode(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, photograph())


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "I"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    ramp = np.tile(np.array([[0, 100, 255]], np.uint8), (2, 1))
    if mode.startswith("I"):
        deep = ramp.astype(np.uint16 if mode == "I;16" else np.int32) * 257
        image = Image.fromarray(deep)
    else:
        image = Image.fromarray(ramp).convert("RGBA" if mode == "P" else mode)
        if mode == "P":
            image = image.quantize(4)
    assert image.mode == mode
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I") else "a.png")
    image.save(path)
    expected = np.repeat(np.where(ramp > 127, 255, 0)[:, :, None] if mode == "1" else ramp[:, :, None], 3, 2)
    # A grey of 100 dithers to either bilevel value.
    columns = [0, 2] if mode == "1" else [0, 1, 2]
    np.testing.assert_array_equal(decode(path)[:, columns], expected[:, columns])


def test_alpha_is_dropped_not_blended(tmp_path):
    Image.new("RGBA", (4, 4), (*RED, 10)).save(tmp_path / "a.png")
    assert (decode(tmp_path / "a.png") == RED).all()
    image = Image.new("P", (4, 4))
    image.putpalette(RED)
    image.save(tmp_path / "b.png", transparency=b"\x05")
    assert (decode(tmp_path / "b.png") == RED).all()


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned; upright is a quarter turn clockwise
    Image.fromarray(photograph()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), np.rot90(photograph(), -1))


def test_unreadable_images(tmp_path):
    path = tmp_path / "a.png"
    assert refusal(path) == "no such file"
    assert refusal(tmp_path) == "a directory, not an image file"
    path.touch()
    assert refusal(path) == "not an image, it seems to be an empty file"
    path.write_bytes(b"\x08\x0a\x12\x07pytorch\x1a")
    assert refusal(path) == "not an image, it seems to be an ONNX model"
    Image.fromarray(photograph()).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    assert refusal(path).startswith("damaged image: image file is truncated")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    assert refusal(tmp_path / "a.tif").startswith("floating-point pixels have no known range")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "a.tif")
    assert refusal(tmp_path / "a.tif").startswith("32-bit pixels have no known range")


def test_image_without_permission(tmp_path, monkeypatch):
    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", denied)
    assert refusal(tmp_path / "a.png") == "no permission to read it"


# --- preprocessing


@pytest.mark.parametrize("spec", [TINY, OBJECTFORMER], ids=lambda spec: spec.preprocessing.resample)
@pytest.mark.parametrize("shape", [(60, 90), (300, 200), (SIZE, SIZE)])
def test_preprocessing_is_torchvisions_bit_for_bit(spec, shape):
    from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

    modes = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
    image = Image.fromarray(photograph(*shape))
    known = spec.preprocessing
    resize = Resize((SIZE, SIZE), modes[known.resample])
    expected = Compose([resize, ToTensor(), Normalize(known.mean, known.std)])(image)
    found = preprocess(np.asarray(image), spec.preprocessing, SIZE)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected.numpy())


# --- streams


def test_photographs_are_shipped_and_disjoint():
    evaluation, calibration = (
        {Path(name).stem for name in names}
        for names in (streams.EVALUATION_PHOTOGRAPHS, streams.CALIBRATION_PHOTOGRAPHS)
    )
    assert not evaluation & calibration
    assert {"motorcycle_left", "motorcycle_right"} <= calibration  # one scene, one side
    for name in streams.EVALUATION_PHOTOGRAPHS + streams.CALIBRATION_PHOTOGRAPHS:
        assert min(streams.photograph(name).shape[:2]) >= streams.SMALLEST_CROP


@pytest.mark.parametrize(
    ("stream", "own"),
    [
        (evaluation_stream, streams.EVALUATION_PHOTOGRAPHS),
        (calibration_stream, streams.CALIBRATION_PHOTOGRAPHS),
    ],
)
def test_stream_holds_what_its_names_say(stream, own):
    samples = list(stream(TINY, SIZE, count=16))
    assert len({sample.name for sample in samples}) == 16
    assert sum(sample.label for sample in samples) == 8
    for sample in samples:
        photographs = sample.name.rpartition("-")[0].split("+")
        assert set(photographs) <= {Path(name).stem for name in own}
        assert len(photographs) == 1 + sample.label
        assert sample.image.shape == (3, SIZE, SIZE)
        assert sample.image.dtype == np.float32
        assert sample.image.flags.c_contiguous
        assert sample.mask.shape == (1, SIZE, SIZE)
        assert sample.mask.dtype == np.uint8
        assert (0.02 < sample.mask.mean() < 0.3) if sample.label else not sample.mask.any()
        assert sample.image.std() > 0.1
    assert samples[0].name == f"{Path(own[0]).stem}-crop0"
    assert samples[1].name.endswith("-splice1")


def test_splice_is_the_other_photograph_inside_the_mask_only(monkeypatch):
    """Photographs of one colour each, so that every pixel says where it comes from."""
    colours = {name: i * 30 for i, name in enumerate(streams.EVALUATION_PHOTOGRAPHS)}
    monkeypatch.setattr(streams, "photograph", lambda name: np.full((300, 400, 3), colours[name], np.uint8))
    monkeypatch.setattr(streams, "preprocess", lambda pixels, *_: pixels.transpose(2, 0, 1))
    by_stem = {Path(name).stem: colour for name, colour in colours.items()}
    spliced = [sample for sample in evaluation_stream(TINY, 300, count=16) if sample.label]
    for sample in spliced:
        host, guest = (by_stem[stem] for stem in sample.name.rpartition("-")[0].split("+"))
        side = sample.image.shape[1]
        nearest = (np.arange(300) * 2 + 1) * side // 600
        seen = sample.image[:, nearest][:, :, nearest]
        np.testing.assert_array_equal(seen, np.where(sample.mask == 1, guest, host).repeat(3, axis=0))


def test_regions_are_of_both_kinds():
    generator = streams.generator_of("regions")
    fills = set()
    for _ in range(20):
        region = streams.region_in(100, generator)
        rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
        box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        fills.add(bool(0.75 < region.sum() / box < 0.82))  # an ellipse fills pi / 4 = 0.785 of its box
    assert fills == {True, False}


@given(short=st.integers(0, 6), more=st.integers(0, 6), calibrate=st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_longer_stream_starts_with_the_shorter(short, more, calibrate):
    stream = calibration_stream if calibrate else evaluation_stream
    some, all_ = stream(TINY, 32, count=short), stream(TINY, 32, count=short + more)
    assert len(all_) == short + more
    assert streams.Stream(all_.samples[:short]).digest == some.digest
    assert (all_.digest == some.digest) == (more == 0)


def test_digest_sees_every_part():
    stream = evaluation_stream(TINY, SIZE, count=2)
    first, second = stream.samples
    assert evaluation_stream(TINY, SIZE, count=2).digest == stream.digest
    brighter = streams.Sample(first.name, first.image + np.float32(1e-6), first.mask, first.label)
    renamed = streams.Sample("x", first.image, first.mask, first.label)
    unmasked = streams.Sample(second.name, second.image, second.mask * 0, second.label)
    others = [(brighter, second), (renamed, second), (first, unmasked), (second, first), (first,)]
    digests = {streams.Stream(samples).digest for samples in others}
    assert len(digests | {stream.digest}) == 6


def test_streams_and_strategies_need_no_torch_and_download_nothing():
    code = (
        "import sys, socket\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"  # plugins of hypothesis define sockets
        "import fixtures.strategies, fixtures.streams as s\n"
        "from fixtures.specs import MODELS\n"
        "print(s.evaluation_stream(MODELS['tiny_ladeda'], 64, 4).digest)\n"
        "assert not {'torch', 'skimage'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == evaluation_stream(TINY, 64, 4).digest


# --- the user's own pictures


def test_own_directory(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "README.txt").write_text("not an image")
    for i, name in enumerate(["b.png", "a.jpg", "below/c.PNG", "d.webp"]):
        Image.fromarray(photograph(40 + i)).save(tmp_path / name)
    stream = calibration_from_directory(TINY, SIZE, tmp_path)
    assert [sample.name for sample in stream] == ["a.jpg", "b.png", "below/c.PNG", "d.webp"]
    assert all(sample.mask is None and sample.label is None for sample in stream)
    np.testing.assert_array_equal(
        stream.samples[1].image, preprocess(photograph(40), TINY.preprocessing, SIZE)
    )
    some = calibration_from_directory(TINY, SIZE, tmp_path, count=2)
    assert [sample.name for sample in some] == ["a.jpg", "below/c.PNG"]


def test_own_directory_that_cannot_serve(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere: no such directory$"):
        calibration_from_directory(TINY, SIZE, tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImageError, match=r"notes.txt: a file, not a directory$"):
        calibration_from_directory(TINY, SIZE, tmp_path / "notes.txt")
    with pytest.raises(ImageError, match=r": no image in it \(\.bmp, \.gif, "):
        calibration_from_directory(TINY, SIZE, tmp_path)
    Image.fromarray(photograph()).save(tmp_path / "good.png")
    for i in range(5):
        (tmp_path / f"bad{i}.png").write_text("no")
    with pytest.raises(ImageError, match=r"unreadable images: .*bad0\.png: not an image.*; and 2 further$"):
        calibration_from_directory(TINY, SIZE, tmp_path)
