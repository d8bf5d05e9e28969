"""Defines the quantizations by name, and the entries of a recipe that leave operators in float.

Adding a quantization is one entry of `QUANTIZATIONS`, and its arithmetic in each format's `quantize` module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from modelparity.fixtures.keep_float import KeepFloat


@dataclass(frozen=True)
class Quantization:
    """What a recipe promises of a file, and all that the house asks of it.

    `weights` is the dtype in which at least `weight_share` of the weight elements are stored. `activations`
    says how layers compute: "float", on the weights widened to float32; "dynamic", in integers, by ranges
    found at run time; "static", in integers, by calibrated ranges. `aliases` are other tools' words for it.
    """

    name: str
    title: str
    weights: Literal["float32", "float16", "int8"]
    activations: Literal["float", "dynamic", "static"] = "float"
    weight_share: float = 0.0
    aliases: tuple[str, ...] = ()

    @property
    def is_float(self) -> bool:
        """Whether it leaves the file as trained: the file from which quantized ones are made."""
        return self.weights == "float32"

    @property
    def rounds_activations(self) -> bool:
        """Whether layers compute in integers."""
        return self.activations != "float"

    @property
    def needs_calibration(self) -> bool:
        return self.activations == "static"

    @property
    def stem_suffix(self) -> str:
        """Ends the names of its files, in front of the format's suffix; empty for the float file."""
        return "" if self.is_float else f"_{self.name}"


QUANTIZATIONS: dict[str, Quantization] = {
    quantization.name: quantization
    for quantization in (
        Quantization("fp32", "float32 as trained", weights="float32", aliases=("float32",)),
        Quantization("fp16", "float16 weights", weights="float16", weight_share=0.9, aliases=("float16",)),
        Quantization(
            "int8_dynamic",
            "int8 weights per channel, activations at run time",
            weights="int8",
            activations="dynamic",
            weight_share=0.9,
            aliases=("dynamic_range",),
        ),
        # "int8" alone is no alias: other tools mean either by it.
        Quantization(
            "int8_static",
            "int8 weights per channel, calibrated int8 activations",
            weights="int8",
            activations="static",
            weight_share=0.9,
            aliases=("full_int8",),
        ),
    )
}
# What no recipe here makes, but files of other tools show: they are judged, and promise nothing.
FROM_ELSEWHERE: dict[str, Quantization] = {
    quantization.name: quantization
    for quantization in (
        Quantization("int8_weight_only", "weights of 8 bits or less, computed in float", weights="int8"),
    )
}
JUDGED = {**QUANTIZATIONS, **FROM_ELSEWHERE}
# The name of the float file's, which every other one is made from.
(FLOAT,) = (quantization.name for quantization in QUANTIZATIONS.values() if quantization.is_float)


def recipe_text(entries: Iterable[KeepFloat]) -> str:
    """A mixed recipe as `recipe_of` reads it."""
    return json.dumps({"keep_float": [asdict(entry) for entry in entries]}, indent=1) + "\n"


def recipe_of(text: str) -> tuple[KeepFloat, ...]:
    """The entries of a mixed recipe: what stays in float, instead of the model's declared exceptions.

    Raises:
        ValueError: the text is no such recipe; the message says where.
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
