"""Quantizations by name, and the operators that a recipe leaves in float, each with its reason.

Adding a quantization is one entry of `QUANTIZATIONS`; an exception for one model is one entry
of `KEEP_FLOAT`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Format = Literal["onnx", "tflite"]


@dataclass(frozen=True)
class Quantization:
    """What a recipe promises of the artifact.

    `int8_share` and `float16_share` are the least shares of weight elements stored in that type.
    """

    name: str
    title: str
    needs_calibration: bool = False
    int8_share: float = 0.0
    float16_share: float = 0.0


QUANTIZATIONS: dict[str, Quantization] = {
    quantization.name: quantization
    for quantization in (
        Quantization("fp32", "float32 as trained"),
        Quantization("fp16", "float16 weights", float16_share=0.9),
        Quantization("int8_dynamic", "int8 weights per channel, activations at run time", int8_share=0.9),
        Quantization(
            "int8_static",
            "int8 weights per channel, calibrated int8 activations",
            needs_calibration=True,
            int8_share=0.9,
        ),
    )
}


@dataclass(frozen=True)
class KeepFloat:
    """Operators left in float: a type of the format's own, and why.

    `names` narrows it by a regex on the names of an operator's outputs, `shapes` to operators with
    a weight of one of these shapes, as the file stores it, and `elements` to operators whose
    largest constant has at most so many. Names are the exporter's numbering and
    change with the network's input size; shapes do not.
    """

    operator: str
    because: str
    names: str = ".*"
    shapes: tuple[tuple[int, ...], ...] = ()
    elements: int | None = None

    def matches(self, operator: str, outputs: Iterable[str], shapes: Iterable[tuple[int, ...]]) -> bool:
        """`shapes` are those of the operator's constant inputs."""
        shapes = list(shapes)
        return (
            operator == self.operator
            and any(re.search(self.names, name) for name in outputs)
            and (not self.shapes or not set(self.shapes).isdisjoint(shapes))
            and (self.elements is None or max(map(math.prod, shapes), default=0) <= self.elements)
        )


def recipe_text(entries: Iterable[KeepFloat]) -> str:
    """A mixed recipe as `recipe_of` reads it."""
    return json.dumps({"keep_float": [asdict(entry) for entry in entries]}, indent=1) + "\n"


def recipe_of(text: str) -> tuple[KeepFloat, ...]:
    """The entries of a mixed recipe: what stays float, instead of what `KEEP_FLOAT` says.

    Raises ValueError for a text that is none, and says where.
    """
    try:
        entries = json.loads(text)["keep_float"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'no recipe: should be {{"keep_float": [...]}} ({error})') from error
    found = []
    for position, entry in enumerate(entries):
        try:
            shapes = tuple(tuple(map(int, shape)) for shape in entry.pop("shapes", ()))
            found.append(KeepFloat(**entry, shapes=shapes))
            re.compile(found[-1].names)
        except (AttributeError, TypeError, ValueError, re.error) as error:
            raise ValueError(f"entry {position}: {error}") from error
    return tuple(found)
