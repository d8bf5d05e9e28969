"""Feeds and outputs that are not what they say are refused in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meta_tests.commands.device.device import answer, failed
from modelparity.device.exchanged import exchanged
from modelparity.errors import BadInputError

SHA = "0" * 64


def refused(case) -> str:
    with pytest.raises(BadInputError) as caught:
        case.judge()
    words = str(caught.value)
    assert "\n" not in words
    return words


def change_shape(data):
    data["runs"][0]["outputs"][0]["shape"] = [1, 2]


def change_threads(data):
    data["runs"][0]["threads"] = 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_shape, "outputs of run 000 (astronaut-crop0) is not what is asked for"),
        (change_threads, "threads of run 000"),
        (lambda data: data["runs"][1]["inputs"][0].update(sha256=SHA), "inputs of run 001"),
        (lambda data: data["runs"].pop(), "runs, not "),
        (lambda data: data["runs"].reverse(), "run 000"),
        (lambda data: data.update(runs="none"), "it has no runs"),
        (lambda data: data["model_files"][0].update(sha256=SHA), "the model file is another one"),
        (lambda data: data.update(evaluation_set=SHA), "the evaluation set is another one"),
        (lambda data: data.update(network=SHA), "the network's code or declaration has changed"),
        (lambda data: data["target"].update(weights="other"), "other weights"),
        (lambda data: data["harness"].update(digest="older"), "another version of modelparity"),
        (lambda data: data.update(byte_order="big-endian"), "byte_order is not what it should be"),
        (lambda data: data.update(trusted=True), "trusted is not what it should be"),
    ],
)
def test_a_manifest_that_is_not_what_it_should_be(case, change, words):
    case.edit(change, forged=True)
    found = refused(case)
    assert words in found
    assert "stale or forged" in found or "forged" in found


def test_a_manifest_without_its_digest(case):
    case.edit(change_threads, forged=False)
    assert "was edited" in refused(case)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not a manifest: "), ("[]", "not a manifest of"), ('{"schema": 99}', "another version")],
)
def test_what_is_no_manifest(case, text, words):
    (case.feeds / "manifest.json").write_text(text)
    assert words in refused(case)


def test_no_manifest(case):
    (case.feeds / "manifest.json").unlink()
    assert "manifest.json: no such file" in refused(case)


def test_another_model_file(case):
    """The manifest and the outputs agree, and the file has changed since."""
    (path,) = (case.feeds / "model").iterdir()
    path.write_bytes(path.read_bytes() + b"\0")
    case.target = replace(case.target, path=path)
    assert "the model file is another one" in refused(case)


def test_outputs_of_other_feeds(case):
    text = (case.outputs / "manifest.json").read_text()
    (case.outputs / "manifest.json").write_text(text.replace("astronaut", "cosmonaut"))
    assert "the outputs are of other feeds" in refused(case)


def test_outputs_without_the_manifest_that_was_read(case):
    (case.outputs / "manifest.json").unlink()
    assert "a runner copies the manifest" in refused(case)


def test_a_damaged_input(case):
    path = case.feeds / case.entries[3]["inputs"][0]["file"]
    content = bytearray(path.read_bytes())
    content[17] ^= 1
    path.write_bytes(bytes(content))
    assert f"{path}: damaged" in refused(case)


def test_an_edited_table(case):
    path = case.feeds / "runs.tsv"
    path.write_text(path.read_text().replace("000\t1\t1", "000\t1\t0"))
    assert f"{path}: was edited" in refused(case)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            "truncated: 4,095 bytes, but should be 4,096",
        ),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "oversized: 4,097 bytes"),
        (lambda path: path.write_bytes(b""), "truncated: 0 bytes"),
    ],
)
def test_an_output_that_is_not_whole(case, change, words):
    path = case.output(4, 2)
    change(path)
    assert f"{path}: {words}" in refused(case)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not a JSON object"), ("[1]", "not a JSON object"), ('{"a": [1]}', "an object of texts")],
)
def test_a_device_that_says_nothing_readable_of_itself(case, text, words):
    (case.outputs / "device.json").write_text(text)
    assert words in refused(case)


def swap(case, *numbers):
    """Gives each of these images the outputs of the next."""
    paths = [[case.output(number, place) for place in range(3)] for number in numbers]
    contents = [[path.read_bytes() for path in of_run] for of_run in paths]
    for of_run, content in zip(paths, contents[1:] + contents[:1], strict=True):
        for path, single in zip(of_run, content, strict=True):
            path.write_bytes(single)


@pytest.mark.parametrize("which", [("onnx", "fp32"), ("onnx", "int8_static"), ("tflite", "fp32")])
@pytest.mark.parametrize("numbers", [(1, 4), (0, 2, 5)])
def test_outputs_in_one_anothers_files(cases, tmp_path, which, numbers):
    case = cases[which].copy(tmp_path)
    swap(case, *numbers)
    words = refused(case)
    assert "reordered: outputs are in one another's files" in words
    names = [entry["about"] for entry in case.entries]
    assert (
        f"{numbers[0]:03} ({names[numbers[0]]}) has those of {numbers[1]:03} ({names[numbers[1]]})" in words
    )


def test_reordered_outputs_of_a_device_that_is_imprecise(case):
    """Outside the bounds in any place, as a delegate in float16 is, they are still the other images'."""

    def run(entry, inputs):
        return {
            name: value.astype(np.float16).astype(np.float32)
            for name, value in case.run(entry, inputs).items()
        }

    answer(case.feeds, case.outputs, run)
    assert "float_parity" in failed(case.judge())
    swap(case, 1, 4)
    assert "reordered" in refused(case)


def test_wrong_outputs_are_not_called_reordered(case):
    reference = case.session.truth("miniature").reference
    right = [{name: values[i] for name, values in reference.outputs.items()} for i in range(6)]
    assert exchanged(reference, right) == {}
    generator = np.random.default_rng(0)
    for _ in range(50):
        garbage = [{n: generator.random(v.shape) for n, v in outputs.items()} for outputs in right]
        assert exchanged(reference, garbage) == {}
    assert exchanged(reference, [right[2]] * 6) == {}  # the same outputs for every image
    doubled = [{name: 2 * value for name, value in outputs.items()} for outputs in right]
    assert exchanged(reference, doubled) == {}
    assert exchanged(reference, [right[1], right[0], *right[2:]]) == {0: 1, 1: 0}
    lost = {name: np.full_like(value, np.nan) for name, value in right[3].items()}
    assert exchanged(reference, [*right[:3], lost, *right[4:]]) == {}
    # Nearest to each other's references, and so far from them that this is no evidence.
    buried = [dict(right[1]), dict(right[0]), *right[2:]]
    for outputs in buried[:2]:
        outputs["mask"] = outputs["mask"] + 3 * reference.spread("mask") * generator.standard_normal(
            (1, 1, 32, 32)
        )
    assert exchanged(reference, buried) == {}
