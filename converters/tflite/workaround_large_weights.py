"""Works around faults that litert-torch 0.10.0 and ai-edge-quantizer 0.10.0 have with large weights.

- litert-torch writes to every weight, in place, to clamp infinities that no checkpoint has: all
  pages of mapped weights become copies (`untouched`).
- Its memory-saving mode folds no constants itself but runs a second model that computes them, which
  holds four copies; so what would be folded is folded here, in place (`fold_constants`).
- ai-edge-quantizer broadcasts 4-D scales over 2-D data where a convolution's weight has more than
  32 MiB (`by_channel`).

`meta_tests/converters/test_upstream.py` fails once the first or the last is mended.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_FOLDED_BYTES = 1 << 22  # what litert-torch itself leaves to be folded later
CHUNKED_BYTES = 32 << 20  # where ai-edge-quantizer begins to chunk


def fold_constants(module: GraphModule) -> int:
    """Folds layer norms into the linear layers behind them, and turns kernels to TFLite's layout.

    `(x * w + b) @ W.T + c` is `x @ (W * w).T + (W @ b + c)`. Rewrites the exported graph and its own
    weights; returns how many it rewrote.
    """
    graph, count = module.graph, 0
    with torch.no_grad():
        for node in list(graph.nodes):
            if node.target == _aten.layer_norm.default:
                count += _fold_norm(module, node)
            elif node.target == _aten.conv2d.default:
                count += _turn_kernel(module, node)
    graph.lint()
    module.recompile()
    return count


def _parameter(module: GraphModule, node: Any) -> Tensor | None:
    used_once = isinstance(node, Node) and node.op == "get_attr" and len(node.users) == 1
    return module.get_parameter(str(node.target)) if used_once else None


def _fold_norm(module: GraphModule, norm: Node) -> bool:
    users = list(norm.users)
    if len(users) != 1 or users[0].target != _aten.linear.default or len(users[0].args) < 3:
        return False
    norm_weight, norm_bias, weight, bias = (
        _parameter(module, node) for node in (*norm.args[2:4], *users[0].args[1:3])
    )
    if norm_weight is None or norm_bias is None or weight is None or bias is None:
        return False
    bias.data = bias.data + weight.data @ norm_bias.data
    weight.data.mul_(norm_weight.data)
    norm.args = (*norm.args[:2], None, None, *norm.args[4:])
    return True


def _turn_kernel(module: GraphModule, convolution: Node) -> bool:
    """Stores [out, height, width, in], in the same memory, and reads it as [out, in, height, width]."""
    node = convolution.args[1]
    kernel = _parameter(module, node)
    if kernel is None or kernel.nbytes < _FOLDED_BYTES or not kernel.is_contiguous():
        return False
    assert isinstance(node, Node)
    _, inputs, height, width = kernel.shape
    for channel in kernel.data:
        channel.view(-1).copy_(channel.permute(1, 2, 0).reshape(-1))
    kernel.data = kernel.data.view(-1, height, width, inputs)
    with module.graph.inserting_before(convolution):
        turned = module.graph.call_function(_aten.permute.default, (node, (0, 3, 1, 2)))
    convolution.replace_input_with(node, turned)
    return True


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """litert-torch leaves weights as they are while this lasts."""
    with mock.patch("litert_torch.backend.inline_consts._clamp_inf_values", lambda tensor: tensor):
        yield


@contextlib.contextmanager
def by_channel() -> Iterator[None]:
    """ai-edge-quantizer quantizes a large weight channel by channel while this lasts.

    Its own code sees one output channel at a time, so that its chunks never come into play.
    """
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor as module

    original = module.uniform_quantize

    def quantize(tensor: Any, params: Any, is_blockwise_quant: bool = False) -> Any:
        axis = params.quantized_dimension
        if tensor.ndim <= 2 or tensor.nbytes <= CHUNKED_BYTES or axis is None or is_blockwise_quant:
            return original(tensor, params, is_blockwise_quant)
        scales, zeros = np.ravel(params.scale), np.ravel(params.zero_point)
        result = np.empty(tensor.shape, np.int8)
        for channel in range(tensor.shape[axis]):
            at = (*[slice(None)] * axis, slice(channel, channel + 1))
            own = dataclasses.replace(
                params, scale=scales[channel : channel + 1], zero_point=zeros[channel : channel + 1]
            )
            result[at] = original(np.ascontiguousarray(tensor[at]), own)
        return result

    with mock.patch.object(module, "uniform_quantize", quantize):
        yield
