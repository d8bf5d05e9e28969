"""Faults of other people's tools that this project gets past: each test fails once upstream has mended it."""

from __future__ import annotations

import pytest


@pytest.mark.xfail(
    strict=True, raises=ValueError, reason="litert-torch 0.10.0: values-only top-k becomes STABLEHLO_SORT"
)
def test_litert_torch_runs_a_top_k_whose_indices_are_unused(tmp_path):
    """When this passes, delete converters/tflite_topk.py and its call."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    class Largest(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.topk(x, 3, dim=1).values.mean(dim=1)

    path = tmp_path / "largest.tflite"
    litert_torch.convert(Largest().eval(), (torch.zeros(1, 10),)).export(str(path))
    Interpreter(str(path)).allocate_tensors()


@pytest.mark.xfail(
    strict=True, raises=ValueError, reason="ai-edge-quantizer 0.10.0: 4-D scales over 2-D data above 32 MiB"
)
def test_ai_edge_quantizer_quantizes_a_large_kernel():
    """When this passes, delete `by_channel` in converters/tflite_large_weights.py and its call."""
    import numpy as np

    _quantize(np.ones((4, 8, 2, (33 << 20) // 4 // 64), np.float32))


def test_large_kernels_are_quantized_by_channel_meanwhile(monkeypatch):
    """The same integers as upstream's own way gives where it works."""
    import numpy as np

    from converters import tflite_large_weights

    weight = np.random.default_rng(0).normal(size=(6, 3, 3, 4)).astype(np.float32)
    expected = _quantize(weight)
    monkeypatch.setattr(tflite_large_weights, "CHUNKED_BYTES", 0)
    with tflite_large_weights.by_channel():
        found = _quantize(weight)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert np.unique(found).size > 100


def _quantize(weight):
    import numpy as np
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    zero_point = np.zeros(scale.shape, np.int32)
    params = qtyping.UniformQuantParams(8, 0, scale, zero_point, symmetric=True)
    return uniform_quantize_tensor.uniform_quantize(weight, params)


@pytest.mark.xfail(strict=True, reason="litert-torch 0.10.0 clamps every weight in place, infinite or not")
def test_litert_torch_leaves_finite_weights_untouched():
    """When this passes, delete `untouched` in converters/tflite_large_weights.py and its call."""
    import torch
    from litert_torch.backend import inline_consts

    weight = torch.ones(4)
    before = weight._version
    inline_consts._clamp_inf_values(weight)
    assert weight._version == before
