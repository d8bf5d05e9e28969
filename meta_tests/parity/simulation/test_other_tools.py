"""What other tools write is simulated: blocks of integers, float16 arithmetic, all operators of integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from meta_tests.parity.simulation.layer_files import onnx_files_of
from modelparity.modelfiles.lineage import graph_of
from modelparity.parity.simulation import network as simulation
from modelparity.parity.simulation.layers import layers_of
from modelparity.parity.simulation.rounding import by_blocks_int8


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    from meta_tests.parity.simulation.layer_networks import Mixed

    return onnx_files_of(Mixed, tmp_path_factory.mktemp("mixed"))


def test_a_weight_alone_in_blocks_of_4_bits(mixed, monkeypatch):
    """onnxruntime rounds what multiplies such a weight, and a file held to anything else would fail."""
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    for form, blocks in ((QuantFormat.QOperator, 0), (QuantFormat.QDQ, 32)):
        model = onnx.load(mixed.folder / "network.onnx")
        for node in model.graph.node:  # it reads no Gemm
            assert node.op_type != "MatMul"
        quantizer = MatMulNBitsQuantizer(_as_products(model), bits=4, block_size=32, quant_format=form)
        quantizer.process()
        quantizer.model.save_model_to_file(str(path := mixed.folder / f"{form.name}.onnx"))
        layers = [layer for layer in layers_of(graph_of(path)) if layer.step is not None]
        assert [layer.blocks for layer in layers] == [blocks] * 2
        assert mixed.simulate(path).wrong == ()
        assert mixed.judged("onnx", path, path).passed
    monkeypatch.setattr(simulation, "by_blocks_int8", lambda value, *_: value)
    assert mixed.judged("onnx", path, path).status == "failed"


def _as_products(model):
    """Each Gemm as a MatMul and an Add."""
    nodes = []
    constants = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        x, weight, bias = node.input
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        values = numpy_helper.to_array(constants[weight])
        constants[weight].CopyFrom(numpy_helper.from_array((values.T if turned else values).copy(), weight))
        nodes += [
            helper.make_node("MatMul", [x, weight], [f"{node.output[0]} product"]),
            helper.make_node("Add", [f"{node.output[0]} product", bias], list(node.output)),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def test_blocks_are_rounded_by_their_own_peaks():
    import torch

    value = torch.tensor([[1.0, 0.5, 0.26, 100.0, 0.3]])
    found = by_blocks_int8(value, 3)
    assert found.tolist()[0][:3] == pytest.approx([1.0, 64 / 127, 33 / 127])
    assert found.tolist()[0][3:] == pytest.approx([100.0, 0.0])
    assert by_blocks_int8(torch.zeros(2, 5), 4).tolist() == [[0.0] * 5] * 2


def halved(own, name):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    path = own.folder / f"{name}.onnx"
    onnx.save(convert_float_to_float16(onnx.load(own.folder / "network.onnx"), keep_io_types=True), path)
    return path


def test_a_file_that_computes_in_float16(mixed):
    path = halved(mixed, "half")
    found = mixed.simulate(path)
    assert (found.unmatched, found.elsewhere, found.wrong) == ((), "", ())
    plain, due = found.unrounded
    apart = max(np.abs(one["head"] - other["head"]).max() for one, other in zip(plain, due, strict=True))
    assert apart < 30 * mixed.exact.floors["head"]
    assert mixed.judged("onnx", path, path).passed
    # Another graph with the same weights: a slope that is lost.
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "LeakyRelu":
            node.attribute[0].f = 0.01
    onnx.save(model, wrong := mixed.folder / "slope.onnx")
    (plain, due) = mixed.simulate(wrong).unrounded
    apart = max(np.abs(one["head"] - other["head"]).max() for one, other in zip(plain, due, strict=True))
    assert apart > 1e3 * mixed.exact.floors["head"]
    assert mixed.judged("onnx", wrong, path).status == "failed"


def test_what_overflows_float16_is_not_decided(tmp_path):
    from meta_tests.parity.simulation.layer_networks import Loud

    own = onnx_files_of(Loud, tmp_path)
    assert "head overflows where a runtime rounds every result to float16" in own.reference(
        halved(own, "loud")
    )


def test_all_operators_of_integers_are_read(mixed):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from meta_tests.parity.simulation.layer_files import _Reader

    path = mixed.folder / "integers.onnx"
    quantize_static(
        mixed.folder / "network.onnx",
        path,
        _Reader(),
        quant_format=QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
    )
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert kinds >= {"QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearAdd", "QGemm"}
    found = mixed.simulate(path)
    assert (found.unmatched, found.elsewhere, found.not_simulated, found.wrong) == ((), "", (), ())
    assert mixed.judged("onnx", path, path).passed
    # A scale that is read otherwise than it was written.
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.op_type == "QGemm")
    scale = next(each for each in model.graph.initializer if each.name == node.input[1])
    other = numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(1.05), "other")
    model.graph.initializer.append(other)
    node.input[1] = "other"
    onnx.save(model, wrong := mixed.folder / "read_otherwise.onnx")
    plain, due = mixed.simulate(wrong).unrounded
    assert np.abs(plain[0]["head"] - due[0]["head"]).max() > 1e3 * mixed.exact.floors["head"]


def test_most_biases_that_are_not_the_networks_are_not_decided(mixed):
    """A quantizer may have corrected them, or they are wrong: neither can be ruled out."""
    from onnxruntime.quantization import quantize_dynamic

    from meta_tests.parity.simulation.layer_networks import Three

    (folder := mixed.folder / "three").mkdir()
    own = onnx_files_of(Three, folder)
    quantize_dynamic(folder / "network.onnx", folder / "right.onnx")
    assert own.judged("onnx", folder / "right.onnx", folder / "right.onnx").passed
    for count, decided in ((1, True), (2, False)):
        model = onnx.load(folder / "right.onnx")
        biases = [each for each in model.graph.initializer if list(each.dims) == [32] and each.data_type == 1]
        assert len(biases) == 3
        for bias in biases[:count]:
            bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        onnx.save(model, path := folder / f"moved_{count}.onnx")
        right = own.reference(path)
        assert isinstance(right, str) != decided
        assert decided or right.startswith(f"the biases of {count} of 3 layers are not the network's")
