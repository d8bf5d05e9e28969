"""Metadata of ATen operators: their tensors, whether they are views, and how many terms they add."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_map

from modelparity.fixtures.arrays import Array


def tensors_in(tree: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    tree_map(lambda leaf: tensors.append(leaf) if isinstance(leaf, Tensor) else None, tree)
    return tensors


def is_view(func: Any) -> bool:
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def terms_of(operator: str, args: Any) -> int:
    """How many terms are summed for each value of an operator's result."""
    shapes = [tuple(arg.shape) for arg in args if isinstance(arg, Tensor)]
    if operator == "convolution":
        return math.prod(shapes[1][1:])
    if operator in ("mm", "bmm"):
        return shapes[0][-1]
    if operator in ("addmm", "baddbmm"):
        return shapes[1][-1]
    if operator in ("mean", "sum", "linalg_vector_norm"):
        axes = args[1] if len(args) > 1 and operator != "linalg_vector_norm" else None
        axes = args[2] if operator == "linalg_vector_norm" and len(args) > 2 else axes
        shape = shapes[0]
        return math.prod(shape[i] for i in axes) if axes else math.prod(shape)
    return 1


def rms_of(values: Array) -> float:
    flat = values.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat) / flat.size)) if flat.size else 0.0
