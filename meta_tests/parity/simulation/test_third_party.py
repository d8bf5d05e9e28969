"""What is asked of a file from elsewhere, and what is told instead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelparity.converters.recipes import JUDGED, QUANTIZATIONS
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles.constants import Compared, Constant, measured, neighbours
from modelparity.modelfiles.description import Description, Port
from modelparity.modelfiles.lineage import Lineage
from modelparity.parity.claims import basic, lineage

_SIGNATURE = Signature(
    (TensorSpec("image", ("batch", 3, 8, 8), "image"),), (TensorSpec("y", ("batch", 2), "y"),)
)


def described(dtype: str, weights: dict[str, int]) -> Description:
    return Description("onnx", "int8_static", (Port("image", (1, 3, 8, 8), dtype),), (), weights)


def test_a_file_of_other_inputs_is_not_fed():
    assert basic.fed_otherwise(described("float32", {}), _SIGNATURE) == ""
    assert "takes image in int8, and the network in float32" in basic.fed_otherwise(
        described("int8", {}), _SIGNATURE
    )


def test_no_recipe_here_makes_weights_alone():
    recipe = JUDGED["int8_weight_only"]
    assert not recipe.rounds_activations
    assert not recipe.is_float
    assert basic.weight_share(described("float32", {"float32": 9}), recipe, lambda: 1.0) == []


def test_a_share_of_the_weights_is_not_promised_by_others():
    (claim,) = basic.weight_share(
        described("float32", {"int8": 41, "float32": 59}), QUANTIZATIONS["int8_dynamic"], lambda: 1.0
    )
    assert not claim.passed
    assert basic.not_promised(claim).endswith("quantizes 0.41 of them")


def compared(**parts) -> Compared:
    return replace(Compared("weight", "int8", "steps"), **parts)


def asked(*constants: Compared, saturates: str = "", differences: tuple[str, ...] = ()):
    file = Lineage(list(differences), list(constants))
    match = lambda: lineage.Matched(0.5, 2, ("weight",))  # noqa: E731
    claims, not_asked = lineage.of_third_party_file(file, lambda _: {}, match, lambda: saturates)
    return {claim.name: claim.status for claim in claims}, not_asked


def test_a_scale_for_the_whole_weight_is_another_recipe_and_a_step_is_a_fault():
    right = compared(off=0.4)
    assert asked(right, compared(off=0.5, scale_ratio=3.2))[0]["lineage_weights"] == "passed"
    assert asked(right, right, compared(off=1.2, scale_ratio=3.2))[0]["lineage_weights"] == "failed"
    assert asked(right, right, compared(dtype="int32", scale_ratio=1.1))[0]["lineage_weights"] == "failed"


def test_what_saturates_is_told_whatever_the_graph_is():
    many = compared(off=0.4, neighbours=200.0)
    claims, not_asked = asked(many, saturates="7 of 9 pairs")
    assert "saturation" not in claims
    assert not_asked["saturation"] == "7 of 9 pairs"
    claims, not_asked = asked(many, saturates="7 of 9 pairs", differences=("another graph",))
    assert claims == {}
    assert not_asked["saturation"] == "7 of 9 pairs"
    assert "saturation" not in asked(many, differences=("another graph",))[1]


@pytest.mark.parametrize(
    ("weights", "pairs"), [([[90, 60, 3, 4]], 1), ([[60, 60, 3, 4]], 0), ([[90, 60, 70, 0]], 2)]
)
def test_pairs_of_neighbours_are_counted(tmp_path, weights, pairs):
    matrix = np.array(weights, np.int8).T
    constants = {"q": matrix, "s": np.float32(0.1), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ports = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", k])] for n, k in (("x", 4), ("y", 1))]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *ports, stored)), path := tmp_path / "a.onnx")
    words = lineage.may_saturate(path)
    assert (f"{pairs} of 3 pairs of neighbouring weights" in words) if pairs else words == ""


def test_neighbours_are_those_of_either_order():
    weight = np.array([[[1.0, 2.0], [4.0, 8.0]]])
    first, last = neighbours(weight, 0)
    assert first.tolist() == [[3.0, 6.0, 12.0]]
    assert last.tolist() == [[5.0, 6.0, 10.0]]


def test_axes_of_length_1_may_be_elsewhere():
    values = np.array([0.5, -0.25], np.float32)
    due = Constant("slope", "float32", (1, 2, 1), lambda: values.reshape(1, 2, 1))
    step = np.full(1, 0.5 / 127, np.float32)
    integers = np.rint(values / step).astype(np.int8)
    stored = Constant("slope", "int8", (2, 1), lambda: integers.reshape(2, 1), step, np.zeros(1, np.int8))
    found = measured(stored, due)
    assert (found.note, found.off <= 0.5) == ("", True)


def test_4_bits_have_7_steps_to_either_side():
    values = np.array([[0.7, -0.35]], np.float32)
    due = Constant("weight", "float32", (1, 2), lambda: values)
    scale = np.full((1, 1), 0.1, np.float32)
    stored = Constant("weight", "int4", (1, 2), lambda: np.array([[7, -3]], np.int8), scale)
    found = measured(stored, due, 0)
    assert (found.note, round(found.scale_ratio, 3), round(found.off, 3)) == ("", 1.0, 0.5)
    coarse = measured(replace(stored, scale=scale * 2), due, 0)
    assert round(coarse.scale_ratio, 3) == 2.0
