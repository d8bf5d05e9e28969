"""A conformance and parity harness for neural networks converted from PyTorch to ONNX and TFLite.

`Model` declares a network of your own, `Tensor` one of its inputs, and `prove` converts and judges it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Model", "Proof", "Tensor", "prove"]
_PLACES = {"Model": "model", "Tensor": "model", "Proof": "prove", "prove": "prove"}


def __getattr__(name: str) -> Any:
    """The public API, imported when it is asked for, so that the command line starts at once."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.api.{_PLACES[name]}"), name)
