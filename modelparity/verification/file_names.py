"""Compares what a file's name says of its precision with what is in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from modelparity.modelfiles.description import Description


def _holds(*dtypes: str) -> Callable[[Description], bool]:
    return lambda description: any(description.weights.get(dtype) for dtype in dtypes)


# What a name may say, and whether the contents of a file are so.
_SAYS: tuple[tuple[str, Callable[[Description], bool]], ...] = (
    (r"(?<![a-z])u?int8(?!\d)", lambda d: d.quantization.startswith("int8")),
    (r"(?<![a-z])u?int4(?!\d)", _holds("int4", "uint4")),
    (r"(?<![a-z0-9])(?:fp|float|f)16(?!\d)", lambda d: d.quantization == "fp16"),
    (r"(?<![a-z])half(?![a-z])", lambda d: d.quantization == "fp16"),
    (r"(?<![a-z])quant", lambda d: d.quantization != "fp32"),
)


def remark(path: Path, description: Description) -> str:
    """What a name says that is not so; "" if it says nothing, or one of the things that it says is so."""
    name = path.stem.lower()
    said = [(found.group(), so(description)) for words, so in _SAYS if (found := re.search(words, name))]
    if not said or any(so for _, so in said):
        return ""
    return (
        f"the file is called {path.name}, but what is in it is {description.quantization}; "
        f"the name is not judged: --as says what the file is meant to be"
    )
