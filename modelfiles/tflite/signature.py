"""Reads the name of a TFLite file's signature."""

from __future__ import annotations

from pathlib import Path


def signature_name(path: Path) -> str:
    """The name of the file's one signature."""
    from ai_edge_litert.interpreter import Interpreter

    (name,) = Interpreter(str(path)).get_signature_list()
    return str(name)
