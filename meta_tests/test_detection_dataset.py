"""dataset.jsonl: what is read, and the one line that names where a listing is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.detection_dataset import DatasetError, labels_of, read_dataset
from meta_tests.triangles import LABELS, annotation, triangles_dataset, write_listing

BOX = annotation("triangle", (0.25, 0.1, 0.75, 0.5))


@pytest.fixture(scope="module")
def triangles(tmp_path_factory) -> Path:
    return triangles_dataset(tmp_path_factory.mktemp("datasets") / "triangles", images=3)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "shapes" / "data").mkdir(parents=True)
    (tmp_path / "shapes" / "data" / "a.png").write_bytes(b"not looked into here")
    return tmp_path / "shapes"


def listing(folder: Path, *lines: object, text: bytes | None = None) -> Path:
    raw = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
    (folder / "dataset.jsonl").write_bytes(raw if text is None else text)
    return folder


def entry(**fields: object) -> dict[str, object]:
    return {"image_path": "data/a.png", "bounding_box_annotations": [BOX], **fields}


def refusal(folder: Path, classes=LABELS) -> str:
    with pytest.raises(DatasetError) as caught:
        list(read_dataset(folder, classes))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_generated_triangles_are_read_as_they_were_made(triangles, tmp_path):
    entries = list(read_dataset(triangles, LABELS))
    assert [entry.image.name for entry in entries] == ["000.png", "001.png", "002.png"]
    assert [entry.line for entry in entries] == [1, 2, 3]
    assert all(entry.annotations for entry in entries)
    for note in entries[0].annotations:
        x1, y1, x2, y2 = note.box
        assert note.label in LABELS
        assert 40 <= round((x2 - x1) * 320) <= 120
        assert 40 <= round((y2 - y1) * 320) <= 120
    again = triangles_dataset(tmp_path / "again", images=3)
    assert (again / "dataset.jsonl").read_bytes() == (triangles / "dataset.jsonl").read_bytes()
    assert labels_of(triangles) == LABELS


def test_an_entry_is_read_before_the_next_line_is_looked_at(folder):
    listing(folder, entry(), "this is not JSON")
    entries = read_dataset(folder, LABELS)
    assert next(entries).annotations[0].box == (0.25, 0.1, 0.75, 0.5)
    with pytest.raises(DatasetError, match=r"dataset\.jsonl:2: not JSON"):
        next(entries)


def test_no_line_is_read_before_its_entry_is_asked_for(folder):
    listing(folder, entry(), entry())
    entries = read_dataset(folder, LABELS)
    next(entries)
    with (folder / "dataset.jsonl").open("a") as file:
        file.write("\n" + json.dumps(entry()))
    assert [found.line for found in entries] == [2, 3]


@pytest.mark.parametrize(
    "named", ["data/a.png", "a.png", "shapes/data/a.png", "/elsewhere/shapes/data/a.png", "./data/a.png"]
)
def test_every_way_of_naming_an_image(folder, named):
    listing(folder, entry(image_path=named))
    (found,) = read_dataset(folder, LABELS)
    assert found.image.samefile(folder / "data" / "a.png")


def test_an_absolute_path_that_is_there_comes_first(folder, tmp_path):
    other = tmp_path / "a.png"
    other.write_bytes(b"")
    listing(folder, entry(image_path=str(other)))
    (found,) = read_dataset(folder)
    assert found.image == other


def test_what_is_passed_over(folder):
    listing(
        folder,
        text=b"\xef\xbb\xbf" + json.dumps(entry(classification_annotations=[{"x": 1}])).encode()
        + b"\r\n\r\n  \n"
        + json.dumps({"image_path": "data/a.png"}).encode(),
    )  # fmt: skip
    entries = list(read_dataset(folder, LABELS))
    assert [(found.line, len(found.annotations)) for found in entries] == [(1, 1), (4, 0)]


def box(**changes: object) -> dict[str, object]:
    return entry(bounding_box_annotations=[BOX, {**BOX, **changes}])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"image_path": "data/a.png"', "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("[]", "a JSON list, but should be an object with image_path"),
        ({"bounding_box_annotations": []}, "no image_path in it"),
        (entry(image_path=7), "no image_path in it"),
        (entry(image_path="data/b.png"), "image 'data/b.png' is missing; looked for it as data/b.png"),
        (entry(image_path="data"), "image 'data' is missing"),
        (entry(image_path="x" * 5000), "is missing"),
        (entry(image_path="a\x00.png"), "is missing"),
        (entry(bounding_box_annotations={}), "bounding_box_annotations is {}, but should be a list"),
        (entry(bounding_box_annotations=[3]), "bounding_box_annotations[0]: 3, but should be an object"),
        (box(annotation_label=None), "bounding_box_annotations[1]: no annotation_label in it"),
        (box(annotation_label="circle"), "label 'circle' is not one of the network's classes: triangle, tri"),
        (box(x_max_normalized=1.25), "x_max_normalized is 1.25, but should be in 0..1"),
        (box(y_min_normalized=-0.5), "y_min_normalized is -0.5, but should be in 0..1"),
        (box(y_min_normalized=float("nan")), "y_min_normalized is nan, but should be in 0..1"),
        (box(y_min_normalized="0.1"), "y_min_normalized is '0.1', but should be a number in 0..1"),
        (box(y_min_normalized=True), "y_min_normalized is True, but should be a number in 0..1"),
        (box(y_min_normalized=None), "y_min_normalized is None, but should be a number in 0..1"),
        (box(x_min_normalized=0.75), "x_min_normalized 0.75 is not below x_max_normalized 0.75"),
        (box(y_min_normalized=0.9), "y_min_normalized 0.9 is not below y_max_normalized 0.5"),
    ],
)
def test_a_wrong_line_is_named(folder, line, words):
    message = refusal(listing(folder, entry(), line))
    assert message.startswith(f"{folder / 'dataset.jsonl'}:2: ")
    assert words in message
    assert len(message) < 600


@pytest.mark.parametrize("text", [b"", b"\n \r\n"])
def test_an_empty_listing(folder, text):
    assert "dataset.jsonl: empty" in refusal(listing(folder, text=text))


def test_what_is_no_dataset(folder, tmp_path):
    assert "no dataset.jsonl in it" in refusal(folder)
    assert "no such directory" in refusal(tmp_path / "nowhere")
    assert "a file, not a directory" in refusal(folder / "data" / "a.png")
    (tmp_path / "bare").mkdir()
    write_listing(tmp_path / "bare", [])
    assert "no folder data/ in it" in refusal(tmp_path / "bare")


def test_any_label_passes_where_no_classes_are_declared(folder):
    listing(folder, box(annotation_label="circle"))
    assert labels_of(folder) == ("circle", "triangle")
