"""The claim `kernels`: the plain kernels of a runtime agree with the fast ones."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from meta_tests.miniatures.miniature import cell, session_of
from meta_tests.parity.test_detections import moved, outputs_of
from modelparity.converters.engine.child import Reply
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.converters.formats import CONVERTERS
from modelparity.fixtures.models import MODELS
from modelparity.parity.cells import Cell
from modelparity.parity.claims import kernels
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import ROUNDED, Reference

NOISE = Noise(1e-7, 1e-7, 2e-7)
RIGHT = np.linspace(0, 1, 1000)[None]  # of so many values, a right file is at most 8 floors off


def reference_of_one(value):
    return Reference(("a",), ({},), {"score": (value.astype(np.float64),)}, {"score": NOISE})


@pytest.mark.parametrize(
    ("off", "loops", "status"),
    [
        (7e-7, False, "passed"),
        (9e-7, False, "failed"),
        (59e-7, True, "passed"),
        (61e-7, True, "failed"),
        (np.nan, True, "failed"),
    ],
)
def test_float_kernels_agree_as_far_as_sums_line_up(off, loops, status):
    """A mean of 1,588 patches is 6 to 14 floors off in TFLite's plain loops, over three streams."""
    (claim,) = kernels.agree(
        reference_of_one(RIGHT), [{"score": RIGHT}], [{"score": RIGHT + off}], loops=loops
    )
    assert (claim.name, claim.output, claim.status) == ("kernels", "score", status)


@pytest.mark.parametrize(
    ("rounding", "off", "status"),
    [
        (0.01, 0.019, "passed"),
        (0.01, 0.021, "failed"),
        (0.01, np.nan, "failed"),
        (0.0, 0.0019, "passed"),  # on the grid: then ties alone decide how far two roundings are apart
        (0.0, 0.0021, "failed"),
    ],
)
def test_int8_kernels_agree_within_the_error_that_rounding_makes(rounding, off, status):
    """The file is `rounding` off float64, as its simulation is; plain kernels may round another way."""
    fast = RIGHT + rounding
    right = replace(reference_of_one(fast), noise={"score": Noise(0.001, 0.001, 0.002)}, multiples=ROUNDED)
    (claim,) = kernels.agree_rounded(
        right, reference_of_one(RIGHT), [{"score": fast}], [{"score": fast + off}]
    )
    assert (claim.name, claim.output, claim.status) == ("kernels", "score", status)


@pytest.mark.parametrize(("rows", "by", "status"), [(11, 0.02, "passed"), (24, 0.02, "failed")])
def test_int8_kernels_agree_on_detections_by_their_median_row(rows, by, status):
    """A few rows may come from another proposal, which says nothing about the kernels."""
    fast = outputs_of(3, batch=1, rows=25, found=24)
    noise = dict.fromkeys(("location", "score"), Noise(1e-3, 1e-3, 2e-3))
    exact = Reference(("a",), ({},), {n: (v,) for n, v in fast.items()}, noise, "detection")
    right = replace(exact, multiples=ROUNDED)
    made = kernels.agree_rounded(right, exact, [fast], [moved(fast, rows, by)])
    (claim,) = (claim for claim in made if claim.output == "location")
    assert claim.status == status


def test_kernels_that_compute_another_thing_are_red(tmp_path):
    with session_of(["other_kernels"], tmp_path) as session:
        record = session.prove(cell("other_kernels"))
    failed = {claim.name for claim in record.claims if claim.status == "failed"}
    assert failed == {"kernels"}  # everything else about the file is right


def test_a_runtime_that_lacks_a_plain_kernel_makes_no_claim_and_any_other_failure_is_one(tmp_path):
    def outputs(error):
        def run(*_, **__):
            raise WorkerFailedError("run", Reply(None, 0, 0, error))

        bench = SimpleNamespace(run=run, converters=CONVERTERS)
        return kernels.plain_outputs(bench, "tflite", tmp_path, [])

    lacks = "ValueError: Didn't find op for builtin opcode 'ROUND' version '1'. An older version"
    assert outputs(lacks) == "the runtime has no plain kernel of ROUND"
    with pytest.raises(WorkerFailedError):
        outputs("ValueError: tensor 3 is no tensor")


def test_what_makes_no_claim_says_why():
    def skipped(*cell):
        plain = CONVERTERS[cell[1]].plain_kernels
        assert plain is not None
        return kernels.skipped(Cell(*cell), plain)

    assert "widened" in skipped("tiny_ladeda", "tflite", "fp16")
    assert "GFLOP" in skipped("ladeda", "tflite", "fp32")
    assert not skipped("ladeda", "onnx", "int8_dynamic")
    assert not skipped("ladeda", "onnx", "fp32")
    recipes = ("fp32", "int8_dynamic", "int8_static")
    assert not any(skipped("objectformer", "tflite", name) for name in recipes)
    assert set(kernels._SKIPPED) <= set(MODELS)
