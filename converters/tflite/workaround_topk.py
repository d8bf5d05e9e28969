"""Works around a fault of litert-torch 0.10.0: a top-k whose indices nobody uses cannot be run.

Such a top-k is lowered to STABLEHLO_SORT, which the TFLite runtime does not have; with its indices
in use it becomes TOPK_V2. So the indices are put to use, at a weight of zero, which the
converter then folds away. `meta_tests/converters/test_upstream.py` fails once the fault is mended.
"""

from __future__ import annotations

import operator

import torch
from torch.fx import GraphModule, Node


def use_indices(module: GraphModule) -> int:
    """Rewrites every values-only top-k of the exported graph in place; returns how many there were."""
    graph = module.graph
    alone = [
        node for node in graph.nodes if node.target is torch.ops.aten.topk.default and not _index_users(node)
    ]
    for node in alone:
        (values,) = (user for user in node.users if user.args[1] == 0 and user.users)
        with graph.inserting_after(values):
            indices = graph.call_function(operator.getitem, (node, 1))
        with graph.inserting_after(indices):
            cast = graph.call_function(torch.ops.aten._to_copy.default, (indices,), {"dtype": torch.float32})
        with graph.inserting_after(cast):
            nothing = graph.call_function(torch.ops.aten.mul.Scalar, (cast, 0.0))
        with graph.inserting_after(nothing):
            kept = graph.call_function(torch.ops.aten.add.Tensor, (values, nothing))
        values.replace_all_uses_with(kept, delete_user_cb=lambda user, kept=kept: user is not kept)
    if alone:
        graph.lint()
        module.recompile()
    return len(alone)


def _index_users(topk: Node) -> bool:
    return any(user.args[1] == 1 and user.users for user in topk.users)
