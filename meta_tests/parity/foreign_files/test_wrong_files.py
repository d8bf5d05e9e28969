"""Each known mistake, made in a real file: the file is red, and the first line names the mistake."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD
from modelparity.parity.results import Mismatched

MEAN, STD = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
NUMBER = np.float32


def _exchanged(graph):
    graph.renamed({"left": "right", "right": "left"})
    graph.model.graph.output[0].name, graph.model.graph.output[1].name = "left", "right"


def _normalising(graph):
    graph.before("Div", STD)
    graph.before("Sub", MEAN)


def _of_bytes(graph):
    _normalising(graph)
    graph.before("Mul", NUMBER(1 / 255))


def _bgr(graph):
    graph.before("Gather", np.array([2, 1, 0]), axis=1)


def _of_bgr_bytes(graph):
    _of_bytes(graph)
    _bgr(graph)


def _scaled(graph):
    graph.behind("left", "Mul", NUMBER(2))
    graph.behind("right", "Mul", NUMBER(2))


def _linear(graph):
    graph.behind("left", "Add", NUMBER(0.25))
    graph.behind("left", "Mul", NUMBER(2))


def _missing_in_two(graph):
    graph.without("classes")
    graph.without("mask")


def _behind(output, kind, *constants, **attributes):
    return lambda graph: graph.behind(output, kind, *constants, **attributes)


def _without(output):
    return lambda graph: graph.without(output)


def _turned(graph):
    graph.before("Transpose", perm=[0, 1, 3, 2])


NETWORK_AXES = "axes in another order: axes {} are those of the network"
MISTAKES = {
    "outputs left and right are exchanged": _exchanged,
    "the file takes BGR pictures, not RGB": _bgr,
    "the file takes pixels of 0..1, and normalises them itself": _normalising,
    "the file takes pixels of 0..255, and normalises them itself": _of_bytes,
    "the file takes BGR pictures and pixels of 0..255, and normalises them itself": _of_bgr_bytes,
    "the file takes pictures with height and width exchanged": _turned,
    "output mask: the sigmoid is missing": _without("mask"),
    "output mask: a sigmoid is applied twice": _behind("mask", "Sigmoid"),
    "output left: a sigmoid is applied, which the network does not have": _behind("left", "Sigmoid"),
    "output classes: the softmax over axis 1 is missing": _without("classes"),
    "output classes: a softmax over axis 1 is applied twice": _behind("classes", "Softmax", axis=1),
    "output classes: the logarithm of the right values": _behind("classes", "Log"),
    "output kinds: the logarithm is missing": _behind("kinds", "Exp"),
    "output right: negated": _behind("right", "Neg"),
    "outputs left, right: 2 times the right values": _scaled,
    "output right: off by +0.5 throughout": _behind("right", "Add", NUMBER(0.5)),
    "output left: 2 times the right values, plus 0.5": _linear,
    f"output mask: {NETWORK_AXES.format([0, 1, 3, 2])}": _behind("mask", "Transpose", perm=[0, 1, 3, 2]),
    "output mask: axis 1 runs backwards": _behind("mask", "Gather", np.array([2, 1, 0]), axis=1),
    "output classes: the softmax over axis 1 is missing; output mask: the sigmoid is missing": (
        _missing_in_two
    ),
}


def test_a_right_file_is_not_explained(judging):
    record = judging.record(judging.path)
    assert record.green, [claim for claim in record.claims if not claim.passed]
    assert record.explanation == ""


@pytest.mark.parametrize("words", MISTAKES)
def test_a_known_mistake_is_named(judging, tmp_path, words):
    record = judging.record(judging.edited(tmp_path / "wrong.onnx", MISTAKES[words]))
    assert isinstance(record.outcome, Mismatched)
    assert "float_parity" in {claim.name for claim in record.claims if claim.status == "failed"}
    assert record.explanation == words


def _one_weight(graph):
    (weight,) = (each for each in graph.model.graph.initializer if list(each.dims) == [3, 8, 3, 3])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] *= 1.02
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))


def _two_mistakes(graph):
    graph.behind("left", "Neg")
    graph.behind("right", "Pow", NUMBER(2))


def _clipped(graph):
    graph.behind("left", "Relu")


@pytest.mark.parametrize("fault", [_one_weight, _two_mistakes, _clipped])
def test_what_is_plainly_wrong_is_not_explained(judging, tmp_path, fault):
    record = judging.record(judging.edited(tmp_path / "wrong.onnx", fault))
    assert isinstance(record.outcome, Mismatched)
    assert record.explanation == ""


def test_an_output_in_another_shape(judging, tmp_path):
    """Its numbers are compared once its axes are the network's."""

    def channels_last(graph):
        graph.behind("mask", "Transpose", perm=[0, 2, 3, 1])
        del graph.model.graph.output[4].type.tensor_type.shape.dim[:]
        shape = ["batch", 16, 16, 3]
        graph.model.graph.output[4].CopyFrom(helper.make_tensor_value_info("mask", 1, shape))

    record = judging.record(judging.edited(tmp_path / "wrong.onnx", channels_last))
    assert {claim.name for claim in record.claims if claim.status == "failed"} == {"interface", "outputs"}
    assert record.explanation == f"output mask: {NETWORK_AXES.format([0, 3, 1, 2])}"


