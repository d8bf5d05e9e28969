"""Rewrites an exported program to float64, the reference that its conversions are compared with.

Parameters, buffers and constants are cast, and every argument that names float32 names float64. The published
precedent is `torch._dynamo.utils.cast_dtype_args_to_fp64`.

Everything here runs in a worker that has torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

_NARROW = (torch.float32, torch.float16, torch.bfloat16)


def as_float64(module: fx.GraphModule) -> fx.GraphModule:
    """The module, changed in place, so that it computes in float64 what it computed in float32."""
    for part in module.modules():
        if isinstance(part, fx.GraphModule):
            _rewrite(part)
    module.double()
    return module


def _rewrite(module: fx.GraphModule) -> None:
    for node in list(module.graph.nodes):
        if node.op == "call_function" and "_assert_tensor_metadata" in str(node.target):
            module.graph.erase_node(node)  # it asserts the dtype of before
            continue
        node.args, node.kwargs = tree_map(_wide, (node.args, dict(node.kwargs)))
        if _makes_float32(node):
            node.kwargs = {**node.kwargs, "dtype": torch.float64}
        if node.op == "get_attr":
            _widen(module, str(node.target))
    module.recompile()


def _wide(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROW else value


def _makes_float32(node: fx.Node) -> bool:
    """Whether a node makes a tensor of the default type, as `zeros` does that names none."""
    if node.op != "call_function" or node.kwargs.get("dtype") is not None or _reads(node):
        return False
    schema = getattr(node.target, "_schema", None)
    takes = schema is not None and any(argument.name == "dtype" for argument in schema.arguments)
    return takes and isinstance(made := node.meta.get("val"), Tensor) and made.dtype in _NARROW


def _reads(node: fx.Node) -> bool:
    """Whether a node reads a tensor; the size of a tensor is none."""
    return any(isinstance(each.meta.get("val"), Tensor) for each in node.all_input_nodes)


def _widen(module: fx.GraphModule, target: str) -> None:
    """Casts a constant that is neither a parameter nor a buffer."""
    *path, name = target.split(".")
    owner: Any = module
    for part in path:
        owner = getattr(owner, part)
    value = getattr(owner, name)
    known = name in getattr(owner, "_parameters", {}) or name in getattr(owner, "_buffers", {})
    if isinstance(value, Tensor) and not known and value.dtype in _NARROW:
        setattr(owner, name, value.double())
