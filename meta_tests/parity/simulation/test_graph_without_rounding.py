"""A file's graph without its rounding, in the small: ends of ranges, constants, scalars."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelparity.modelfiles.constants import Constant
from modelparity.modelfiles.graph import Edge, Graph, Operator, QuantizationParams
from modelparity.modelfiles.operator_traits import OperatorTraits

# --- ends of ranges that no ReLU made -------------------------------------------------------------


class _Doubled:
    """Runs the one kind of operator that doubles."""

    image_channels = 1

    def run(self, operator, inputs):
        return [2 * inputs[0]]


def unrounded(*arguments, **keywords):
    from modelparity.parity.simulation.activations import _unrounded

    return _unrounded(*arguments, **keywords)


def _doubled_twice(*lows: int) -> Graph:
    """An input, doubled and doubled again, each rounded by a range of whole numbers from `lows` on."""
    edge = Edge(Operator("input", {"name": "image"}, (), ("image",)))
    for low in lows:
        made = Operator("double", {}, (edge,), (f"from {low}",))
        edge = Edge(made, 0, (QuantizationParams(1.0, -low, 0, 255),))
    return Graph((("head", edge),))


@pytest.mark.parametrize("relus", [(), (0,), (1,), (0, 1)])
def test_a_range_that_ends_at_0_stands_for_a_relu_only_where_the_network_has_one(relus):
    image = np.array([[-3, -1, 2, 5]], np.float32)
    due = image
    for place in range(2):
        due = 2 * due
        due = np.maximum(due, 0) if place in relus else due
    graph = _doubled_twice(*(0 if place in relus or not relus else -9 for place in range(2)))
    (found,) = unrounded(graph, _Doubled(), [{"image": image}], [{"head": due}], bounds=[0.0])
    assert np.array_equal(found["head"], due)


def test_of_two_ranges_that_end_at_0_the_one_that_cuts_off_more_may_stand_for_no_relu():
    image = np.array([[-9, -8, -7, 5]], np.float32)
    read = Edge(
        Operator("input", {"name": "image"}, (), ("image",)), 0, (QuantizationParams(1.0, 0, 0, 255),)
    )
    shifted = Edge(Operator("shift", {}, (read,), ("shifted",)), 0, (QuantizationParams(1.0, 0, 0, 255),))
    graph = Graph((("head", shifted),))

    class Shift:
        image_channels = 1

        def run(self, operator, inputs):
            return [inputs[0] + np.float32(7.5)]

    due = np.maximum(image + np.float32(7.5), 0)
    (found,) = unrounded(graph, Shift(), [{"image": image}], [{"head": due}], bounds=[0.0])
    assert np.array_equal(found["head"], due)


def test_a_relu_that_no_range_stands_for_is_missed():
    image = np.array([[-3, -1, 2, 5]], np.float32)
    due = np.maximum(4 * image, 0)
    graph = _doubled_twice(-9, -1)
    (found,) = unrounded(graph, _Doubled(), [{"image": image}], [{"head": due}], bounds=[0.0])
    assert np.array_equal(found["head"], 4 * image)


def test_ties_of_a_kernel_of_integers_are_those_of_its_traits():
    from modelparity.parity.simulation.graph_run import run_graph
    from modelparity.parity.simulation.rounding import Moves

    image = np.random.default_rng(0).uniform(3, 100, (1, 1000)).astype(np.float32)
    graph = _doubled_twice(0, 0)

    def run(**options):
        return run_graph(graph, _Doubled(), {"image": image}, moves=Moves(), **options)["head"]

    right = run_graph(graph, _Doubled(), {"image": image})["head"]
    assert np.mean(run() != right) < 0.01
    by_table = run(traits={"double": OperatorTraits(approximate=0.5)})
    assert 0.1 < np.mean(by_table != right) < 0.6
    assert np.array_equal(by_table, np.rint(by_table))


# --- constants ------------------------------------------------------------------------------------


def test_a_constant_that_two_read_may_be_rounded_for_each():
    """Two norms that share a bias have it in steps of what each reads."""
    import torch

    from modelparity.parity.simulation.activations import _Network, _replaced

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.nn.Parameter(torch.tensor([0.9, -0.3, 0.4, 2.2]))

        def forward(self, x):
            return 10 * (x + self.shift) + self.shift

    module = torch.export.export(Twice(), (torch.zeros(4),)).module()
    rounded = {step: np.rint(np.array([0.9, -0.3, 0.4, 2.2]) / step).astype(np.int32) for step in (0.5, 1.0)}
    constants = [
        Constant(f"by {step}", "int32", (4,), lambda step=step: rounded[step], scale=np.array([step]))
        for step in rounded
    ]
    stored, unknown = _replaced(module, constants)
    assert unknown == []
    network = _Network(module, (), exact=True)
    network.stored = stored
    assert network.run(torch.zeros(4)).tolist() == [11, -5, 5, 22]
    assert _replaced(module, [*constants, constants[0]])[1] != []


def test_a_scalar_stays_one(tmp_path):
    """An index without axes takes one row, and not a matrix of one."""
    from modelparity.converters.onnx.operator_runner import OperatorRunner
    from modelparity.modelfiles.lineage import graph_of

    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    node = helper.make_node("Gather", ["x", "first"], ["y"], axis=1)
    stored = [numpy_helper.from_array(np.asarray(0, np.int64), "first")]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "g.onnx")
    _, gather = graph_of(tmp_path / "g.onnx").operators()
    (rows,) = OperatorRunner(tmp_path / "g.onnx").run(gather, [np.ones((1, 3, 5), np.float32), None])
    assert rows.shape == (1, 5)


def test_a_layer_of_rounded_weights_that_computes_in_float_rounds_no_input(tmp_path):
    from modelparity.modelfiles.lineage import graph_of
    from modelparity.parity.simulation.layers import layers_of

    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["weight"]),
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
    ]
    constants = {"q": np.arange(16, dtype=np.int8).reshape(4, 4), "scale": np.float32(0.1)}
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    onnx.save(helper.make_model(graph), tmp_path / "weights.onnx")
    (layer,) = layers_of(graph_of(tmp_path / "weights.onnx"))
    assert not layer.dynamic