def test_the_other_weights_of_the_checkpoint(judging):
    record = judging.record(judging.converted(checkpoint=judging.checkpoint.with_name("raw.pt")))
    assert record.explanation == (
        "it has other weights: model_state_dict of both.pt, but should have EMA weights "
        "(model_ema_state_dict) of both.pt"
    )


def test_statistics_of_batch_norms(judging, tmp_path):
    import torch

    state = torch.load(judging.checkpoint, weights_only=True)["model_ema_state_dict"]
    state |= {"norm.running_mean": torch.zeros(8), "norm.running_var": torch.ones(8)}
    torch.save(state, tmp_path / "untrained.pt")
    record = judging.record(judging.converted(checkpoint=tmp_path / "untrained.pt"))
    assert record.explanation == "its batch norms have untrained statistics: mean 0 and variance 1"
    of_the_batch = judging.converted(deployed="meta_tests.parity.foreign_files.endings_network:InTraining")
    record = judging.record(of_the_batch)
    assert record.explanation == (
        "its batch norms use the statistics of the batch: it was exported in training mode"
    )


def test_dropout_is_active(judging, tmp_path):
    """A runtime may leave it out, so that no output shows it; the file is wrong all the same."""

    def dropping(training):
        return lambda g: g.behind("left", "Dropout", NUMBER(0.3), np.array(training))

    record = judging.record(judging.edited(tmp_path / "wrong.onnx", dropping(True)))
    failed = {claim.name for claim in record.claims if claim.status == "failed"}
    assert "inference_mode" in failed
    assert record.explanation.startswith(
        "Dropout is active: the file was exported in training mode (Dropout "
    )
    record = judging.record(judging.edited(tmp_path / "right.onnx", dropping(False)))
    assert record.green
    assert "inference_mode" in {claim.name for claim in record.claims}


def test_a_batch_in_reversed_order(judging, tmp_path):
    def reversing(graph):
        for output in ("left", "right", "classes", "kinds", "mask"):
            graph.behind(output, "Slice", *(np.array([n]) for n in (-1, -(2**62), 0, -1)))

    record = judging.record(judging.edited(tmp_path / "wrong.onnx", reversing))
    assert record.explanation == "a batch comes out in reversed order"
    assert "float_parity" not in {claim.name for claim in record.claims if claim.status == "failed"}


@pytest.mark.parametrize("quantization", ["fp16", "int8_dynamic", "int8_static"])
def test_a_mistake_in_a_quantized_file(judging, tmp_path, quantization):
    right = judging.converted(quantization)
    assert judging.record(right).explanation == ""
    record = judging.record(judging.edited(tmp_path / "wrong.onnx", _exchanged, source=right))
    assert record.explanation == "outputs left and right are exchanged"
    record = judging.record(judging.edited(tmp_path / "bgr.onnx", _bgr, source=right))
    assert record.explanation == "the file takes BGR pictures, not RGB"
