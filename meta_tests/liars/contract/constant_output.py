"""The same mask for every image: a head that died."""

from __future__ import annotations

import numpy as np

from modelparity.converters.onnx.convert import OnnxRunner, convert_float, quantize


class _Runner(OnnxRunner):
    def run(self, feeds):
        outputs = super().run(feeds)
        return {**outputs, "mask": np.full_like(outputs["mask"], 0.5)}


open_runner = _Runner
