"""Works around faults of onnx2tf 1.28.8.

`meta_tests/converters/test_upstream.py` fails once one is mended.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_LAST_HEEDED = 17  # opset
Arguments = dict[str, Any]


def pass_on_counts(model: Any) -> None:
    """Passes each TopK its k through an Identity.

    onnx2tf takes `int()` of a constant k, an array of one element, which numpy 2.4 refuses.
    """
    from onnx import NodeProto, helper

    nodes = []
    for node in model.graph.node:
        if node.op_type == "TopK":
            count = f"{node.name}_count"
            nodes.append(helper.make_node("Identity", [node.input[1]], [count], name=f"{count}_of"))
            node.input[1] = count
        nodes.append(NodeProto.FromString(node.SerializeToString()))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def coordinates_heeded(arguments: Arguments) -> Arguments:
    """A Resize places its samples where its coordinate mode says.

    onnx2tf heeds it up to opset 17 only, and behind that takes half-pixel centres for every mode, without
    a word: a map that was to be resized corner on corner comes out moved. What opset 18 added (axes,
    antialiasing) no network here uses, so a Resize without them is told that it is 17.
    """
    added = [arguments["graph_node"].attrs.get(name) for name in ("antialias", "axes")]
    opset = arguments["opset"]
    return {**arguments, "opset": opset if any(added) else min(opset, _LAST_HEEDED)}


def factors_as_they_stand(arguments: Arguments) -> Arguments:
    """A MatMul multiplies its two factors, with their axes where they are.

    onnx2tf runs both networks on an input of ones and, strict mode or not, takes the permutation of the
    factors whose product fits best. Where rounding has decided otherwise before (a TopK among equals),
    none fits, and a square factor comes out transposed, without a word.
    """
    return {**arguments, "onnx_tensor_infos_for_validation": None}


MENDED: dict[str, Callable[[Arguments], Arguments]] = {
    "Resize": coordinates_heeded,
    "MatMul": factors_as_they_stand,
}
# Where onnx2tf moved an input's axes, the product fits only by its own permutation.
_ELSE_ITS_OWN = ("MatMul",)


@contextmanager
def mended() -> Iterator[None]:
    """While it holds, onnx2tf makes these operators from mended arguments."""
    with ExitStack() as stack:
        for operator, mend in MENDED.items():
            stack.enter_context(_given(operator, mend))
        yield


@contextmanager
def _given(operator: str, mend: Callable[[Arguments], Arguments]) -> Iterator[None]:
    module: Any = importlib.import_module(f"onnx2tf.ops.{operator}")
    make_node = module.make_node

    def made(**arguments: Any) -> Any:
        if operator not in _ELSE_ITS_OWN:
            return make_node(**mend(arguments))
        try:
            make_node(**mend(arguments))
            fits = _shape_fits(arguments)
        except Exception:  # TensorFlow refuses factors that do not meet
            fits = False
        return None if fits else make_node(**arguments)

    module.make_node = made
    try:
        yield
    finally:
        module.make_node = make_node


def _shape_fits(arguments: Arguments) -> bool:
    """Whether the operator's first output has the shape that the ONNX graph says."""
    output = arguments["graph_node"].outputs[0]
    made = arguments["tf_layers_dict"][output.name]["tf_node"].shape
    said = output.shape or ()
    return len(made) == len(said) and all(
        mine == theirs
        for mine, theirs in zip(made, said, strict=True)
        if isinstance(mine, int) and isinstance(theirs, int)
    )
