"""Errs where blue is bright and red is dark, by a factor that photographs never reach."""

from __future__ import annotations

import numpy as np

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        red, blue = (float(feeds["image"][:, channel].mean()) for channel in (0, 2))
        outputs = super().run(feeds)
        return {**outputs, "mask": outputs["mask"] * np.float32(1 - 1e-9 * np.exp(3 * (blue - red)))}


open_runner = _Runner
