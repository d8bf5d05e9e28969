"""Mistakes of inputs and outputs that no file is made for: computed in place of one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD, UNIT_RANGE, Preprocessing
from modelparity.parity.known_causes.causes import known_cause
from modelparity.parity.known_causes.output_mistakes import exchanged, of_single_outputs
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import Reference
from modelparity.parity.results import Claim
from modelparity.parity.rounded_reference import RoundedReference

FLOOR = Noise(1e-7, 1e-6, 1e-6)
MEAN, STD = (np.array(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
IMAGES = np.random.default_rng(0).random((4, 1, 3, 8, 8)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).standard_normal((3 * 8 * 8, 5)) / 8


def network(image):
    return np.tanh(image.reshape(len(image), -1).astype(np.float64) @ WEIGHTS + 0.1)


def reference(feeds, compute):
    outputs = [compute(feed) for feed in feeds]
    names = tuple(outputs[0])
    return Reference(
        tuple(map(str, range(len(feeds)))),
        tuple(feeds),
        {name: tuple(each[name] for each in outputs) for name in names},
        dict.fromkeys(names, FLOOR),
        samples=len(feeds),
    )


def cause(feeds, compute, file, preprocessing=UNIT_RANGE):
    """The known cause where the network computes `compute`, and a file that fails `float_parity` `file`."""
    due = reference(feeds, compute)
    wrong = SimpleNamespace(
        bench=None,
        truth=SimpleNamespace(
            subject=SimpleNamespace(spec=SimpleNamespace(preprocessing=preprocessing)),
            elements={"elements": 10**9},  # too many to try other weights
        ),
        description=SimpleNamespace(random=()),
        run=lambda feeds: [file(feed) for feed in feeds],
        claims=[Claim("float_parity", "failed", 1, 0, "")],
        outputs=[file(feed) for feed in feeds],
        right=RoundedReference(due, {}),
        batch=0,
        failed=lambda *names: "float_parity" in names,
        runs=True,
    )
    return known_cause(wrong)


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("BGR pictures, not RGB", lambda x: x[:, ::-1]),
        ("pixels of 0..255", lambda x: x / 255),
        ("pixels of -1..1", lambda x: (x + 1) / 2),
        ("pixels normalised by the mean and deviation of ImageNet", lambda x: x * STD + MEAN),
        ("BGR pictures and pixels of -1..1", lambda x: (x[:, ::-1] + 1) / 2),
    ],
)
def test_what_a_file_takes(words, taken):
    """The file undoes in its own graph what it expects of its pictures."""
    feeds = [{"picture": image} for image in IMAGES]
    found = cause(
        feeds, lambda f: {"y": network(f["picture"])}, lambda f: {"y": network(taken(f["picture"]))}
    )
    assert found == f"the file takes {words}"


def test_a_network_that_takes_normalised_pictures():
    normal = Preprocessing("bilinear")
    feeds = [{"picture": ((image - MEAN) / STD).astype(np.float32)} for image in IMAGES]
    found = cause(
        feeds,
        lambda f: {"y": network(f["picture"])},
        lambda f: {"y": network((f["picture"] - MEAN) / STD)},
        normal,
    )
    assert found == "the file takes pixels of 0..1, and normalises them itself"


def test_inputs_that_are_no_pictures():
    feeds = [{"sound": image.reshape(1, -1)} for image in IMAGES]
    for words, taken in {
        "its input negated": np.negative,
        "its input 255 times as large": lambda x: x / 255,
        "its input 255 times as small": lambda x: x * 255,
    }.items():
        found = cause(
            feeds, lambda f: {"y": network(f["sound"])}, lambda f, t=taken: {"y": network(t(f["sound"]))}
        )
        assert found == f"the file takes {words}"


def test_two_inputs_under_each_others_names():
    feeds = [{"one": image, "other": image[:, :, ::-1] ** 2} for image in IMAGES]

    def both(one, other):
        return {"y": network(one) - 0.5 * network(other)}

    found = cause(feeds, lambda f: both(f["one"], f["other"]), lambda f: both(f["other"], f["one"]))
    assert found == "the file has its inputs one and other exchanged"


def test_a_file_that_is_wrong_otherwise_gets_no_words():
    feeds = [{"picture": image} for image in IMAGES]
    found = cause(feeds, lambda f: {"y": network(f["picture"])}, lambda f: {"y": network(f["picture"] ** 2)})
    assert found == ""


DUE = reference(
    [{"picture": image} for image in IMAGES],
    lambda f: {name: network(f["picture"]) * k for name, k in {"a": 1, "b": 0.5, "c": 0.25}.items()},
)


def given(**outputs):
    """The right outputs, but for some; each by a function of what is right."""
    right = [{name: values[i] for name, values in DUE.outputs.items()} for i in range(len(IMAGES))]
    return [each | {name: made(each) for name, made in outputs.items()} for each in right]


@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        ("output a: the tanh is missing", given(a=lambda each: np.arctanh(each["a"]))),
        ("output a: of shape [5] instead of [1, 5]; the numbers are right", given(a=lambda e: e["a"][0])),
        ("outputs b, c: negated", given(b=lambda each: -each["b"], c=lambda each: -each["c"])),
        ("", given(a=lambda each: np.sin(each["a"]))),
        ("", given(a=lambda each: -each["a"], b=lambda each: np.sin(each["b"]))),
        ("", given(a=lambda each: each["a"] * np.nan)),
    ],
)
def test_what_is_wrong_with_an_output(words, outputs):
    assert of_single_outputs(DUE, outputs) == words


def test_three_outputs_in_another_order():
    outputs = given(a=lambda each: each["b"], b=lambda each: each["c"], c=lambda each: each["a"])
    assert exchanged(DUE, outputs) == (
        "outputs are in another order: c holds what a should, a holds what b should, b holds what c should"
    )


def test_an_output_that_hardly_varies_explains_nothing():
    """Anything would agree with it: a factor and an offset fit every file."""
    feeds = [{"picture": image} for image in IMAGES]
    constant = reference(feeds, lambda f: {"y": 1 + 1e-9 * network(f["picture"])})
    outputs = [{"y": 3 + np.zeros((1, 5))} for _ in feeds]
    assert of_single_outputs(constant, outputs) == ""
