"""Compares what a file's name says of its precision with what is in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from modelparity.modelfiles.description import Description


def _some(*dtypes: str) -> Callable[[Mapping[str, int]], bool]:
    return lambda weights: any(weights.get(dtype) for dtype in dtypes)


def _most(dtype: str) -> Callable[[Mapping[str, int]], bool]:
    return lambda weights: 2 * weights.get(dtype, 0) > sum(weights.values())


# What a name may say, and whether a file of these weights is so.
_SAYS: tuple[tuple[str, Callable[[Mapping[str, int]], bool]], ...] = (
    (r"(?<![a-z])u?int8(?!\d)", _some("int8", "uint8")),
    (r"(?<![a-z])u?int4(?!\d)", _some("int4", "uint4")),
    (r"(?<![a-z0-9])(?:fp|float|f)16(?!\d)", _most("float16")),
    (r"(?<![a-z])half(?![a-z])", _most("float16")),
    (r"(?<![a-z])quant", lambda weights: not _most("float32")(weights)),
)


def remark(path: Path, description: Description) -> str:
    """What a name says that is not so; "" if it says nothing, or one of the things that it says is so."""
    name = path.stem.lower()
    said = [so(description.weights) for words, so in _SAYS if re.search(words, name)]
    if not said or any(said):
        return ""
    return (
        f"the file is called {path.name}, but what is in it is {description.quantization}; "
        f"the name is not judged: --as says what the file is meant to be"
    )
