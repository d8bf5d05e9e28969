"""Labelled datasets: told apart by what is there, refused in a line; and those made of photographs."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures import synthetic
from fixtures.detection_dataset import DatasetError
from fixtures.labelled import LAYOUTS, Labelled, open_dataset


def picture(path: Path, size: tuple[int, int] = (40, 30), colour: str = "grey") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def masked(folder: Path) -> Path:
    """Three images: one tampered with, its mask named as CASIA's are; two whole."""
    for name, mask, colour in (("a", "a_gt", "white"), ("b", "b", "black"), ("sub/c", "sub/c_mask", "black")):
        picture(folder / "images" / f"{name}.jpg")
        picture(folder / "masks" / f"{mask}.png", colour=colour)
    return folder


def listed(folder: Path, *lines: object) -> Path:
    picture(folder / "data" / "a.png")
    (folder / "dataset.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def read(folder: Path) -> None:
    """Every image with its truth."""
    for example in open_dataset(folder):
        example.truth(example.pixels().shape[:2])


def refusal(folder: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "DIR")


def test_images_and_masks(tmp_path):
    dataset = open_dataset(masked(tmp_path))
    assert (dataset.layout, len(dataset)) == ("masks", 3)
    truths = {example.name: bool(example.truth((30, 40)).any()) for example in dataset}
    assert truths == {"a.jpg": True, "b.jpg": False, "sub/c.jpg": False}


def test_classes_as_wildrf_has_them(tmp_path):
    folder = tmp_path / "1_fake"  # what lies above the dataset says nothing
    for name in ("test/reddit/0_real/a.jpg", "test/reddit/1_fake/b.png", "test/facebook/1_fake/deep/c.png"):
        picture(folder / name)
    picture(folder / "elsewhere" / "d.png")
    (folder / "test" / "0_real").mkdir()
    dataset = open_dataset(folder)
    assert (dataset.layout, len(dataset)) == ("classes", 3)
    assert [example.label for example in dataset] == [1, 0, 1]


def test_boxes_and_messages_are_told_apart(tmp_path):
    boxes = open_dataset(listed(tmp_path / "boxes", {"image_path": "a.png"}))
    assert boxes.layout == "boxes"
    lines = ({"image_path": "a.png", "message": "0110"}, {"image_path": "a.png", "message": None})
    messages = open_dataset(listed(tmp_path / "messages", *lines))
    assert messages.layout == "messages"
    assert [(example.label, example.message) for example in messages] == [(1, (0, 1, 1, 0)), (0, None)]


def test_nothing_that_is_a_dataset_shows_every_layout(tmp_path):
    words = refusal(tmp_path)
    assert words.startswith("DIR: no dataset in it; expected one of: (1) ")
    assert all(layout in words for layout in LAYOUTS.values())
    assert "no such directory; expected one of" in refusal(tmp_path / "none")
    (tmp_path / "file").touch()
    assert "a file, not a directory" in refusal(tmp_path / "file")


NO_MASK = "DIR: 1 of 3 images have no mask: a.jpg; expected masks/a.png, black where"
OTHER_SIZE = "DIR/masks/a_gt.png: a mask of 40 x 31 pixels, but its image has 40 x 30"
OF_ONES = "DIR/masks/a_gt.png: the mask's greatest value is 1; white (255) should mark"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: (d / "masks" / "a_gt.png").unlink(), NO_MASK),
        (lambda d: picture(d / "masks" / "a_gt.png", (40, 31)), OTHER_SIZE),
        (lambda d: picture(d / "masks" / "a_gt.png", colour="#010101"), OF_ONES),
        (lambda d: (d / "images" / "b.jpg").write_bytes(b"GIF89a"), "DIR/images/b.jpg: "),
        (lambda d: (d / "masks" / "b.png").write_bytes(b""), "DIR/masks/b.png: not an image"),
    ],
)
def test_faulty_masks_are_named(tmp_path, spoil, words):
    spoil(masked(tmp_path))
    assert words in refusal(tmp_path)


def test_empty_folders_and_lines_that_are_none(tmp_path):
    (tmp_path / "a" / "0_real").mkdir(parents=True)
    assert refusal(tmp_path / "a") == "DIR: no image in it; expected 0_real/ and 1_fake/ with images"
    (tmp_path / "b" / "images").mkdir(parents=True)
    (tmp_path / "b" / "masks").mkdir()
    assert refusal(tmp_path / "b").startswith("DIR: no image in it; expected images/ and masks/")
    good = {"image_path": "a.png", "message": "01"}
    for line, words in (
        (
            {**good, "message": "012"},
            "DIR/dataset.jsonl:2: message is '012', but should be a text of 0 and 1",
        ),
        ({**good, "message": 5}, "message is 5, but should be"),
        ({"message": "01"}, "DIR/dataset.jsonl:2: no image_path in it"),
        ({**good, "image_path": "gone.png"}, "DIR/dataset.jsonl:2: image 'gone.png' is missing"),
    ):
        assert words in refusal(listed(tmp_path / "c", good, line))


def test_a_digest_is_of_images_and_truths(tmp_path):
    first = open_dataset(masked(tmp_path)).digest()
    assert open_dataset(tmp_path).digest() == first
    picture(tmp_path / "masks" / "b.png", colour="white")
    assert open_dataset(tmp_path).digest() != first


def made(kind: str, folder: Path, count: int, seed: int = 0) -> Labelled:
    folder.mkdir()
    assert len(list(synthetic.SETS[kind](folder, count, seed))) == count
    return open_dataset(folder)


@pytest.mark.parametrize("kind", synthetic.SETS)
def test_a_set_starts_with_the_smaller_one_and_minds_its_seed(tmp_path, kind):
    small, large = made(kind, tmp_path / "small", 3), made(kind, tmp_path / "large", 4)
    other = made(kind, tmp_path / "other", 3, seed=1)
    images = [[example.pixels() for example in islice(dataset, 3)] for dataset in (small, large, other)]
    assert all(np.array_equal(one, two) for one, two in zip(images[0], images[1], strict=True))
    assert not all(
        one.shape == two.shape and np.array_equal(one, two)
        for one, two in zip(images[0], images[2], strict=True)
    )


def test_splices_have_both_kinds_and_their_masks(tmp_path):
    dataset = made("splices", tmp_path / "set", 16)
    assert dataset.layout == "masks"
    shares = [example.truth(example.pixels().shape[:2]).mean() for example in dataset]
    assert sum(share > 0 for share in shares) == 8
    assert all(0.02 < share < 0.5 for share in shares if share)


def test_triangles_have_boxes_in_their_images(tmp_path):
    from fixtures.detection_dataset import read_dataset

    made("triangles", tmp_path / "set", 4)
    entries = list(read_dataset(tmp_path / "set", synthetic.LABELS))
    assert len(entries) == 4
    assert all(1 <= len(entry.annotations) <= 3 for entry in entries)


def test_messages_can_be_read_from_marked_images(tmp_path):
    patterns = synthetic.carriers(synthetic.BITS)
    seen = []
    for example in made("watermarks", tmp_path / "set", 6):
        found = synthetic.correlations(example.pixels(), patterns)
        seen.append(example.label)
        if example.message:
            assert np.array_equal(found > 0, np.array(example.message) == 1)
        assert (np.abs(found).min() > 0.5) == bool(example.label)
    assert seen == [1, 1, 0, 1, 1, 0]
