"""Writes conversion_summary.txt: the source, the inputs and outputs, and code that runs the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelparity.fixtures.lookup import named
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.modelfiles.usage import Usage

_SNIPPET = """\
import numpy as np
from PIL import Image

picture = Image.open({image!r}).convert("RGB")
resized = picture.resize(({width}, {height}), Image.Resampling.BILINEAR)
image = (np.asarray(resized, np.float32) / 255).transpose(2, 0, 1)[None]

{load}
labels = open("labels.txt", encoding="utf-8").read().splitlines()
for box, value, kind in zip(location[0], score[0], category[0]):
    if value >= {confidence:g}:
        x1, y1, x2, y2 = box * np.array([picture.width, picture.height] * 2)
        print(f"{{labels[kind - 1]}} {{value:.3f}} at {{x1:.1f}}, {{y1:.1f}}, {{x2:.1f}}, {{y2:.1f}}")
"""

_SUMMARY = """\
Conversion summary

Source
  Run directory:  {run}
  Checkpoint:     {checkpoint}
  Configuration:  {config}
  Weights:        {weights}
  Settings:       {settings}
{remarks}
Model
  File:           {file} ({format}, {quantization}), {bytes:,} bytes
  sha256:         {sha256}
  PyTorch ran on: {device}

Input
  image           float32 [batch, 3, height, width], batch {batch}: RGB in 0..1
                  a picture is resized whole to height {height}, width {width}; normalisation is inside

Outputs, in this order
  location        float32 [batch, {detections}, 4], corners x1, y1, x2, y2 in 0..1 of the picture
  score           float32 [batch, {detections}], best first, 0 where nothing was found
  category        int32 [batch, {detections}], from 1: the line of labels.txt

Check against PyTorch on {image}
{check}
Evaluation
{evaluation}
Usage: run this with Python in this folder

"""


def summary(facts: Mapping[str, Any], check: Sequence[str], evaluation: Sequence[str]) -> str:
    """The text; `facts` has the fields of the template."""
    size = (facts["height"], facts["width"])
    values = {
        **facts,
        "detections": facts["settings"]["detections"],
        "remarks": "".join(f"  Note:           {line}\n" for line in facts["remarks"]),
        "settings": ", ".join(f"{name} = {value}" for name, value in facts["settings"].items()),
        "check": "".join(f"  {line}\n" for line in check),
        "evaluation": "".join(f"  {line}\n" for line in evaluation),
    }
    snippet = usage(
        facts["format"],
        model=facts["file"],
        image=Path(facts["image"]),
        size=size,
        confidence=facts["confidence"],
    )
    return _SUMMARY.format(**values) + "".join(f"    {line}".rstrip() + "\n" for line in snippet)


def usage(format: str, *, model: str, image: Path, size: tuple[int, int], confidence: float) -> list[str]:
    """Lines of Python that load the model from their own folder and print what it finds in `image`."""
    code: Usage = named(FILE_FORMATS[format].usage)
    load = code.load_detector.format(model=model)
    height, width = size
    return _SNIPPET.format(
        image=str(image), load=load, height=height, width=width, confidence=confidence
    ).splitlines()
